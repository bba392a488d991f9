"""Tasks as people would say them: whole utterances, not made from any grammar here.

``people.json`` is an examination of the planner's English, in the voices of a dozen kinds of speakers. A language model
wrote it that was told the families and their slots and nothing else: neither the grammar that planners learn from nor
its held-out part. Nothing is trained on it. ``people_train.json`` was written likewise, apart from it, in other voices;
what came out nearly like the examination, or has what only held-out wording has, was left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import Literal, TypeAlias

import numpy as np

from itk_sim.errors import SimError
from itk_sim.splits import Combinations
from itk_sim.symbols import DRAWER, TABLE, SceneState, is_bowl, is_cube, is_mat
from itk_sim.tasks import TaskSpec, sample_task
from itk_sim.wording import Wording

Book: TypeAlias = Literal["examination", "train"]

FILES: Mapping[Book, str] = {"examination": "people.json", "train": "people_train.json"}
_TRIES = 12
_FREE_NOUNS = 0.4
"""How often things have other names than their own in an utterance for training."""
_SAMPLED_AS = {"every_cube_bowl": "every_cube", "every_cube_mat": "every_cube", "chain_in_stack": "chain"}
"""Whose family in the simulator has another name, being wider."""


def people_task(
    state: SceneState,
    rng: np.random.Generator,
    book: Book = "examination",
    family: str | None = None,
    combinations: Combinations = "train",
) -> TaskSpec:
    """A task for a scene in a person's words.

    Args:
        family: one of `families`; None: any that the scene allows, all about equally likely.
        combinations: which (cube, relation, target) its plan may have, as for `itk_sim.tasks.sample_task`.

    Raises:
        SimError: an unknown family, or the scene allows none.
    """
    said = utterances(book)
    if family is not None and family not in said:
        raise SimError(f"family {family!r} was given; allowed: {', '.join(sorted(said))}")
    for name in [family] if family else rng.permutation(sorted(said)):
        for _ in range(_TRIES):
            with suppress(SimError):
                task = sample_task(state, rng, sampled_as(name), combinations=combinations)
                slots = _slots(str(name), task, state)
                if slots is not None:
                    words = Wording(rng, "wide") if book == "train" and rng.random() < _FREE_NOUNS else None
                    text = str(rng.choice(said[name])).format(**_filled(slots, words))
                    return replace(task, family=str(name), text=text)
    raise SimError(f"this scene ({', '.join(state.names)}) has no task of family {family!r}; draw another scene")


def families() -> tuple[str, ...]:
    """Those of the examination."""
    return tuple(sorted(utterances("examination")))


def sampled_as(family: str) -> str:
    """The simulator's family that one of these is part of."""
    return _SAMPLED_AS.get(family, family)


@lru_cache(maxsize=2)
def utterances(book: Book) -> Mapping[str, Sequence[str]]:
    """Templates by family; their slots are those of `_slots`, and each with ``_c`` for the colour alone."""
    text = resources.files("itk_sim").joinpath(FILES[book]).read_text(encoding="utf-8")
    return {str(family): tuple(lines) for family, lines in json.loads(text).items()}


def _slots(family: str, task: TaskSpec, state: SceneState) -> dict[str, str] | None:
    """What fills a family's templates; None where the task is another than they say."""
    intents = task.intents
    relation, *names = intents[0]
    if family in ("open_drawer", "close_drawer"):
        return {}
    if family == "tower":
        (_, middle, bottom), (_, top, _) = intents
        return {"a": top, "b": middle, "c": bottom}
    if family == "swap":
        return {"a": names[0], "b": names[1]}
    obj, dst = names[0], names[-1]
    if family == "chain_in_stack":
        if [intent[0] for intent in intents] != ["in", "on"] or not is_bowl(dst) or not is_cube(intents[1][2]):
            return None
        return {"obj": obj, "dst": dst, "a": intents[1][1], "b": intents[1][2]}
    if family in ("every_cube_bowl", "every_cube_mat", "clear_table"):
        whole = family == "clear_table" or {intent[1] for intent in intents} == set(state.cubes)
        fits = is_mat(dst) if family == "every_cube_mat" else is_bowl(dst)
        return {"dst": dst} if whole and fits else None
    if len(intents) > 1:
        return None
    if family == "unstack":
        return {"obj": obj, "src": state.support[obj]} if relation == "on" and dst == TABLE else None
    if family == "take_out_of_drawer":
        return {"obj": obj} if dst == TABLE else None
    return {"obj": obj} if dst == DRAWER else {"obj": obj, "dst": dst}


def _filled(slots: Mapping[str, str], words: Wording | None) -> dict[str, str]:
    """The things' names, or what ``words`` call them, and their colours."""
    nouns = {slot: words.noun(name) if words else f"the {name}" for slot, name in slots.items()}
    return nouns | {f"{slot}_c": name.split()[0] for slot, name in slots.items()}
