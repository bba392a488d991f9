"""Parquet: parts a shard, then one file a set; nothing is seen half-written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from itk_embodied.errors import MissingDependencyError
from itk_embodied.training.sets.schema import ROW_TYPES, SET_NAMES, column_features
from itk_embodied.training.sets.sequences import SequenceRow

FILE_NAMES = (*SET_NAMES, "sequences_easy", "sequences_hard")
"""Every file of a folder of sets."""


def file_features(name: str) -> Any:
    """The `datasets.Features` of a set or of the sequences."""
    return column_features(SequenceRow if name.startswith("sequences") else ROW_TYPES[name])  # type: ignore[index]


def write_part(folder: Path, name: str, number: int, rows: Sequence[Any]) -> int:
    """A shard's rows of one file; returns how many. What is there already stays."""
    parquet = _pyarrow()
    path = part_file(folder, name, number)
    if path.exists():
        return int(parquet.read_metadata(path).num_rows)
    from datasets import Dataset

    features = file_features(name)
    plain = [_plain(row) for row in rows]
    columns = {field: [row[field] for row in plain] for field in features}
    table = Dataset.from_dict(columns, features=features).data.table
    folder.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".partial")
    parquet.write_table(table, staging)
    staging.replace(path)
    return len(plain)


def merge_parts(folder: Path, name: str, numbers: Sequence[int], out: Path) -> int:
    """All parts of one file in one, in the order of their numbers; returns the rows. Without rows there is no file:
    `datasets` cannot read an empty one."""
    parquet = _pyarrow()
    filled = [part for number in numbers if (part := parquet.read_table(part_file(folder, name, number))).num_rows]
    if not filled:
        out.unlink(missing_ok=True)
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    staging, schema = out.with_suffix(".partial"), file_features(name).arrow_schema
    with parquet.ParquetWriter(staging, schema) as writer:
        for part in filled:
            writer.write_table(part.cast(schema))
    staging.replace(out)
    return sum(part.num_rows for part in filled)


def part_file(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:05d}.parquet"


def _plain(row: Any) -> dict[str, Any]:
    named = {field.name: getattr(row, field.name) for field in fields(row)}
    return named | {"images": [{"bytes": picture, "path": None} for picture in row.images]}


def _pyarrow() -> Any:
    try:
        import datasets  # noqa: F401
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f'{error.name} is not installed; training sets need: pip install "itk-embodied[train]"'
        ) from error
    return parquet
