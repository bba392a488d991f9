"""Training rows as TRL takes them, from parquet files.

A row has ``images`` (encoded pictures, as `datasets.Image` stores them) and either ``messages``, the last of which is
the answer to learn, or ``prompt`` and ``completion``: lists of ``{"role", "content"}``, content a string. The pictures
stand before the first user message's text, in their order, as the adapters in `itk_embodied.agents.qwen3vl` put them.

The project's own sets (`itk_embodied.training.sets.schema`) also have what the messages were made from; where that is
enough, the question is asked anew in the words of the prompt file that the model will be used with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PLANNER_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.errors import InputError

PROMPTED, SPOKEN = ("prompt", "completion"), ("messages",)


def load_rows(paths: Sequence[Path], role: str, prompt: str) -> Any:
    """A `datasets.Dataset` with ``images``, ``prompt`` and ``completion``. ``prompt``: a prompt file of the role.

    Raises:
        InputError: no such file, no parquet file, no rows, or columns that are not those of a training set.
        ConfigError: no such prompt file.
    """
    from datasets import Dataset, Image, List, concatenate_datasets

    template = load_prompt(prompt, CRITIC_PLACEHOLDERS if role == "critic" else PLANNER_PLACEHOLDERS)

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
    known = [name for name in ("instruction", "generator_prompt", "task", "cut") if name in rows.column_names]
    texts = rows.select_columns([*columns, *known])
    spoken = texts.map(partial(_conversation, template, role), remove_columns=texts.column_names)
    return concatenate_datasets([pictures, spoken], axis=1)


def _conversation(template: PromptTemplate, role: str, row: dict[str, Any]) -> dict[str, Any]:
    """One row's question and answer."""
    if "messages" in row:
        *asked, answer = row["messages"]
        if not asked or answer["role"] != "assistant":
            raise InputError("a row's messages do not end with an assistant's answer; nothing can be learnt from it.")
        row = row | {"prompt": asked, "completion": [answer]}
    if role == "critic" and {"instruction", "generator_prompt"} <= set(row):
        row = row | {"prompt": _chat(template.fill(instruction=row["instruction"], prompt=row["generator_prompt"]))}
    elif role == "planner" and row.get("cut") == 0 and "task" in row:
        row = row | {"prompt": _chat(template.fill(task=row["task"]))}
    return {name: [dict(turn) for turn in row[name]] for name in PROMPTED}


def _chat(messages: tuple[str, str]) -> list[dict[str, str]]:
    from itk_embodied.agents.qwen3vl.adapter import defuse

    turns = zip(("system", "user"), map(defuse, messages), strict=True)
    return [{"role": role, "content": text} for role, text in turns if text]


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
