"""Stacks: which planner, generator and critic work together, as a TOML file.

`read_stack` checks a file and needs no torch; `load_stack` builds its agents and loads what they need.

    name = "mine"
    [planner]
    kind = "qwen3vl"                 # a registered kind
    checkpoint = "InterleaveThinker/…"   # and its settings, see `itk_embodied.agents.settings`
    [generator]
    …
    [critic]
    …
    [pipeline]                       # optional: attempts and budgets
    max_attempts = 5
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from itk_embodied.agents.base import Critic, Generator, Planner
from itk_embodied.agents.checkpoints import find_adapter, find_checkpoint
from itk_embodied.agents.panel import PanelSettings
from itk_embodied.agents.registry import ROLES, Role, RoleSpec, check_settings, convert_table, get_kind
from itk_embodied.agents.settings import CheckpointSettings, PipelineSettings
from itk_embodied.errors import CheckpointError, ConfigError, MissingDependencyError, did_you_mean

DEFAULT_STACK = "embedded"
_TOP_LEVEL = ("name", "description", *ROLES, "pipeline")


@dataclass(frozen=True)
class StackSpec:
    """A stack file, read and checked, not built yet.

    Attributes:
        name: the file's ``name``, else the file name without ``.toml``.
        description: one line for people.
        source: the path, or ``shipped:NAME``.
        pipeline: the fields of `itk_embodied.pipeline.PipelineConfig` that the stack sets.
    """

    name: str
    planner: RoleSpec
    generator: RoleSpec
    critic: RoleSpec
    description: str = ""
    source: str = ""
    pipeline: Mapping[str, Any] = field(default_factory=dict)

    def role(self, role: Role) -> RoleSpec:
        return {"planner": self.planner, "generator": self.generator, "critic": self.critic}[role]


@dataclass(frozen=True, eq=False)
class Stack:
    """Three built agents. ``settings``: the `PipelineConfig` fields that the stack file sets; ``spec``: the file."""

    name: str
    planner: Planner
    generator: Generator
    critic: Critic
    settings: Mapping[str, Any] = field(default_factory=dict)
    spec: StackSpec | None = None


def stack_names() -> tuple[str, ...]:
    """The shipped stacks."""
    names = (item.name for item in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_stack(name_or_path: str | Path = DEFAULT_STACK) -> StackSpec:
    """Read and check a shipped stack by name, or a TOML file by path. Loads no model and needs no torch.

    Raises:
        ConfigError: no such stack or file, broken TOML, an unknown kind, key or value; one line that says where.
    """
    given = str(name_or_path)
    if isinstance(name_or_path, Path) or given.endswith(".toml") or "/" in given or "\\" in given:
        path = Path(given).expanduser()
        return parse_stack(_read(path), source=str(path), folder=path.resolve().parent, default_name=path.stem)
    if given not in stack_names():
        hint = did_you_mean(given, stack_names())
        raise ConfigError(f"there is no stack {given!r}; {hint} For a file of your own give its path, ending in .toml.")
    text = files(__package__).joinpath(f"{given}.toml").read_text(encoding="utf-8")
    return parse_stack(text, source=f"shipped:{given}", folder=None, default_name=given)


def parse_stack(text: str, *, source: str, folder: Path | None = None, default_name: str = "custom") -> StackSpec:
    """Check the text of a stack file. ``source`` names it in errors. Raises as `read_stack` does."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"stack {source} is not valid TOML: {' '.join(str(error).split())}") from None
    for key in tree:
        if key not in _TOP_LEVEL:
            raise ConfigError(f"stack {source} has no key or table {key!r}; {did_you_mean(key, _TOP_LEVEL)}")
    name, description = tree.get("name", default_name), tree.get("description", "")
    if not isinstance(name, str) or not name.strip() or not isinstance(description, str):
        raise ConfigError(f"stack {source}: name must be a non-empty string, description a string.")
    planner, generator, critic = (_read_role(tree, role, source, folder) for role in ROLES)
    pipeline = convert_table(_table(tree, "pipeline", source), PipelineSettings, f"stack {source}: [pipeline]")
    chosen = {key: value for key, value in msgspec.structs.asdict(pipeline).items() if value is not None}
    return StackSpec(name.strip(), planner, generator, critic, description, source, chosen)


def load_stack(name_or_path: str | Path | StackSpec = DEFAULT_STACK) -> Stack:
    """Read a stack and build its three agents. Raises as `read_stack` and `build` do."""
    return build(name_or_path if isinstance(name_or_path, StackSpec) else read_stack(name_or_path))


def build(spec: StackSpec) -> Stack:
    """Build the agents of a stack; their models load now.

    Raises:
        CheckpointError: a checkpoint is missing or broken; the message says how to fetch it.
        MissingDependencyError: torch or another optional package is absent.
        ConfigError: a prompt file, device or API key is not there.
    """
    _require_checkpoints(spec)
    agents = {role: build_role(spec.role(role)) for role in ROLES}
    return Stack(spec.name, settings=dict(spec.pipeline), spec=spec, **agents)


def _require_checkpoints(spec: StackSpec) -> None:
    """Say all that is missing at once, and before anything heavy loads: not after minutes spent on the first model."""
    missing: dict[str, str] = {}
    for role in (model for name in ROLES for model in models(spec.role(name))):
        if isinstance(role.settings, CheckpointSettings):
            try:
                find_checkpoint(role.settings, role.folder)
                find_adapter(role.settings, role.folder)
            except CheckpointError as error:
                missing.setdefault(role.settings.checkpoint, f"[{role.role}] {error}")
    if missing:
        raise CheckpointError(f"stack {spec.name}: " + " ".join(missing.values()))


def models(role: RoleSpec) -> Iterator[RoleSpec]:
    """A role itself, or where it is a panel its members."""
    if isinstance(role.settings, PanelSettings):
        for member, _ in role.settings.seats(role.folder):
            yield from models(member)
    else:
        yield role


def build_role(spec: RoleSpec) -> Any:
    """Build one agent of a stack. Raises as `build` does."""
    try:
        return get_kind(spec.role, spec.kind).factory(spec)
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise MissingDependencyError(
            f"the {spec.role} of kind {spec.kind!r} needs {package}, which is not installed. "
            f'Install the models\' packages: pip install "itk-embodied[models]"'
        ) from error


def _read_role(tree: Mapping[str, Any], role: Role, source: str, folder: Path | None) -> RoleSpec:
    if role not in tree:
        raise ConfigError(f"stack {source} has no [{role}] table; a stack needs [planner], [generator] and [critic].")
    table = dict(_table(tree, role, source))
    where = f"stack {source}: [{role}]"
    kind_name = table.pop("kind", None)
    if not isinstance(kind_name, str):
        raise ConfigError(f'{where} needs kind = "…", a string; see the shipped stacks for examples.')
    try:
        kind = get_kind(role, kind_name)
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from None
    spec = RoleSpec(role, kind_name, check_settings(kind, table, where), folder)
    try:
        list(models(spec))
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from None
    return spec


def _table(tree: Mapping[str, Any], key: str, source: str) -> Mapping[str, Any]:
    table = tree.get(key, {})
    if not isinstance(table, dict):
        raise ConfigError(f"stack {source}: {key} must be a table: write [{key}] on a line of its own.")
    return table


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(stack_names())
        raise ConfigError(f"there is no stack file {path}. Give a path to a TOML file, or one of: {names}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"stack file {path} cannot be read as UTF-8 text: {error}") from error
