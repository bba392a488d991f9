"""Sentences from patterns: ``(a|b)`` is a choice, ``[a]`` is there or not, ``{slot}`` is filled in. They nest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from itk_sim.errors import SimError

Slots: TypeAlias = Mapping[str, "str | Callable[[], str]"]
Node: TypeAlias = "str | tuple[str, tuple[Node, ...]]"
"""A text, or ("choice" | "all" | "slot", parts)."""


@lru_cache(maxsize=4096)
def _parse(pattern: str) -> Node:
    tokens = re.findall(r"[()\[\]|]|\{\w+\}|[^()\[\]|{}]+", pattern)
    if "".join(tokens) != pattern:
        raise SimError(f"pattern {pattern!r} was given; braces must hold one slot name")
    node, rest = _choice(tokens)
    if rest:
        raise SimError(f"pattern {pattern!r} was given; its brackets do not match at {''.join(rest)!r}")
    return node


def _choice(tokens: list[str]) -> tuple[Node, list[str]]:
    branches: list[Node] = []
    parts: list[Node] = []
    while tokens and tokens[0] not in ")]":
        token, tokens = tokens[0], tokens[1:]
        if token == "|":
            branches.append(("all", tuple(parts)))
            parts = []
        elif token in "([":
            inner, tokens = _choice(tokens)
            if not tokens or tokens[0] != (")" if token == "(" else "]"):
                raise SimError("a pattern's bracket is not closed")
            tokens = tokens[1:]
            parts.append(inner if token == "(" else ("choice", (inner, "")))
        elif token.startswith("{"):
            parts.append(("slot", (token[1:-1],)))
        else:
            parts.append(token)
    branches.append(("all", tuple(parts)))
    return (branches[0] if len(branches) == 1 else ("choice", tuple(branches))), tokens


def _render(node: Node, rng: np.random.Generator, slots: Slots) -> str:
    if isinstance(node, str):
        return node
    kind, parts = node
    if kind == "all":
        return "".join(_render(part, rng, slots) for part in parts)
    if kind == "choice":
        return _render(parts[int(rng.integers(len(parts)))], rng, slots)
    name = parts[0]
    assert isinstance(name, str)
    if name not in slots:
        raise SimError(f"a pattern has the slot {name!r}; filled in are: {', '.join(slots)}")
    value = slots[name]
    return value if isinstance(value, str) else value()


def expand(pattern: str, rng: np.random.Generator, slots: Slots | None = None) -> str:
    """One random reading of a pattern, with single spaces and no space before punctuation. Slots given as functions are
    called each time they occur; what they return is not read as a pattern.

    Raises:
        SimError: the pattern is malformed or names a slot that is not given.
    """
    text = " ".join(_render(_parse(pattern), rng, slots or {}).split())
    text = re.sub(r"\s+([,;:.!?]|'d )", r"\1", text)
    return re.sub(r",+([,;:.!?])", r"\1", text)
