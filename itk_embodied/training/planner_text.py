"""Tasks without pictures: the planner learns language and planning from what it would have said it sees.

A question about a picture costs a picture; one about a listing costs nothing but its words. So the listing is given and
what follows from it is learnt, over endlessly recoloured scenes, with slips of the pen and stray words, so that words
never seen in training do not throw the planner off.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np

from itk_sim.errors import SimError
from itk_sim.language import instruction
from itk_sim.people import people_task
from itk_sim.splits import combination_split
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS, SceneState, Step
from itk_sim.tasks import TaskSpec, sample_task
from itk_sim.wording import Split

HARD = ("tower", "sort", "sort", "swap", "every_cube", "clear_table", "chain", "chain", "covered", "stack",
        "put_in_drawer", "take_out_of_drawer", "unstack", "impossible", "impossible")  # fmt: skip
HARD_SHARE = 0.5
WIDE_SHARE = 0.6
"""How many texts may say things in any of the ways of `itk_sim.wide`, too."""
PEOPLE_SHARE = 0.2
"""How many tasks are put as people put them (see `itk_sim.people`)."""
BY_PLACE = 0.9
"""So many cubes that may be called by their places ("the leftmost cube"), more than people do: it is hard to learn."""
SLIP_SHARE, STRAY_SHARE, COINED_SHARE, THING_SHARE, LOUD_SHARE = 0.12, 0.15, 0.15, 0.3, 0.04
INTO_SHARE, SMALL_SHARE, OWN_SHARE, WITH_SHARE = 0.1, 0.12, 0.2, 0.2
"""How often a text has no known word for "in" or "on" a bowl, mat or drawer; handles its small words freely; has coined
words for those of its family's own; and for what is done to one thing with another."""

RETOLD_SHARE, COINED_COLOUR_SHARE = 0.5, 0.25
"""How often a told scene has its colour words exchanged, and how often one of these for a word that no language has."""

Value = TypeVar("Value")

_COLOURS = "red|green|blue|yellow|orange|purple|white|teal|pink|grey|gray"
_VERBS = re.compile(r"\b(put|place|move|set|bring|position|lay|drop|stack|pile|rest|slide|shift|carry|get)\b", re.I)
_OWN_WORDS = {
    "swap": re.compile(r"\b(swap|exchange|switch|trade|change)\b", re.I),
    "sort": re.compile(r"\b(sort|separate|split|group|organise|organize)\b", re.I),
    "tower": re.compile(r"\b(build|make|create|tower|stack|pile|start)\b", re.I),
    "stack": re.compile(r"\b(build|make|create|form|use)\b", re.I),
    "unstack": re.compile(r"\b(take|remove|get|lift|pull|bring|pick)\b(?= .*\b(off|from|down)\b)", re.I),
    "take_out_of_drawer": re.compile(r"\b(take|remove|get|lift|pull|bring|pick)\b(?= .*\b(out|from)\b)", re.I),
    "chain": re.compile(r"\b(and then|then|and after that|after that|afterwards|next)\b", re.I),
}
"""Words of a family's own that its sentences can do without: two cubes and no place are to be swapped, whatever the
verb is; what is said second comes second, whatever joins it."""
_WITH = re.compile(r"\b(cover|top|cap|fill|load|feed|stock|decorate|extend)\b(?= [^.;,]*\bwith\b)", re.I)
"""What is done to one thing with another: this goes on it or into it, whatever the verb is."""
_INTO = re.compile(
    r"\b(?:in to|into|inside of|inside|in|onto|on to|on top of|on)"
    rf"(?= (?:(?:the|that|this|my) )?(?:(?:{_COLOURS}) )?"
    r"(?:bowl|dish|basin|container|mat|pad|placemat|drawer|cabinet)\b)",
    re.I,
)
"""What such a place is said with; the place tells what is meant."""
_SMALL = re.compile(
    r"\b(?:the|that|this|my|please|just|now|robot|can|could|will|would|you|i|want|need|like|to|should|must|"
    r"make|let|sure|have|be|is|it|and|for|me|go|take|get|grab|pick|up)\b",
    re.I,
)
"""Words that a sentence can lose, or have others for, and still say what is to be where."""
_THING = re.compile(rf"\b({_COLOURS}) (cube|block|box|brick|bowl|dish|basin|container|mat|pad|placemat)\b", re.I)
_COLOUR = re.compile(rf"\b({_COLOURS})\b", re.I)
_WARMTH = re.compile(r"warm|cool|cold", re.I)
_STRAY = """so well now then listen robot hello hi good morning today next up task request instruction goal my wish is
this as told before i think it would be nice great kindly for once quickly carefully gently slowly when you can right
away if possible right here on my mark let us begin attention important note that remember to be clear"""
_STARTS, _VOWELS = tuple("bcdfghklmnprstvwz"), tuple("aeio")


