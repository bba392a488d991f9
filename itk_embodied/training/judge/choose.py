"""Which judge: ``simulator``, or a model behind an endpoint, named in one line of TOML.

judge = "simulator"
judge = { kind = "openai", base_url = "http://127.0.0.1:8000/v1", model = "Qwen/Qwen3-VL-32B-Instruct" }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itk_embodied.agents.registry import convert_table
from itk_embodied.errors import ConfigError, MissingDependencyError, did_you_mean
from itk_embodied.training.judge.base import Judge
from itk_embodied.training.judge.simulator import SimulatorJudge

KINDS = ("simulator", "openai")


def read_judge(name_or_path: str) -> Any:
    """What ``judge`` is set to: the name itself, or the value in a TOML file. Raises ConfigError."""
    if not name_or_path.endswith(".toml"):
        return name_or_path
    try:
        tree = tomllib.loads(Path(name_or_path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"judge file {name_or_path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"judge file {name_or_path} is not valid TOML: {error}") from error
    if "judge" not in tree:
        example = 'judge = "simulator", or judge = { kind = "openai", … }'
        raise ConfigError(f"{name_or_path} sets no judge; write {example}.")
    return tree["judge"]


def load_judge(chosen: str | Mapping[str, Any] = "simulator", folder: Path | None = None) -> Judge:
    """The judge of a name, of a TOML file's path, or of a table as such a file has it. ``folder``: where a relative
    prompt file starts.

    Raises:
        ConfigError: no such judge, or a setting is wrong.
        MissingDependencyError: the HTTP client is not installed.
    """
    if isinstance(chosen, str) and chosen.endswith(".toml"):
        return load_judge(read_judge(chosen), Path(chosen).resolve().parent)
    table = {"kind": chosen} if isinstance(chosen, str) else dict(chosen)
    kind = table.pop("kind", None)
    if kind not in KINDS:
        raise ConfigError(f"there is no judge of kind {kind!r}; {did_you_mean(str(kind), KINDS)} Or name a TOML file.")
    if kind == "simulator":
        if table:
            raise ConfigError(f"the simulator's judge has no settings; {', '.join(table)} was given.")
        return SimulatorJudge()
    try:
        from itk_embodied.training.judge.vlm import ChatJudge, ChatJudgeSettings
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'a judge behind an endpoint needs {error.name}: pip install "itk-embodied[models]"'
        ) from error
    return ChatJudge.from_settings(convert_table(table, ChatJudgeSettings, "judge"), folder)
