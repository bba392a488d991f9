"""The words that the generator's reader knows, and what it reads a sentence into."""

from __future__ import annotations

from itk_embodied.agents.generators.words import NONE, PLACES
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS, TABLE, Cell, SceneState, Step

_WORDS = (
    "put place set move stack lay drop take pick lift carry bring transfer shift slide push pull open close shut "
    "leave get make let rest sit stand balance position relocate deposit tuck store hide return remove unstack "
    "clear free add throw the a an it its that this there one other everything else unchanged keep as is are was be "
    "must should can could would please you your i want need like now then so only just and or but not nothing do "
    "don t all in into inside within on onto upon over top of off from out to at by near beside next under above "
    "down up back away left right front behind hand side leftwards rightwards forward rear before ahead where with "
    "here red green blue yellow orange purple white teal pink grey gray violet turquoise brown wooden scarlet crimson "
    "cube block box brick dice cubes blocks bowl dish basin cup container mat pad square cloth tray table tabletop "
    "surface desk bench drawer cabinet chest compartment handle object thing item piece spot location point empty "
    "bare coloured colored small plain directly straight gently carefully "
)

WORD_BUCKETS = 96
"""Vectors that words outside WORDS share."""

WORDS = tuple(_WORDS.split())
"""Words that get a vector of their own."""


RELATIONS = (NONE, "in", "on", *DIRECTIONS, "at", "open", "close")
SLOTS = (RELATIONS, (NONE, *CUBES), (NONE, *CUBES, *BOWLS, *MATS, DRAWER, TABLE))
"""What a sentence is read into: what to do, with which thing, and where to or beside what."""


def slot_values(step: Step) -> tuple[int, ...]:
    """The numbers of a step's values in SLOTS."""
    if step.verb != "place":
        return RELATIONS.index(step.verb), 0, SLOTS[2].index(DRAWER)
    values = (step.relation, step.obj, step.target)
    return tuple(0 if value is None else slot.index(value) for slot, value in zip(SLOTS, values, strict=True))


def named_cells(step: Step, state: SceneState, with_places: bool) -> list[Cell]:
    """The places that a step's sentence names, in its order: things' own ones only if it is ``with_places``."""
    named = [DRAWER] if step.verb != "place" else [step.obj, step.target]
    cells = [state.cell(name) for name in named if name is not None and name != TABLE] if with_places else []
    return cells + ([step.cell] if step.cell is not None else [])


def vocabulary() -> list[str]:
    """Places first, then words; fixed, so that a checkpoint's rows keep their meaning."""
    return [*PLACES, *dict.fromkeys(WORDS)]