def recoloured(state: SceneState, rng: np.random.Generator) -> SceneState:
    """The same scene with the colours of its cubes, and of its bowls, exchanged."""
    new: dict[str, str] = {}
    for names in (CUBES, BOWLS):
        new |= dict(zip(names, (str(name) for name in rng.permutation(names)), strict=True))

    def named(values: Mapping[str, Value]) -> dict[str, Value]:
        return {new.get(name, name): value for name, value in values.items()}

    return replace(
        state,
        cubes=tuple(name for name in CUBES if name in {new[cube] for cube in state.cubes}),
        bowls=tuple(name for name in BOWLS if name in {new[bowl] for bowl in state.bowls}),
        support={new[cube]: new.get(below, below) for cube, below in state.support.items()},
        position_m=named(state.position_m),
        pixel=named(state.pixel),
        visible=named(state.visible),
    )


def drawn_task(state: SceneState, rng: np.random.Generator) -> TaskSpec:
    """A task in words to learn from, plain, wide or a person's; families that need thought more often than others."""
    if rng.random() < PEOPLE_SHARE:
        with suppress(SimError):  # this scene has no such task
            return people_task(state, rng, "train")
    split: Split = "wide" if rng.random() < WIDE_SHARE else "train"
    if rng.random() < HARD_SHARE:
        for family in rng.permutation(HARD)[:4]:
            try:
                return sample_task(state, rng, str(family), split, by_place=BY_PLACE)
            except SimError:
                continue  # this scene has no such task
    return sample_task(state, rng, split=split, by_place=BY_PLACE)


def roughened(task: TaskSpec, rng: np.random.Generator) -> str:
    """The task's text as people also write it: with slips, stray words around it, words that nobody has heard in it."""
    text = task.text
    if task.feasible and rng.random() < COINED_SHARE:
        text = _VERBS.sub(_coined(rng), text, count=int(rng.integers(2)))
    if task.feasible and rng.random() < INTO_SHARE:
        odd = _coined(rng) if rng.random() < 0.7 else f"{_coined(rng)} {_coined(rng)}"
        text = _INTO.sub(odd, text, count=int(rng.integers(2)))
    own = _OWN_WORDS.get(task.family)
    if own is not None and task.feasible and rng.random() < OWN_SHARE:
        text = own.sub(lambda _: _coined(rng) if rng.random() < 0.8 else f"{_coined(rng)} {_coined(rng)}", text)
    if task.feasible and rng.random() < WITH_SHARE:
        text = _WITH.sub(lambda _: _coined(rng), text)
    if rng.random() < SMALL_SHARE:
        text = _smaller(text, rng)
    if task.feasible and rng.random() < THING_SHARE:
        text = _THING.sub(lambda match: _renamed(match[1], match[2], rng), text)
    if rng.random() < STRAY_SHARE:
        words = _STRAY.split() if rng.random() < 0.7 else [_coined(rng) for _ in range(4)]
        start = int(rng.integers(len(words)))
        stray = " ".join(words[start : start + int(rng.integers(1, 5))])
        mark = str(rng.choice([", ", ": ", " - ", "... ", " "]))
        text = f"{stray}{mark}{text}" if rng.random() < 0.75 else f"{text.rstrip('.!? ')}{mark}{stray}"
    if rng.random() < SLIP_SHARE:
        text = _slip(text, rng)
    return text.upper() if rng.random() < LOUD_SHARE else text


