"""Training rows as TRL takes them, from parquet files.

A row has ``images`` (encoded pictures, as `datasets.Image` stores them) and either ``messages``, the last of which is
the answer to learn, or ``prompt`` and ``completion``: lists of ``{"role", "content"}``, content a string. The pictures
stand before the first user message's text, in their order, as the adapters in `itk_embodied.agents.qwen3vl` put them.

So are the project's own sets (`itk_embodied.training.sets.schema`); which prompt file their words are from was chosen
when they were made, and the model must be used with the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itk_embodied.errors import InputError

PROMPTED, SPOKEN = ("prompt", "completion"), ("messages",)


def load_rows(paths: Sequence[Path], role: str) -> Any:
    """A `datasets.Dataset` with ``images``, ``prompt`` and ``completion``.

    Raises:
        InputError: no such file, no parquet file, no rows, or columns that are not those of a training set.
    """
    from datasets import Dataset, Image, List, concatenate_datasets

    files = parquet_files(paths)
    try:
        rows = Dataset.from_parquet([str(path) for path in files], keep_in_memory=False)
    except Exception as error:
        raise InputError(f"{files[0]} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error
    columns = next((kind for kind in (PROMPTED, SPOKEN) if set(kind) <= set(rows.column_names)), None)
    if columns is None or "images" not in rows.column_names:
        raise InputError(
            f"{files[0]} has the columns {', '.join(rows.column_names)}; expected images with prompt and completion, "
            f"or images with messages. `itk-embodied train data sets` makes such files for the {role}."
        )
    if not len(rows):
        raise InputError(f"{files[0]} has no rows; make some: itk-embodied train data sets")
    pictures = rows.select_columns(["images"]).cast_column("images", List(Image()))
    texts = rows.select_columns([*columns])
    return concatenate_datasets([pictures, texts.map(_split, remove_columns=texts.column_names)], axis=1)


def _split(row: dict[str, Any]) -> dict[str, Any]:
    """One row's question and answer."""
    if "messages" in row:
        *asked, answer = row["messages"]
        if not asked or answer["role"] != "assistant":
            raise InputError("a row's messages do not end with an assistant's answer; nothing can be learnt from it.")
        row = {"prompt": asked, "completion": [answer]}
    return {name: [dict(turn) for turn in row[name]] for name in PROMPTED}


def parquet_files(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; of a folder, its parquet files. Raises InputError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise InputError(f"there is no parquet file at {path}; make one: itk-embodied train data sets")
        found += inside
    if not found:
        raise InputError("no --data was given; name a parquet file or a folder of them.")
    return found
