"""The canonical sentence of a step: what the planner writes, the generator paints and the critic repeats.

``instruction(step)`` is one fixed sentence per step; ``grounded(step, state)`` is the same sentence with the place of
every named thing in the front image after its name; ``parse_instruction`` reads both. Free wording is in
`itk_sim.wording`. A place is two tokens, ``<x12> <y07>``: column from the left and row from the top of a 32x32 raster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from itk_sim.errors import SimError
from itk_sim.symbols import BOWLS, CUBES, DRAWER, GRID, MATS, TABLE, Cell, Relation, SceneState, Step, is_cube
from itk_sim.wording import Split, Wording

KEEP = "; keep everything else unchanged"
"""How every grounded sentence ends."""

_WORDS: dict[Relation, str] = {
    "in": "in",
    "on": "on",
    "left_of": "to the left of",
    "right_of": "to the right of",
    "in_front_of": "in front of",
    "behind": "behind",
}
_PLACE = r"<x(\d\d)> <y(\d\d)>"
_NAMES = {
    "in": (*BOWLS, DRAWER),
    "on": (*MATS, TABLE),
    "stack": CUBES,
    "direction": (*CUBES, *BOWLS, *MATS),
}
EXAMPLES = (
    '"put the red cube in the teal bowl"',
    '"put the red cube on the grey mat"',
    '"stack the red cube on the green cube"',
    '"put the red cube to the left of the green cube"',
    '"put the red cube at <x12> <y07>"',
    '"open the drawer"',
)


def cell_words(cell: Cell) -> str:
    """``(12, 7)`` as ``<x12> <y07>``.

    Raises:
        SimError: a number is outside 0..31.
    """
    if not all(0 <= value < GRID for value in cell):
        raise SimError(f"cell {cell} was given; allowed: two numbers, column and row, each 0..{GRID - 1}")
    return f"<x{cell[0]:02d}> <y{cell[1]:02d}>"


def check_step(step: Step) -> Step:
    """The step itself if it can be said at all, in any scene.

    Raises:
        SimError: naming what does not go together.
    """
    if step.verb in ("open", "close"):
        if (step.obj, step.relation, step.target, step.cell) not in ((None,) * 4, (None, None, DRAWER, None)):
            raise SimError(f"{step} was given; open and close take no object, relation or cell: only the drawer opens")
        return step
    if step.verb != "place" or not is_cube(step.obj):
        raise SimError(f"{step} was given; a place step moves a cube: {', '.join(CUBES)}")
    if step.relation == "at":
        if step.cell is None or step.target is not None:
            raise SimError(f"{step} was given; 'at' takes a cell and no target")
        cell_words(step.cell)
        return step
    if step.relation not in _WORDS:
        raise SimError(f"relation {step.relation!r} was given; allowed: {', '.join([*_WORDS, 'at'])}")
    kinds = {"in": ("in",), "on": ("on", "stack")}.get(step.relation, ("direction",))
    allowed = [name for kind in kinds for name in _NAMES[kind] if name != step.obj]
    if step.target not in allowed or step.cell is not None:
        raise SimError(f"{step} was given; {step.relation!r} takes one of: {', '.join(allowed)}")
    return step


def _sentence(step: Step, places: Mapping[str, Cell]) -> str:
    def the(name: str | None) -> str:
        assert name is not None
        return f"the {name} at {cell_words(places[name])}" if name in places else f"the {name}"

    check_step(step)
    if step.verb != "place":
        return f"{step.verb} {the(DRAWER)}"
    if step.relation == "at" and step.cell is not None:
        return f"put {the(step.obj)} at {cell_words(step.cell)}"
    verb = "stack" if is_cube(step.target) and step.relation == "on" else "put"
    assert step.relation is not None
    return f"{verb} {the(step.obj)} {_WORDS[step.relation]} {the(step.target)}"


def instruction(step: Step) -> str:
    """THE canonical wording of a step, e.g. ``put the red cube in the teal bowl``.

    Raises:
        SimError: the step cannot be said (see ``check_step``).
    """
    return _sentence(step, {})


def grounded(step: Step, state: SceneState) -> str:
    """The canonical wording with the place of each named thing in ``state``'s picture, i.e. before the step.

    The table has no place. ``put the red cube at <x10> <y12> in the teal bowl at <x20> <y18>; keep everything else
    unchanged``.

    Raises:
        SimError: the step names something that is not in the scene.
    """
    check_step(step)
    named = [DRAWER] if step.verb != "place" else [n for n in (step.obj, step.target) if n is not None and n != TABLE]
    missing = [name for name in named if name not in state.names]
    if missing:
        here = ", ".join(state.names)
        raise SimError(f"{instruction(step)!r} was given, but there is no {missing[0]}; here are: {here}")
    return _sentence(step, {name: state.cell(name) for name in named}) + KEEP


def _pattern() -> re.Pattern[str]:
    def noun(names: tuple[str, ...], group: str) -> str:
        return rf"the (?P<{group}>{'|'.join(names)})(?: at (?P<{group}_at>{_PLACE.replace('(', '(?:')}))?"

    cube = noun(CUBES, "obj")
    directions = "|".join(words for relation, words in _WORDS.items() if relation not in ("in", "on"))
    forms = (
        rf"(?P<open>open|close) {noun((DRAWER,), 'drawer')}",
        rf"stack {cube.replace('obj', 'top')} on {noun(CUBES, 'bottom')}",
        rf"put {cube} (?:in {noun(_NAMES['in'], 'holder')}|on {noun(_NAMES['on'], 'flat')}"
        rf"|(?P<direction>{directions}) {noun(_NAMES['direction'], 'reference')}"
        rf"|at (?P<cell>{_PLACE.replace('(', '(?:')}))",
    )
    return re.compile(rf"(?:{'|'.join(forms)})(?P<keep>{KEEP})?\.?")


_PATTERN = _pattern()


def _cell(words: str | None) -> Cell | None:
    match = re.fullmatch(_PLACE, words or "")
    if not match:
        return None
    cell = int(match[1]), int(match[2])
    cell_words(cell)
    return cell


def parse_grounded(text: str) -> tuple[Step, dict[str, Cell]]:
    """Read a canonical sentence, grounded or not: the step, and the places it names (empty where it names none).

    Raises:
        SimError: it is neither; the message shows what is.
    """
    match = _PATTERN.fullmatch(" ".join(text.lower().split()))
    if match is None:
        raise SimError(f"instruction {text!r} was given; allowed: canonical sentences such as {', '.join(EXAMPLES)}")
    found = match.groupdict()
    nouns = ("obj", "top", "bottom", "holder", "flat", "reference", "drawer")
    places = {found[noun]: _cell(found[f"{noun}_at"]) for noun in nouns if found.get(noun)}
    given = {name: cell for name, cell in places.items() if cell is not None}
    if found["open"]:
        return Step("open" if found["open"] == "open" else "close"), given
    if found["top"]:
        step = Step("place", found["top"], "on", found["bottom"])
    elif found["cell"]:
        step = Step("place", found["obj"], "at", cell=_cell(found["cell"]))
    elif found["direction"]:
        relation = next(relation for relation, words in _WORDS.items() if words == found["direction"])
        step = Step("place", found["obj"], relation, found["reference"])
    elif found["holder"]:
        step = Step("place", found["obj"], "in", found["holder"])
    else:
        step = Step("place", found["obj"], "on", found["flat"])
    return check_step(step), given


def parse_instruction(text: str) -> Step:
    """The inverse of ``instruction`` and of ``grounded``; case and spacing do not matter.

    Raises:
        SimError: the text is not canonical, or names what does not go together.
    """
    return parse_grounded(text)[0]


def word_step(step: Step, rng: np.random.Generator, split: Split = "train") -> str:
    """One step in free wording: what a person might have written. ``split`` as in `itk_sim.wording`."""
    check_step(step)
    say = Wording(rng, split)
    if step.verb != "place":
        return say.sentence([say.drawer_clause(step.verb)])
    assert step.obj is not None and step.relation is not None
    if step.relation == "at" and step.cell is not None:
        return say.sentence([say.cell_clause(step.obj, cell_words(step.cell))])
    assert step.target is not None
    return say.sentence([say.place_clause(step.obj, step.relation, step.target)])
