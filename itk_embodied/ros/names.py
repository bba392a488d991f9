"""ROS names: validation, expansion of relative and private names, and remapping rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


class NameValidationException(Exception):
    """A name breaks the rules of ROS 2."""

    kind = ""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"Invalid {self.kind} name {name!r}: {why}. Letters, digits and '_' between single '/', no digit first; "
            "a private name starts with '~/'."
        )


class InvalidTopicNameException(NameValidationException):
    kind = "topic"


class InvalidServiceNameException(NameValidationException):
    kind = "service"


class InvalidNodeNameException(NameValidationException):
    kind = "node"


class InvalidNamespaceException(NameValidationException):
    kind = "namespace"


_KINDS = {"topic": InvalidTopicNameException, "service": InvalidServiceNameException}


@dataclass(frozen=True)
class Remap:
    """``from:=to``, for one node (``node:from:=to``) or for all."""

    match: str
    replacement: str
    node: str = ""


def check_node_name(name: str) -> str:
    if not _TOKEN.match(name):
        raise InvalidNodeNameException(name, "one word is needed")
    return name


def check_namespace(namespace: str) -> str:
    """Return it absolute: ``''`` and ``'/'`` are the root, ``'robot'`` is ``'/robot'``."""
    if namespace in ("", "/"):
        return "/"
    full = namespace if namespace.startswith("/") else f"/{namespace}"
    if not all(_TOKEN.match(part) for part in full[1:].split("/")):
        raise InvalidNamespaceException(namespace, "it has an empty or malformed part")
    return full


def expand(name: str, node: str, namespace: str, *, kind: str = "topic") -> str:
    """The absolute name: ``chatter`` -> ``/ns/chatter``, ``~/image`` -> ``/ns/node/image``, ``/x`` -> ``/x``."""
    root = "" if namespace == "/" else namespace
    if not name:
        raise _KINDS[kind](name, "it is empty")
    if name == "~":
        full = f"{root}/{node}"
    elif name.startswith("~/"):
        full = f"{root}/{node}/{name[2:]}"
    elif name.startswith("/"):
        full = name
    else:
        full = f"{root}/{name}"
    if not all(_TOKEN.match(part) for part in full[1:].split("/")):
        raise _KINDS[kind](name, "it has an empty or malformed part")
    return full


def remapped(name: str, rules: tuple[Remap, ...], node: str, namespace: str, *, kind: str = "topic") -> str:
    """Expand a name and apply the first rule that matches it."""
    full = expand(name, node, namespace, kind=kind)
    for rule in rules:
        if rule.match.startswith("__") or rule.node not in ("", node):
            continue
        if expand(rule.match, node, namespace, kind=kind) == full:
            return expand(rule.replacement, node, namespace, kind=kind)
    return full


def special(rules: tuple[Remap, ...], key: str, node: str) -> str | None:
    """The value of ``__node`` (or ``__name``) or ``__ns``, if a rule sets it."""
    keys = {"__node": ("__node", "__name")}.get(key, (key,))
    return next((rule.replacement for rule in rules if rule.match in keys and rule.node in ("", node)), None)
