"""Stack files and the registry: what is read, what is refused and how, and that reading needs no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest

from itk_embodied.agents import registry
from itk_embodied.agents.registry import RoleSpec, register_critic, register_generator, register_planner
from itk_embodied.agents.stacks import build, load_stack, parse_stack, read_stack, stack_names
from itk_embodied.errors import CheckpointError, ConfigError, MissingDependencyError
from itk_embodied.pipeline import PipelineConfig

SHIPPED = ("embedded", "instruct-pix2pix", "klein-4b", "klein-9b", "kontext", "qwen-image-edit", "remote")


class EchoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    loudness: int
    words: str = "hello"


class Echo:
    def __init__(self, spec: RoleSpec) -> None:
        self.name, self.spec = "echo", spec


@pytest.fixture
def echo() -> Iterator[None]:
    """A kind of every role, registered as a plug-in would."""
    register_planner("echo", Echo, EchoSettings)  # type: ignore[arg-type]
    register_generator("echo", Echo)  # type: ignore[arg-type]
    register_critic("echo", Echo, EchoSettings)  # type: ignore[arg-type]
    yield
    for role in registry.ROLES:
        registry.unregister(role, "echo")


ECHO = """
name = "mine"
[planner]
kind = "echo"
loudness = 3
[generator]
kind = "echo"
anything = "goes"
[critic]
kind = "echo"
loudness = 1
[pipeline]
max_attempts = 5
verdict_s = 20
"""


def test_the_shipped_stacks_are_these_and_all_read() -> None:
    assert stack_names() == SHIPPED
    for name in SHIPPED:
        spec = read_stack(name)
        assert spec.name == name and spec.description and spec.source == f"shipped:{name}"
        PipelineConfig(**spec.pipeline)
    assert read_stack().name == "embedded"


def test_reading_a_stack_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'diffusers', 'httpx', 'xgrammar'): sys.modules[name] = None\n"
        "import itk_embodied, itk_embodied.agents.conformance\n"
        "from itk_embodied.agents.stacks import read_stack, stack_names\n"
        "print(len([read_stack(name) for name in stack_names()]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(SHIPPED))


def test_a_stack_whose_packages_are_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itk_embodied.agents.remote.planner", None)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingDependencyError, match=r"itk-embodied\[models\]"):
        load_stack("remote")


def test_a_file_is_read_built_and_keeps_its_folder(echo: None, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(ECHO)
    stack = load_stack(str(tmp_path / "own.toml"))
    assert stack.name == "mine" and stack.settings == {"max_attempts": 5, "verdict_s": 20}
    spec: RoleSpec = stack.planner.spec  # type: ignore[attr-defined]
    assert spec.settings == EchoSettings(3) and spec.folder == tmp_path.resolve()
    assert stack.generator.spec.settings == {"anything": "goes"}  # type: ignore[attr-defined]
    assert stack.spec is not None and stack.spec.role("critic").kind == "echo"
    assert build(stack.spec).name == "mine"


def test_a_file_without_a_name_takes_its_own(echo: None, tmp_path: Path) -> None:
    path = tmp_path / "bench-7.toml"
    path.write_text(ECHO.replace('name = "mine"', ""))
    assert read_stack(path).name == "bench-7"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("loudness = 3", "loudnes = 3"), r"\[planner\] has no setting 'loudnes'.*Did you mean 'loudness'"),
        (("loudness = 3", 'loudness = "3"'), r"\[planner\] loudness: Expected int, got str"),
        (("loudness = 3", ""), r"\[planner\].*missing required field loudness"),
        (
            ('[planner]\nkind = "echo"', '[planner]\nkind = "ecoh"'),
            r"\[planner\] there is no planner.*Did you mean 'echo'",
        ),
        (('[planner]\nkind = "echo"', "[planner]\nkind = 3"), r"\[planner\] needs kind"),
        (("[critic]", "[critc]"), r"no key or table 'critc'.*Did you mean 'critic'"),
        (('[critic]\nkind = "echo"\nloudness = 1', ""), r"has no \[critic\] table"),
        (("max_attempts = 5", "max_attempts = 0"), r"\[pipeline\] max_attempts: Expected int >= 1"),
        (("max_attempts", "max_atempts"), r"\[pipeline\] has no setting.*Did you mean 'max_attempts'"),
        (('name = "mine"', "name = 3"), "name must be"),
        (("[pipeline]\nmax_attempts = 5\nverdict_s = 20", ""), None),
        (('name = "mine"', 'name = "mine"\npipeline = 3'), "twice|overwrite|already|table"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(echo: None, change: tuple[str, str], says: str | None) -> None:
    text = ECHO.replace(*change)
    assert text != ECHO
    if says is None:
        assert parse_stack(text, source="own.toml").pipeline == {}
        return
    with pytest.raises(ConfigError, match=says) as caught:
        parse_stack(text, source="own.toml")
    assert "own.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('name = "x"\n[planner\n')
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML.*line 2") as caught:
        read_stack(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_is_no_text_or_a_folder_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_stack(path)


def test_unknown_stacks_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'embedded'"):
        read_stack("embeded")
    with pytest.raises(ConfigError, match=r"no stack file .*nowhere\.toml"):
        read_stack("nowhere.toml")


def test_large_stacks_say_how_to_fetch_their_checkpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in set(SHIPPED) - {"embedded", "remote"}:
        spec = read_stack(name)
        with pytest.raises(CheckpointError) as caught:
            load_stack(spec)
        for role in registry.ROLES:  # all that is missing, at once
            assert f"[{role}]" in str(caught.value)
            assert f"`hf download {spec.role(role).settings.checkpoint}`" in str(caught.value)


def test_a_kind_is_registered_once(echo: None) -> None:
    with pytest.raises(ConfigError, match="registered already"):
        register_planner("echo", Echo)  # type: ignore[arg-type]
    register_planner("echo", Echo, replace=True)  # type: ignore[arg-type]
    assert {"echo", "qwen3vl", "openai"} <= set(registry.kinds("planner"))


def _plugin() -> None:
    register_generator("from-a-plugin", Echo)  # type: ignore[arg-type]


def _broken_plugin() -> None:
    raise ImportError("libfoo is missing")


def test_plugins_register_by_entry_point_and_a_broken_one_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"{__name__}:{name}", registry.ENTRY_POINT_GROUP) for name in ("_broken_plugin", "_plugin")
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return points if group == registry.ENTRY_POINT_GROUP else []

    fresh: Any = registry._Registry()
    monkeypatch.setattr(registry, "_registry", fresh)
    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    assert "from-a-plugin" in registry.kinds("generator") and read_stack("embedded")
    with pytest.raises(ConfigError, match=r"Plug-in _broken_plugin failed to load: ImportError: libfoo is missing"):
        registry.get_kind("planner", "nobody")
