"""What the tiny planner and critic read and write while they learn: listings, thoughts, and the tokenizer's corpus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from itk_sim.language import instruction
from itk_sim.symbols import BOWLS, CUBES, DRAWER, MATS, TABLE, SceneState, Step

NAMES = (*CUBES, *BOWLS, *MATS, DRAWER)
SEEN = 0.12
"""A thing of which the camera sees less than this share is not listed: no picture shows it."""

# Words that people use for such tasks, so that most of them are one token; others fall to pieces, none is refused.
_EVERYDAY = """
a an and the then next after that afterwards finally first second please could would can you i want like need to
lets let us me my now just put place move set lay drop stack pile bring take pick get grab transfer shift slide
position deposit leave rest park relocate carry lift push pull shut close open fetch remove unstack clear tidy sort
separate swap exchange switch trade build make arrange group collect gather empty fill stow store keep hide tuck
toss throw in into inside within on onto upon on top of over above atop under below beside next near by left right
front behind back ahead side hand before from out off away with without where is are at it its them one ones all
every each any both other others same place spot positions red green blue yellow orange purple white teal pink grey
gray black brown cyan warm cold cool colour color coloured colored cube cubes block blocks box brick bowl bowls dish
basin container mat pad placemat square cloth drawer cabinet tray table tabletop surface desk tower three two high
everything else unchanged nothing leftmost rightmost nearest closest farthest lowest highest middle top bottom
largest smallest thing things object objects item items there here no not banana sink mug cup plate fork spoon knife
apple pear bottle robot scissors phone book pen ball toy oven stove microwave fridge lamp chair door window up down
cover covering free so goes should be will do go how what why when who which please thanks thank kindly robot arm
gripper hey okay ok make sure using use once done having has have this these those
"""


def corpus(seed: int = 0) -> Iterator[str]:
    """Texts whose words shall be single tokens."""
    yield from ([_EVERYDAY, " " + " ".join(_EVERYDAY.split()).title(), " ".join(_EVERYDAY.split())] * 4)
    rng = np.random.default_rng(seed)
    for _ in range(3000):
        step = random_step(rng)
        yield instruction(step)
        yield f"<think>{instruction(step)}; else same; clean</think> | true false null"
    # Words that stand without a blank before them: at the start of a field, behind a place, behind a semicolon.
    bare = "true false null put stack open close on in to also none gone else same clean damage drawer table list what"
    yield from [word for name in (*NAMES, *bare.split()) for word in name.split()] * 60
    for name in NAMES:
        yield from [f";{name} gone", f" on {name}; else {name}; damage clean also none moved"] * 40
    yield from ["I do not see that here", "There is no drawer here.", "There is no purple cube on the table."] * 50
    yield from ["put stack open close 1 2 3 4 5 6 7 8 9 10 11 12 list before after now refuse"] * 50


def random_step(rng: np.random.Generator) -> Step:
    """Any step that can be said, in no particular scene."""
    cube, other = (str(name) for name in rng.permutation(CUBES)[:2])
    bowl, draw = str(rng.choice(BOWLS)), rng.random()
    if draw < 0.1:
        return Step("open" if draw < 0.05 else "close")
    if draw < 0.3:
        return Step("place", cube, "in", bowl if draw < 0.25 else DRAWER)
    if draw < 0.55:
        return Step("place", cube, "on", str(rng.choice([other, other, MATS[0], TABLE])))
    if draw < 0.65:
        return Step("place", cube, "at", None, (int(rng.integers(32)), int(rng.integers(32))))
    relation = ("left_of", "right_of", "in_front_of", "behind")[int(rng.integers(4))]
    return Step("place", cube, relation, str(rng.choice([other, bowl, MATS[0]])))  # type: ignore[arg-type]


def place(state: SceneState, name: str) -> str:
    """``<x10><y12>``: where the camera sees a thing."""
    column, row = state.cell(name)
    return f"<x{column:02d}><y{row:02d}>"


def support_words(state: SceneState, cube: str) -> str:
    below = state.support.get(cube, TABLE)
    return f"in {below}" if below in BOWLS or below == DRAWER else f"on {below}"


def entry(state: SceneState, name: str) -> str:
    """One thing of a listing: ``red cube<x10><y12>on table``, ``drawer<x25><y17>closed``, ``pink bowl gone``."""
    if not listed(state, name):
        return f"{name} gone"
    if name in CUBES:
        return f"{name}{place(state, name)}{support_words(state, name)}"
    return f"{name}{place(state, name)}" + (str(state.drawer) if name == DRAWER else "")


def listed(state: SceneState, name: str) -> bool:
    return name in state.names and state.visible.get(name, 1.0) >= SEEN


def listing(state: SceneState) -> str:
    """Everything seen, in a fixed order: the planner's thought."""
    return ";".join(entry(state, name) for name in NAMES if listed(state, name))