def retelling(task: str, answer: str, rng: np.random.Generator) -> Callable[[str], str] | None:
    """Other words for the colours of a told scene, the same in all that is said of it: a pink cube on a blue mat.

    So a colour and a kind of thing are learnt apart, and not the few pairs of them that the table has. None where the
    task hangs on what the colours are, or would name a combination that is held out, in the ``answer`` too.
    """
    if _WARMTH.search(task):
        return None
    names = list(dict.fromkeys(name.replace("gray", "grey") for name in _COLOURS.split("|")))
    others = [_coined(rng) if rng.random() < COINED_COLOUR_SHARE else str(name) for name in rng.permutation(names)]
    new = dict(zip(names, others, strict=True))

    def retell(text: str) -> str:
        return _COLOUR.sub(lambda match: _in_the_case_of(match[0], new[match[0].lower().replace("gray", "grey")]), text)

    said, pairs = _held_out()
    asked, planned = retell(task).lower(), retell(answer).lower()
    held_out = any(one in asked and other in asked for one, other in pairs) or any(step in planned for step in said)
    return None if held_out else retell


def _in_the_case_of(old: str, new: str) -> str:
    return new.upper() if old.isupper() else new.title() if old.istitle() else new


@functools.cache
def _held_out() -> tuple[set[str], set[tuple[str, str]]]:
    """The sentences of held-out steps, and the colours of those that put a thing in or on another."""
    said, pairs = set[str](), set[tuple[str, str]]()
    for cube, relation, target in product(CUBES, ("in", "on", *DIRECTIONS), (*CUBES, *BOWLS, *MATS, DRAWER)):
        with suppress(SimError):  # not everything goes in or on everything
            sentence = instruction(Step("place", cube, relation, target))  # type: ignore[arg-type]
            if combination_split(cube, relation, target) == "held-out":
                said.add(sentence)
                pairs |= {(cube.split()[0], target.split()[0])} if relation in ("in", "on") else set()
    return said, pairs


def _coined(rng: np.random.Generator) -> str:
    """A word that no language has."""
    return "".join(f"{rng.choice(_STARTS)}{rng.choice(_VOWELS)}" for _ in range(int(rng.integers(2, 4))))


def _smaller(text: str, rng: np.random.Generator) -> str:
    """Some of the small words left out, or others put in their place."""
    lost, odd = rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.4)

    def other(match: re.Match[str]) -> str:
        draw = rng.random()
        return "" if draw < lost else _coined(rng) if draw < lost + odd else match[0]

    return re.sub(r"  +", " ", _SMALL.sub(other, text)).strip() or text


def _renamed(colour: str, noun: str, rng: np.random.Generator) -> str:
    """A thing by words that are not to be known: its colour alone says what it is."""
    odd = _coined(rng)
    draw = rng.random()
    if draw < 0.3:
        return f"{odd} {colour} {noun}"
    if draw < 0.5:
        return f"{colour} {odd} {noun}"
    if draw < 0.7:
        return f"{colour} {odd}"
    if draw < 0.85:
        return f"{noun} {odd} {colour}"
    return f"{noun} of {odd} {colour}" if draw < 0.92 else f"{noun} of {colour} {odd}"


def _slip(text: str, rng: np.random.Generator) -> str:
    """One word with two letters exchanged, one left out, or one doubled."""
    long = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not long:
        return text
    word = long[int(rng.integers(len(long)))]
    at = word.start() + int(rng.integers(1, len(word[0]) - 1))
    how = rng.random()
    if how < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :] if how < 0.8 else text[:at] + text[at] + text[at:]
