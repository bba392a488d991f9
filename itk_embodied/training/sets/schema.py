"""The columns of the training sets: parquet files that `datasets` and TRL load as they are.

Pictures are encoded PNGs in ``images`` (`datasets.List(datasets.Image())`), in the order in which they stand before the
text of the first user message. A message is ``{"role": "system" | "user" | "assistant", "content": text}``.

``planner_sft``
    ``messages`` ends with the assistant's whole answer, ``<think>…</think><answer>{"execution_plan": …}</answer>``.
    ``images``: the camera frame, then what the steps before the cut led to.
``critic_sft``
    ``messages`` ends with the assistant's verdict; ``images``: what the step started from, the candidate.
``critic_rl``
    ``prompt`` has the messages without an answer (TRL's name for it); ``images``: likewise. What the generator was told
    is therefore called ``generator_prompt``, in every set.

``shard`` and ``row`` name the ground truth of a critic's row: ``ShardSet.record(shard, row)`` on the folder of the
rollouts has before, after, masks and states, so any judge can score a new picture for the same step. In
``planner_sft`` ``row`` is the trajectory's number in its shard.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from itk_embodied.errors import InputError, did_you_mean

SetName: TypeAlias = Literal["planner_sft", "critic_sft", "critic_rl"]
SET_NAMES: tuple[SetName, ...] = ("planner_sft", "critic_sft", "critic_rl")


class Message(TypedDict):
    """One turn. ``role``: system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class PlannerRow:
    """A plan to learn. ``cut``: steps done before it; ``steps``: steps in the answer (0: a refusal)."""

    images: list[bytes]
    messages: list[Message]
    task: str
    family: str
    seed: int
    cut: int
    steps: int
    shard: str
    row: int


@dataclass(frozen=True)
class CriticCase:
    """What both critic sets say of one candidate.

    ``instruction``: what the step asks for; ``generator_prompt``: what the generator was told. ``success``: the judge's
    verdict J; ``semantics``, ``quality``, ``overall``: the judge's scores of the candidate, 0..10. ``attempt``: its
    number in the step, from 1. ``shard``, ``row``: its ground truth.
    """

    images: list[bytes]
    instruction: str
    generator_prompt: str
    success: bool
    semantics: float
    quality: float
    overall: float
    task: str
    family: str
    seed: int
    shard: str
    row: int
    attempt: int


@dataclass(frozen=True)
class CriticRow(CriticCase):
    """``messages`` ends with the answer to learn."""

    messages: list[Message]


@dataclass(frozen=True)
class CriticRlRow(CriticCase):
    """``prompt``: the messages without an answer."""

    prompt: list[Message]


ROW_TYPES: dict[SetName, type] = {"planner_sft": PlannerRow, "critic_sft": CriticRow, "critic_rl": CriticRlRow}
_PLAIN = {"str": "string", "int": "int64", "float": "float64", "bool": "bool"}
_NESTED = {
    "list[Message]": {"role": "str", "content": "str"},
    "list[Segment]": {"kind": "str", "text": "str", "image": "int"},
}


def check_name(name: str) -> SetName:
    """The name itself. Raises InputError where there is no such set."""
    for known in SET_NAMES:
        if name == known:
            return known
    raise InputError(f"there is no training set {name!r}; {did_you_mean(name, SET_NAMES)}")


def features(name: SetName) -> Any:
    """The set's `datasets.Features`."""
    return column_features(ROW_TYPES[name])


def column_features(row_type: type) -> Any:
    """The `datasets.Features` of a row's dataclass."""
    from datasets import Features, Image, List, Value

    def kind(annotation: str) -> Any:
        if annotation == "list[bytes]":
            return List(Image())
        if annotation in _NESTED:
            return List({name: Value(_PLAIN[plain]) for name, plain in _NESTED[annotation].items()})
        return Value(_PLAIN[annotation])

    return Features({field.name: kind(str(field.type)) for field in fields(row_type)})


def load_set(folder: Path, name: str, split: str = "train") -> Any:
    """A set as a `datasets.Dataset`, pictures decoded when read.

    Raises:
        InputError: there is none, or its columns are others.
    """
    from datasets import Dataset
    from pyarrow import parquet

    path = set_file(folder, check_name(name), split)
    if not path.is_file():
        raise InputError(f"there is no {path}: no row passed the filters, or make it: itk-embodied train data sets")
    rows = Dataset(parquet.read_table(path, memory_map=True))
    wanted = features(check_name(name))
    if set(rows.column_names) != set(wanted):
        raise InputError(
            f"{path} has the columns {', '.join(rows.column_names)}; expected {', '.join(wanted)}. Make it again."
        )
    return rows if rows.features == wanted else rows.cast(wanted)


def set_file(folder: Path, name: str, split: str) -> Path:
    """``FOLDER/critic_sft/train.parquet`` (or ``held_out.parquet``: a split's name has no hyphen in `datasets`)."""
    return Path(folder) / name / f"{split.replace('-', '_')}.parquet"
