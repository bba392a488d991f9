"""``--ros-args``: remapping rules, parameters, parameter files and the log level."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_embodied.errors import ConfigError, MissingDependencyError
from itk_embodied.ros.names import Remap

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


@dataclass(frozen=True)
class RosArguments:
    """What ``--ros-args`` said. ``parameters`` are (node or ``/**``, name, value) in the order given: the last wins."""

    remaps: tuple[Remap, ...] = ()
    parameters: tuple[tuple[str, str, Any], ...] = ()
    log_level: int | None = None
    rest: tuple[str, ...] = ()

    def parameters_of(self, node: str, namespace: str) -> dict[str, Any]:
        """The values for one node, by dotted name."""
        full = f"/{node}" if namespace == "/" else f"{namespace}/{node}"
        return {name: value for whose, name, value in self.parameters if _is_for(whose, full)}


def _is_for(pattern: str, full: str) -> bool:
    """``*`` stands for one part of a name, ``**`` for any number; a name without ``/`` is in the root namespace."""
    parts = [
        "(/[^/]+)*" if part == "**" else "/[^/]+" if part == "*" else f"/{re.escape(part)}"
        for part in pattern.strip("/").split("/")
    ]
    return re.fullmatch("".join(parts), full) is not None


def parse(argv: Sequence[str]) -> RosArguments:
    """Split a command line into ROS arguments and the rest.

    Raises:
        ConfigError: an argument after ``--ros-args`` that is not known or not well formed.
    """
    remaps: list[Remap] = []
    parameters: list[tuple[str, str, Any]] = []
    rest: list[str] = []
    level: int | None = None
    inside = False
    words = iter(argv)
    for word in words:
        if word == "--ros-args":
            inside = True
        elif not inside:
            rest.append(word)
        elif word == "--":
            inside = False
        elif word in ("-r", "--remap"):
            remaps.append(_remap(_value(words, word)))
        elif word in ("-p", "--param"):
            parameters.append(_parameter(_value(words, word)))
        elif word == "--params-file":
            parameters.extend(read_parameter_file(Path(_value(words, word))))
        elif word == "--log-level":
            level = _log_level(_value(words, word))
        else:
            raise ConfigError(
                f"ROS argument {word!r} is not known; after --ros-args use -r FROM:=TO, -p NAME:=VALUE, "
                "--params-file FILE, --log-level LEVEL, and -- to end them."
            )
    return RosArguments(tuple(remaps), tuple(parameters), level, tuple(rest))


def _value(words: Iterator[str], option: str) -> str:
    value = next(words, None)
    if value is None:
        raise ConfigError(f"{option} needs a value after it.")
    return value


def _split(rule: str, form: str) -> tuple[str, str]:
    left, sign, right = rule.partition(":=")
    if not sign or not left:
        raise ConfigError(f"{rule!r} is not understood; write {form}.")
    return left, right


def _remap(rule: str) -> Remap:
    left, right = _split(rule, "FROM:=TO or NODE:FROM:=TO")
    node, colon, match = left.rpartition(":")
    if not right or not match:
        raise ConfigError(f"{rule!r} is not understood; write FROM:=TO or NODE:FROM:=TO.")
    return Remap(match, right, node if colon else "")


def _parameter(rule: str) -> tuple[str, str, Any]:
    left, right = _split(rule, "NAME:=VALUE or NODE:NAME:=VALUE")
    node, colon, name = left.rpartition(":")
    return (node if colon else "/**"), name, parse_yaml(right, f"the value of parameter {name!r}")


def _log_level(word: str) -> int:
    word = word.rpartition(":=")[2].lower()
    if word not in _LEVELS:
        raise ConfigError(f"log level {word!r} is not known; allowed: {', '.join(_LEVELS)}.")
    return _LEVELS[word]


def parse_yaml(text: str, what: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("ROS parameters are YAML; install the reader: pip install pyyaml") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} is not YAML: {' '.join(str(error).split())}") from error


def read_parameter_file(path: Path) -> list[tuple[str, str, Any]]:
    """A ROS 2 parameter file: node names (``/**`` for all), each with ``ros__parameters``; nested names are dotted."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"parameter file {path} cannot be read: {error.strerror}.") from error
    content = parse_yaml(text, f"parameter file {path}")
    found: list[tuple[str, str, Any]] = []
    if not isinstance(content, dict):
        raise ConfigError(f"parameter file {path} must be a map of node names, each with 'ros__parameters'.")
    _read_nodes(content, "", path, found)
    return found


def _read_nodes(content: dict[str, Any], above: str, path: Path, found: list[tuple[str, str, Any]]) -> None:
    for name, inner in content.items():
        if not isinstance(inner, dict):
            raise ConfigError(f"parameter file {path}: {name!r} must hold 'ros__parameters' with the parameters in it.")
        full = f"{above}/{str(name).strip('/')}" if above else str(name)
        if "ros__parameters" in inner:
            found.extend((full, dotted, value) for dotted, value in _flat(inner["ros__parameters"] or {}))
        else:
            _read_nodes(inner, full, path, found)


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
