"""Prompts are package data: markdown files with ``{{placeholders}}``; their content hash travels with every output.

A file is the user's message; where it has the marker lines ``<!-- system -->`` and ``<!-- user -->`` it is both. A
stack names a shipped prompt (``planner``) or a file of its own (``./my-planner.md``, relative to the stack file).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from itk_embodied.errors import ConfigError, did_you_mean

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]+)\s*\}\}")
_MARKER = re.compile(r"^<!--\s*(system|user)\s*-->[ \t]*\n", re.MULTILINE)

PLANNER_PLACEHOLDERS = ("task",)
CRITIC_PLACEHOLDERS = ("instruction", "prompt")


@dataclass(frozen=True)
class PromptTemplate:
    """One prompt file.

    Attributes:
        name: the shipped name or the path it was read from.
        system: the system message; empty for none.
        user: the user's message.
        prompt_hash: the first 12 hex digits of the SHA-256 of the file's text.
    """

    name: str
    system: str
    user: str
    prompt_hash: str

    def fill(self, **values: str) -> tuple[str, str]:
        """System and user message with every placeholder replaced, in one pass: values are never expanded again."""

        def value(match: re.Match[str]) -> str:
            return values[match.group(1)]

        return _PLACEHOLDER.sub(value, self.system), _PLACEHOLDER.sub(value, self.user)


def prompt_names() -> tuple[str, ...]:
    """The shipped prompts."""
    names = (item.name for item in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def load_prompt(name_or_path: str, placeholders: Collection[str], folder: Path | None = None) -> PromptTemplate:
    """Read a prompt that uses every one of ``placeholders`` and no other. Relative paths start at ``folder``.

    Raises:
        ConfigError: no such prompt, not UTF-8, or its placeholders are others.
    """
    if name_or_path.endswith(".md") or "/" in name_or_path or "\\" in name_or_path:
        text = _read_file((folder or Path()) / Path(name_or_path).expanduser())
    elif name_or_path in prompt_names():
        text = files(__package__).joinpath(f"{name_or_path}.md").read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"there is no prompt {name_or_path!r}; {did_you_mean(name_or_path, prompt_names())} "
            f"For a file of your own give its path, ending in .md."
        )
    template = _parse(name_or_path, text.replace("\r\n", "\n"))
    used = set(_PLACEHOLDER.findall(template.system + template.user))
    for unknown in sorted(used - set(placeholders)):
        raise ConfigError(
            f"prompt {name_or_path} uses the placeholder {{{{{unknown}}}}}; {did_you_mean(unknown, placeholders)}"
        )
    for missing in sorted(set(placeholders) - used):
        raise ConfigError(f"prompt {name_or_path} never uses {{{{{missing}}}}}; put it where the text belongs.")
    return template


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no prompt file {path}; give its path relative to the stack file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompt file {path} cannot be read as UTF-8 text: {error}") from error


def _parse(name: str, text: str) -> PromptTemplate:
    prompt_hash = hashlib.sha256(text.encode()).hexdigest()[:12]
    parts = _MARKER.split(text)
    sections = {role: body.strip() for role, body in zip(parts[1::2], parts[2::2], strict=True)}
    sections.setdefault("user", parts[0].strip() if not sections else "")
    if not sections["user"]:
        raise ConfigError(f"prompt {name} has no user message; write it after a line <!-- user -->.")
    return PromptTemplate(name, sections.get("system", ""), sections["user"], prompt_hash)
