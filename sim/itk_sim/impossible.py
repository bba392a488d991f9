"""Requests that cannot be done here, and the one sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from itk_sim import strangers
from itk_sim.draft import Draw
from itk_sim.families import SINGLE
from itk_sim.lexicon import Patterns, Split
from itk_sim.planning import Intent
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS, Relation
from itk_sim.wording import Clause, Wording

UNKNOWN = "I do not see that here; I know cubes, bowls, the mat and the drawer."
NO_DRAWER = "There is no drawer here."
CUBE_IN_CUBE = "A cube does not fit in a cube."
ON_ITSELF = "A cube cannot be put on itself."
CUBES_ONLY = "I can only move cubes, and open or close the drawer."
NO_TASK = "That is not a task for this table."


def absent(name: str) -> str:
    """Why a request about a thing of a known kind that is not there is refused."""
    return NO_DRAWER if name == DRAWER else f"There is no {name} on the table."


@dataclass(frozen=True)
class Refusal:
    """A request that cannot be done: why, how it is said, what it asks for as far as an intent can say it, and which
    (cube, relation, target) it names."""

    why: str
    say: Callable[[Wording], list[Clause]]
    intents: tuple[Intent, ...] = ()
    named: tuple[tuple[str, str, str], ...] = ()


def _place(obj: str, relation: str, target: str, why: str) -> Refusal:
    return Refusal(
        why,
        lambda say: [say.place_clause(obj, relation, target)],
        ((relation, obj, target),),
        ((obj, relation, target),),
    )


def _holders(draw: Draw) -> list[tuple[str, str]]:
    state = draw.state
    mat = [("on", state.mat)] if state.mat else []
    drawer = [("in", DRAWER)] if state.drawer else []
    return [*(("in", bowl) for bowl in state.bowls), *mat, *drawer, ("on", "table")]


def _absent_cube(draw: Draw) -> Refusal | None:
    missing = draw.one(
        [*(cube for cube in CUBES if cube not in draw.state.cubes), "white cube", "pink cube", "teal cube"]
    )
    here, relation = draw.one(draw.open_cubes()), draw.one(DIRECTIONS)
    assert missing is not None and relation is not None
    why = absent(missing)
    if here and draw.chance(0.35):
        return _place(here, "on" if draw.chance(0.6) else relation, missing, why)
    if here and draw.chance(0.4):
        return _place(missing, "on" if draw.chance(0.6) else relation, here, why)
    holders = _holders(draw)
    return _place(missing, *holders[int(draw.rng.integers(len(holders)))], why)


def _absent_target(draw: Draw) -> Refusal | None:
    state = draw.state
    bowls = [bowl for bowl in BOWLS if bowl not in state.bowls]
    bowls += ["red bowl", "green bowl", "blue bowl", "yellow bowl"] if draw.chance(0.3) else []
    mats = [mat for mat in MATS if mat != state.mat]
    missing, obj = draw.one([*bowls, *mats]), draw.one(draw.open_cubes())
    if missing is None or obj is None:
        return None
    relation: str = draw.one(DIRECTIONS) or "" if draw.chance(0.2) else "in" if missing.endswith("bowl") else "on"
    return _place(obj, relation, missing, absent(missing))


def _absent_drawer(draw: Draw) -> Refusal | None:
    obj = draw.one(draw.open_cubes())
    if draw.state.drawer is not None:
        return None
    if obj is None or draw.chance(0.5):
        verb = "open" if draw.chance(0.6) else "close"
        asked: Intent = ("open" if verb == "open" else "closed", DRAWER)
        return Refusal(NO_DRAWER, lambda say: [say.drawer_clause(verb)], (asked,))
    return _place(obj, "in", DRAWER, NO_DRAWER)


def _stranger(draw: Draw, say: Wording) -> str:
    colour = say.one(strangers.COLOURS) + " " if draw.chance(0.25) else ""
    return colour + say.word(strangers.THINGS)


def _unknown(draw: Draw) -> Refusal | None:
    """A banana, a sink, a black cube."""
    obj = draw.one(draw.open_cubes())
    how = draw.rng.random()
    holders = _holders(draw)
    relation, target = holders[int(draw.rng.integers(len(holders)))]
    aside: str = draw.one(DIRECTIONS) or ""

    def words(say: Wording) -> list[Clause]:
        say.novel |= say.split == "wording"
        inside = draw.chance(0.5)
        place = say.word(strangers.PLACES_IN if inside else strangers.PLACES_ON)
        where: Relation = "in" if inside else "on"
        if how < 0.3 or obj is None:
            return [say.place_clause(_stranger(draw, say), relation, target)]
        if how < 0.55:
            return [say.place_clause(obj, where, place)]
        if how < 0.75:
            return [say.place_clause(_stranger(draw, say), where, place)]
        if how < 0.85:
            return [say.place_clause(obj, aside, _stranger(draw, say))]
        say.novel = False
        odd = say.one(strangers.NO_SUCH_COLOURS)
        if how < 0.95:
            return [say.place_clause(f"{odd} cube", relation, target)]
        return [say.place_clause(obj, "in", f"{odd} bowl")]

    return Refusal(UNKNOWN, words)


def _cube_in_cube(draw: Draw) -> Refusal | None:
    cubes = draw.seen
    if len(cubes) < 2:
        return None
    if draw.chance(0.2):
        return replace(_place(cubes[0], "on", cubes[0], ON_ITSELF), say=lambda say: [_itself(cubes[0], say)])
    one, other = cubes[:2]

    def words(say: Wording) -> list[Clause]:
        # "in" of a bowl, but only its plain words: "on top of" would be a stack.
        verb = say.one(("put", "put", "place", "insert", "drop", "move", "push", "stick", "fit"))
        where = say.one(("in", "into", "inside", "inside of", "in"))
        return [Clause(f"{verb} {say.noun(one)} {where} {say.noun(other)}")]

    return Refusal(CUBE_IN_CUBE, words, (("in", one, other),))


def _itself(cube: str, say: Wording) -> Clause:
    if say.split == "wide" and say.chance(0.5):
        return _clause(say.one(strangers.ITSELF[say.split]), say, obj=say.noun(cube), again=say.noun(cube))
    return say.place_clause(cube, "on", cube)


def _clause(pattern: str, say: Wording, **slots: str | Callable[[], str]) -> Clause:
    """A leading ``~`` makes it a statement."""
    return Clause(say.expand(pattern.lstrip("~"), **slots), "say" if pattern.startswith("~") else "do")


def _not_a_cube(draw: Draw) -> Refusal | None:
    """Bowls and the mat stay where they are; nothing is washed, cut or thrown."""
    state = draw.state
    fixed = draw.shuffled([*state.bowls, *((state.mat,) if state.mat else ())])
    obj = draw.one(draw.open_cubes())
    if fixed and obj and draw.chance(0.5):
        others = [("on", obj), *((where, thing) for where, thing in _holders(draw) if thing != fixed[0])]
        relation, target = others[int(draw.rng.integers(len(others)))]
        return _place(fixed[0], relation, target, CUBES_ONLY)
    if obj is None:
        return None
    holder = fixed[0] if fixed else obj
    any_thing = holder if draw.chance(0.5) else obj
    return Refusal(CUBES_ONLY, lambda say: [_deed(strangers.DEEDS, obj, holder, any_thing, say)])


def _deed(table: Mapping[Split, Patterns], obj: str, holder: str, any_thing: str, say: Wording) -> Clause:
    pattern = say.pick(table, 1.0)
    names = {"obj": obj, "holder": holder, "any": any_thing}
    slots: dict[str, str | Callable[[], str]] = {slot: say.noun(name) for slot, name in names.items()}
    slots["gibberish"] = lambda: "".join(say.one(strangers.SYLLABLES) for _ in range(int(say.rng.integers(1, 4))))
    return _clause(f"~{pattern}" if table is strangers.NONSENSE else pattern, say, **slots)


def _nonsense(draw: Draw) -> Refusal | None:
    thing = draw.one([*draw.state.bowls, *draw.state.cubes]) or "red cube"
    return Refusal(NO_TASK, lambda say: [_deed(strangers.NONSENSE, thing, thing, thing, say)])


_KINDS = (
    _absent_cube,
    _absent_cube,
    _absent_target,
    _absent_drawer,
    _unknown,
    _unknown,
    _cube_in_cube,
    _not_a_cube,
    _nonsense,
)


def refusal(draw: Draw) -> Refusal:
    """A random request that cannot be done; now and then one part of it could."""
    made = None
    while made is None:
        made = _KINDS[int(draw.rng.integers(len(_KINDS)))](draw)
    possible = SINGLE[draw.one(("put_in", "put_on", "stack")) or ""](draw)
    if possible is None or made.why == NO_TASK or not draw.chance(0.12):
        return made
    first, then = (made, possible) if draw.chance(0.4) else (possible, made)
    named = tuple((intent[1], intent[0], intent[2]) for intent in possible.intents if len(intent) == 3)
    asked = (*first.intents, *then.intents) if made.intents else ()
    return Refusal(made.why, lambda say: [*first.say(say), *then.say(say)], asked, (*made.named, *named))
