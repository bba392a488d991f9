"""More ways to say things than anybody thinks of at once: patterns of ``wide_wording.toml``, for training alone.

Language models wrote them that were shown the grammar beside them, but not its held-out wording. Whatever has a word,
or three words in a row, that of the two only the held-out wording has, was left out, so that it stays unseen.
Evaluations and suites never draw from them: what they draw stays the same.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar, cast

_FILE = "wide_wording.toml"
Table = TypeVar("Table")


def widened(name: str, table: Table) -> Table:
    """``table`` with what the file has under its name as a third part, ``wide``, beside ``train`` and ``wording``."""
    return cast(Table, _merged(cast(Mapping[str, Any], table), _patterns().get(name, {})))


def _merged(table: Mapping[str, Any], more: Any) -> Any:
    if "train" in table:
        return {**table, "wide": tuple(more)}
    return {key: _merged(part, more.get(key, {})) for key, part in table.items()}


@lru_cache(maxsize=1)
def _patterns() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("itk_sim").joinpath(_FILE).read_text(encoding="utf-8"))
