"""Task families of one placement or one slide of the drawer, and what the drawer and covered cubes add to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from itk_sim import away_phrases
from itk_sim.draft import Draft, Draw
from itk_sim.phrases import Phrases
from itk_sim.planning import Intent, covers, in_drawer, in_plan_order
from itk_sim.predicates import holds
from itk_sim.symbols import DIRECTIONS, DRAWER, TABLE, is_cube
from itk_sim.wording import Clause, Wording, place_kind

OPENED: Intent = ("open", DRAWER)
CLOSED: Intent = ("closed", DRAWER)


def say_intent(intent: Intent, say: Wording) -> Clause:
    """One placement or one slide, said plainly."""
    if intent[0] in ("open", "closed"):
        return say.drawer_clause("open" if intent == OPENED else "close")
    relation, obj, target = intent
    return say.place_clause(obj, relation, target)


def single(*intents: Intent) -> Draft:
    """A draft that says its intents one by one."""
    return Draft(intents, lambda say: [say_intent(intent, say) for intent in intents])


def naming(table: Phrases, *slots: str) -> Phrases:
    """The patterns of a table that have one of the slots."""
    return {
        mode: {
            split: tuple(p for p in patterns if any(f"{{{slot}}}" in p for slot in slots))
            for split, patterns in parts.items()
        }
        for mode, parts in table.items()
    }


# --- one placement ---


def put_in(draw: Draw) -> Draft | None:
    obj, bowl = draw.one(draw.open_cubes()), draw.one(draw.state.bowls)
    return single(("in", obj, bowl)) if obj and bowl else None


def put_on(draw: Draw) -> Draft | None:
    obj = draw.one(draw.open_cubes())
    return single(("on", obj, draw.state.mat)) if obj and draw.state.mat else None


def stack(draw: Draw) -> Draft | None:
    obj = draw.one(draw.open_cubes())
    target = draw.one([cube for cube in draw.bases(obj) if not draw.covered(cube)]) if obj else None
    return single(("on", obj, target)) if obj and target else None


def beside(relation: str, draw: Draw) -> Draft | None:
    obj = draw.one(draw.open_cubes())
    target = draw.one(draw.references(obj)) if obj else None
    return single((relation, obj, target)) if obj and target else None


def put_in_drawer(draw: Draw) -> Draft | None:
    """Open, put, close; or as the sentence says."""
    obj = draw.one([cube for cube in draw.open_cubes() if not in_drawer(cube, draw.state)])
    if draw.state.drawer is None or obj is None:
        return None
    inside: Intent = ("in", obj, DRAWER)
    if draw.chance(0.55):
        return single(inside)
    said = draw.one(["open put close", "open put close", "open put", "put close"])
    assert said is not None
    words = {"open": OPENED, "put": inside, "close": CLOSED}
    return Draft(
        tuple(words[word] for word in said.split()),
        lambda say: [say.clause(away_phrases.IN_DRAWER[said], **say.place_slots(obj, "in", DRAWER))],
        new=(inside,),
    )


# --- taking away ---


def off_clause(obj: str | None, src: str, say: Wording) -> Clause:
    """Take a cube (None: every cube) off or out of what it is on or in, to the table."""
    kind = place_kind("in" if src == DRAWER or src.endswith("bowl") else "on", src)
    off, still = away_phrases.OFF_WORDS[kind]
    table = away_phrases.OFF_CUBE if kind == "stack" and say.chance(0.15) else away_phrases.OFF
    return say.clause(
        table if obj else away_phrases.EMPTY,
        obj=say.noun(obj) if obj else "",
        src=say.noun(src),
        remove=say.remove,
        off=lambda: say.expand(off),
        still=lambda: say.expand(still),
        back=lambda: say.where("on", TABLE),
    )


def unstack(draw: Draw) -> Draft | None:
    """Back on the table: one cube by name, or whatever is on a cube, in a bowl or on the mat."""
    state = draw.state
    held = [cube for cube in draw.seen if state.support[cube] != TABLE and not in_drawer(cube, state)]
    obj = draw.one(held)
    if obj is None:
        return None
    src = state.support[obj]
    if draw.chance(0.8):
        if draw.chance(0.15):
            return single(("on", obj, TABLE))
        return Draft((("on", obj, TABLE),), lambda say: [off_clause(obj, src, say)])
    if is_cube(src):
        above = covers(src, state)
        intents = tuple(("on", cube, TABLE) for cube in above)
        return Draft(intents, lambda say: [say.clause(away_phrases.UNCOVER, src=say.noun(src))])
    relation = "on" if src == state.mat else "in"
    inside = in_plan_order([cube for cube in state.cubes if holds((relation, cube, src), state)], state)
    return Draft(tuple(("on", cube, TABLE) for cube in inside), lambda say: [off_clause(None, src, say)])


def take_out_of_drawer(draw: Draw) -> Draft | None:
    """From the drawer, seen or (where it is closed) only said to be in there, to the table, a bowl or the mat."""
    state = draw.state
    obj = draw.one([cube for cube in state.cubes if state.support[cube] == DRAWER and not draw.covered(cube)])
    if obj is None:
        return None
    mat = [("on", state.mat)] if state.mat else []
    options = [("on", TABLE), ("on", TABLE), *(("in", bowl) for bowl in state.bowls), *mat]
    relation, target = options[int(draw.rng.integers(len(options)))]
    table = away_phrases.TAKE_OUT if target == TABLE else naming(away_phrases.TAKE_OUT, "where", "at")
    explicit = draw.chance(0.15)

    def words(say: Wording) -> Sequence[Clause]:
        if explicit:
            say.mode = "do"
        slots = say.place_slots(obj, relation, target)
        out = say.clause(table, src=say.noun(DRAWER), remove=say.remove, **slots)
        return [say.drawer_clause("open"), out, say.drawer_clause("close")] if explicit else [out]

    intents = ((relation, obj, target),)
    return Draft((OPENED, *intents, CLOSED) if explicit else intents, words, new=intents)


def covered(draw: Draw) -> Draft | None:
    """Something must be freed first: what is to move, or the cube it is to be stacked on."""
    lower = [cube for cube in draw.seen if draw.covered(cube) and cube not in draw.used]
    below = draw.one(lower)
    if below is None:
        return None
    state = draw.state
    targets: list[Intent] = [("in", below, bowl) for bowl in state.bowls]
    targets += [("on", below, state.mat)] if state.mat else []
    targets += [("on", below, cube) for cube in draw.bases(below) if cube not in covers(below, state)][:2]
    targets += [(relation, below, thing) for relation in DIRECTIONS for thing in draw.references(below)[:1]]
    targets += [("on", below, TABLE)] if is_cube(state.support[below]) else []
    if draw.level(below) < 3:
        targets += [("on", cube, below) for cube in draw.open_cubes() if cube not in covers(below, state)][:3]
    if not targets:
        return None
    intent = targets[int(draw.rng.integers(len(targets)))]

    def words(say: Wording) -> list[Clause]:
        clause = say_intent(intent, say)
        if clause.mode == "say" or not say.chance(0.12):
            return [clause]
        pattern = say.pick(away_phrases.FREE_FIRST)
        return [Clause(say.expand(pattern, do=clause.text, covered=f"the {below}"))]

    return Draft((intent,), words)


# --- the drawer alone ---


def open_drawer(draw: Draw) -> Draft | None:
    return single(OPENED) if draw.state.drawer == "closed" else None


def close_drawer(draw: Draw) -> Draft | None:
    return single(CLOSED) if draw.state.drawer == "open" else None


SINGLE: dict[str, Callable[[Draw], Draft | None]] = {
    "put_in": put_in,
    "put_on": put_on,
    "stack": stack,
    "unstack": unstack,
    **{relation: partial(beside, relation) for relation in DIRECTIONS},
    "open_drawer": open_drawer,
    "close_drawer": close_drawer,
    "put_in_drawer": put_in_drawer,
    "take_out_of_drawer": take_out_of_drawer,
    "covered": covered,
}
