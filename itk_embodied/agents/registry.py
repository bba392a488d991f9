"""The kinds of agents a stack file can name. Plug-ins add theirs here; nothing heavy loads before one is built.

A plug-in is a package with an entry point in the group ``itk_embodied.agents`` that names a function without arguments
(or a module); it calls `register_planner`, `register_generator` or `register_critic`, and its author runs
`itk_embodied.agents.conformance` on what the factory returns.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from itk_embodied.agents.base import Critic, Generator, Planner
from itk_embodied.errors import ConfigError, did_you_mean

Role: TypeAlias = Literal["planner", "generator", "critic"]
ROLES: tuple[Role, ...] = ("planner", "generator", "critic")
ENTRY_POINT_GROUP = "itk_embodied.agents"


@dataclass(frozen=True)
class RoleSpec:
    """One role of a stack, read and checked, not built yet.

    Attributes:
        settings: an instance of the kind's settings type; a plain dict where the kind registered none.
        folder: where the stack file lies: relative paths in it start there. None for a stack that is no file.
    """

    role: Role
    kind: str
    settings: Any
    folder: Path | None = None


@dataclass(frozen=True)
class Kind:
    """A registered kind: how to check its settings, and how to build it."""

    role: Role
    name: str
    factory: Callable[[RoleSpec], Any]
    settings: type[msgspec.Struct] | None = None


@dataclass
class _Registry:
    kinds: dict[tuple[Role, str], Kind] = field(default_factory=dict)
    plugins_loaded: bool = False
    broken_plugins: dict[str, str] = field(default_factory=dict)


_registry = _Registry()


def register_planner(
    name: str,
    factory: Callable[[RoleSpec], Planner],
    settings: type[msgspec.Struct] | None = None,
    *,
    replace: bool = False,
) -> None:
    """Make ``kind = "name"`` work under ``[planner]``. ``settings`` is a msgspec Struct that the table must match."""
    _register(Kind("planner", name, factory, settings), replace)


def register_generator(
    name: str,
    factory: Callable[[RoleSpec], Generator],
    settings: type[msgspec.Struct] | None = None,
    *,
    replace: bool = False,
) -> None:
    """Make ``kind = "name"`` work under ``[generator]``; see `register_planner`."""
    _register(Kind("generator", name, factory, settings), replace)


def register_critic(
    name: str,
    factory: Callable[[RoleSpec], Critic],
    settings: type[msgspec.Struct] | None = None,
    *,
    replace: bool = False,
) -> None:
    """Make ``kind = "name"`` work under ``[critic]``; see `register_planner`."""
    _register(Kind("critic", name, factory, settings), replace)


def unregister(role: Role, name: str) -> None:
    """Take a kind away again; no error where there is none."""
    _registry.kinds.pop((role, name), None)


def kinds(role: Role) -> tuple[str, ...]:
    """The names registered for a role, sorted."""
    _load_plugins()
    return tuple(sorted(name for kind_role, name in _registry.kinds if kind_role == role))


def get_kind(role: Role, name: str) -> Kind:
    """Look a kind up.

    Raises:
        ConfigError: nobody registered it; lists what there is, and which plug-ins failed to load.
    """
    _load_plugins()
    kind = _registry.kinds.get((role, name))
    if kind is None:
        broken = "".join(f" Plug-in {n} failed to load: {why}." for n, why in sorted(_registry.broken_plugins.items()))
        raise ConfigError(f"there is no {role} of kind {name!r}; {did_you_mean(name, kinds(role))}{broken}")
    return kind


def check_settings(kind: Kind, table: Mapping[str, Any], where: str) -> Any:
    """Turn a stack file's table into the kind's settings.

    Raises:
        ConfigError: an unknown key, a missing one, or a value that is not allowed.
    """
    if kind.settings is None:
        return dict(table)
    return convert_table(table, kind.settings, where)


def convert_table(table: Mapping[str, Any], struct: type[msgspec.Struct], where: str) -> Any:
    """Check a TOML table against a msgspec Struct; errors name ``where`` and the key."""
    allowed = struct.__struct_fields__
    for key in table:
        if key not in allowed:
            raise ConfigError(f"{where} has no setting {key!r}; {did_you_mean(key, allowed)}")
    try:
        return msgspec.convert(dict(table), struct)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        key = f" {path.rstrip('`')}:" if path else ":"
        raise ConfigError(f"{where}{key} {reason.replace('`', '')}") from error


def _register(kind: Kind, replace: bool) -> None:
    key = (kind.role, kind.name)
    if key in _registry.kinds and not replace:
        raise ConfigError(f"a {kind.role} of kind {kind.name!r} is registered already; choose another name.")
    _registry.kinds[key] = kind


def _load_plugins() -> None:
    """Register what comes with the library, then every plug-in; a broken plug-in must not break the other stacks."""
    if _registry.plugins_loaded:
        return
    _registry.plugins_loaded = True
    from itk_embodied.agents.builtin import register_builtin

    register_builtin()
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            plugin = entry_point.load()
            if callable(plugin):
                plugin()
        except Exception as error:
            _registry.broken_plugins[entry_point.name] = f"{type(error).__name__}: {error}"
