"""What the critic learns from: right pairs, corrupted ones, and right pairs under a wrong instruction.

The thought before the verdict says what the picture shows of what was asked: where the thing was and is, where the
target is, what else changed, and where the picture is damaged. The verdict then follows from the thought.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itk_embodied.training.corruptions import Corrupted, corrupt
from itk_embodied.training.critic_doubt import doubtful
from itk_embodied.training.shards import Record
from itk_embodied.training.vlm_batch import Example, Question
from itk_embodied.training.vlm_text import NAMES, entry, listed, place, support_words
from itk_sim.language import grounded, instruction
from itk_sim.predicates import holds
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, GRID, TABLE, SceneState, Step

Pixel = tuple[float, float]
DOUBT_SHARE = 0.35


def cell_of(pixel: Pixel, side: int) -> str:
    column, row = (min(max(int(value / side * GRID), 0), GRID - 1) for value in pixel)
    return f"<x{column:02d}><y{row:02d}>"


def thought(record: Record, asked: Step, spoilt: Corrupted | None) -> str:
    """What a pair shows, seen with the question in mind."""
    before, after = record.before_state, record.after_state
    side = record.before.shape[0]
    unchanged = spoilt is not None and spoilt.kind == "no change"
    truth_after = before if unchanged else after
    parts = []
    if asked.verb == "place":
        parts.append(_journey(str(asked.obj), before, truth_after, spoilt, side))
        if asked.target not in (None, TABLE):
            parts.append(f"{asked.target}{_now(str(asked.target), truth_after, spoilt, side)}")
    else:
        parts.append(f"drawer {before.drawer} to {truth_after.drawer}" if before.drawer else "drawer none")
    others = _others(record, asked, spoilt, unchanged)
    parts.append("else " + (others or "same"))
    damaged = spoilt is not None and spoilt.damage is not None and spoilt.damage.any()
    if damaged and spoilt is not None and spoilt.damage is not None:
        rows, columns = np.nonzero(spoilt.damage)
        parts.append("damage" + cell_of((float(columns.mean()), float(rows.mean())), side))
    else:
        parts.append("clean")
    return ";".join(parts)


def _now(name: str, after: SceneState, spoilt: Corrupted | None, side: int) -> str:
    if spoilt is not None and name in spoilt.moved:
        pixel = spoilt.moved[name]
        return " gone" if pixel is None else cell_of(pixel, side)
    return place(after, name) if listed(after, name) else " none"


def _journey(name: str, before: SceneState, after: SceneState, spoilt: Corrupted | None, side: int) -> str:
    start = place(before, name) if listed(before, name) else " none"
    end = _now(name, after, spoilt, side)
    told = f"{name}{start} to{end}"
    pasted = spoilt is not None and spoilt.moved.get(name) is not None
    if name in CUBES and end.startswith("<"):
        told += "on table" if pasted else support_words(after, name)
    if spoilt is not None and spoilt.doubled is not None:
        told += " also" + cell_of(spoilt.doubled, side)
    return told


def _others(record: Record, asked: Step, spoilt: Corrupted | None, unchanged: bool) -> str:
    """Which other thing changed; the first one, in the fixed order."""
    mine = DRAWER if asked.verb != "place" else asked.obj
    changed = set() if unchanged else {DRAWER if record.step.verb != "place" else str(record.step.obj)}
    if spoilt is not None:
        changed |= set(spoilt.moved)
    return next((name for name in NAMES if name in changed and name != mine), "")


def wrong_step(record: Record, rng: np.random.Generator) -> Step | None:
    """An instruction that the pair does not show: another thing, target or relation."""
    state, after, step = record.before_state, record.after_state, record.step
    cubes = list(state.cubes)
    for _ in range(12):
        draw = rng.random()
        if step.verb != "place":
            other = Step("close" if step.verb == "open" else "open")
            candidate = other if draw < 0.4 else _any_step(state, rng)
        elif draw < 0.35:
            candidate = replace(step, obj=str(rng.choice(cubes)))
        elif draw < 0.6 and step.relation in DIRECTIONS:
            candidate = replace(step, relation=str(rng.choice([d for d in DIRECTIONS if d != step.relation])))  # type: ignore[arg-type]
        elif draw < 0.8:
            other = _any_step(state, rng)
            candidate = replace(other, obj=step.obj) if other.verb == "place" else other
        else:
            candidate = _any_step(state, rng)
        if candidate == step or (candidate.verb == "place" and candidate.obj == candidate.target):
            continue
        if _surely_false(candidate, record, after):
            return candidate
    return None


def _any_step(state: SceneState, rng: np.random.Generator) -> Step:
    """Any step with names of the scene, and now and then one that is not in it."""
    cubes = list(state.cubes if rng.random() < 0.9 else CUBES)
    obj = str(rng.choice(cubes))
    targets: list[tuple[str, str]] = [("in", b) for b in (state.bowls or BOWLS)] + [("on", c) for c in state.cubes]
    targets += [(d, t) for d in DIRECTIONS for t in (*state.cubes, *state.bowls)][:: max(1, int(rng.integers(1, 5)))]
    if state.mat:
        targets += [("on", state.mat)] * 2
    if state.drawer:
        targets += [("in", DRAWER)] * 2
    targets += [("on", TABLE)]
    relation, target = targets[int(rng.integers(len(targets)))]
    if rng.random() < 0.06 and state.drawer:
        return Step("open" if rng.random() < 0.5 else "close")
    return Step("place", obj, relation, target)  # type: ignore[arg-type]


def _surely_false(asked: Step, record: Record, after: SceneState) -> bool:
    """The pair shows something else, beyond doubt: another thing moved, or the asked relation does not hold."""
    if asked.verb != "place":
        return asked.verb != record.step.verb
    if record.step.verb != "place" or asked.obj != record.step.obj:
        return True
    if asked.relation == "at":
        return False
    if asked.target == TABLE:
        return after.support.get(str(asked.obj)) != TABLE
    known = asked.target in after.names or asked.target == DRAWER
    if not known:
        return True
    return not _roughly_holds(asked, after)


def _roughly_holds(asked: Step, after: SceneState) -> bool:
    if asked.relation in DIRECTIONS:
        (ax, ay, _), (bx, by, _) = after.position_m[str(asked.obj)], after.position_m[str(asked.target)]
        along = {"left_of": by - ay, "right_of": ay - by, "in_front_of": ax - bx, "behind": bx - ax}[
            str(asked.relation)
        ]
        return along > -0.01
    return holds((str(asked.relation), str(asked.obj), str(asked.target)), after)


def ask(
    record: Record,
    step: Step,
    good: bool,
    spoilt: Corrupted | None,
    rng: np.random.Generator,
    kind: str,
    *,
    refine_share: float = 0.3,
    doubt_share: float = DOUBT_SHARE,
    sure: bool = True,
) -> Question:
    """A question to the critic and its answer, often cut behind the verdict: the rewritten prompt is soon learnt.

    The thought is learnt where it is true: not in the ``doubt_share`` of questions where it is spoilt on purpose, and
    not where it is only a guess (``sure`` is False).
    """
    text = instruction(step)
    fixed = grounded_or_plain(step, record.before_state)
    prompt = text if rng.random() < 0.6 else fixed
    refine = prompt if good else fixed
    thinks = thought(record, step, spoilt)
    doubted = rng.random() < doubt_share
    if doubted:
        thinks = doubtful(thinks, rng)
    verdict = "true" if good else "false"
    answer = f'<think>{thinks}</think><answer>{{"previous_step_success":'
    thought_learnt = sure and not doubted
    rest = f',"refine_prompt":"{refine}"}}</answer>'
    if rng.random() >= refine_share:
        return Question(f"{text} | {prompt}", ((answer, thought_learnt), (verdict, True), (",", False)), kind, good)
    return Question(f"{text} | {prompt}", ((answer, thought_learnt), (verdict, True), (rest, True)), kind, good)


def grounded_or_plain(step: Step, state: SceneState) -> str:
    """The rewritten prompt: with places where everything named is there, else the plain sentence."""
    named = [name for name in (step.obj, step.target) if name not in (None, TABLE)]
    if step.verb != "place":
        named = [DRAWER]
    return grounded(step, state) if all(name in state.pixel for name in named) else instruction(step)


def critic_example(
    record: Record, rng: np.random.Generator, *, good_share: float = 0.6, listing_share: float = 0.1, wrong: int = 2
) -> Example:
    """One pair with one to five questions."""
    spoilt = None if rng.random() < good_share else corrupt(record, rng)
    questions = []
    right = spoilt is None
    questions.append(ask(record, record.step, right, spoilt, rng, "right" if spoilt is None else spoilt.kind))
    for _ in range(wrong if spoilt is None else 1):
        step = wrong_step(record, rng)
        # A spoilt picture under a wrong instruction is wrong twice; it teaches little, so it is asked less often.
        if step is not None and (spoilt is None or rng.random() < 0.3):
            questions.append(ask(record, step, False, spoilt, rng, "wrong instruction"))
    places = visible_places(record, spoilt)
    if rng.random() < listing_share and (spoilt is None or spoilt.kind == "no change"):
        questions += listing_questions(record, rng, no_change=spoilt is not None)
    first, second = shade(rng, record.before, record.after if spoilt is None else spoilt.image)
    damage = np.zeros(record.before.shape[:2], bool) if spoilt is None or spoilt.damage is None else spoilt.damage
    return Example(first, second, tuple(questions), places, damage)


def listing_questions(record: Record, rng: np.random.Generator, no_change: bool = False) -> list[Question]:
    """Where is everything, before and after, in random order; the names are given, the rest is to be seen."""
    states = record.before_state, record.before_state if no_change else record.after_state
    return [
        listing_question(slot, state, rng) for slot, state in zip(("list before", "list after"), states, strict=True)
    ]


def listing_question(text: str, state: SceneState, rng: np.random.Generator) -> Question:
    parts: list[tuple[str, bool]] = []
    for name in rng.permutation(NAMES):
        if not listed(state, str(name)) and rng.random() < 0.6:
            continue
        told = entry(state, str(name))
        parts += [(f";{name}", False), (told.removeprefix(str(name)), True)]
    return Question(text, tuple(parts), "listing")


def look_example(record: Record, rng: np.random.Generator) -> Example:
    """Learning to see: everything's place before and after, and one question. Now and then one picture alone."""
    side = record.before.shape[0]
    if rng.random() < 0.3:
        state, image = (
            (record.before_state, record.before) if rng.random() < 0.5 else (record.after_state, record.after)
        )
        (alone,) = shade(rng, image)
        places = {n: (state.pixel[n][0] * side, state.pixel[n][1] * side) if listed(state, n) else None for n in NAMES}
        return Example(alone, alone, (listing_question("list", state, rng),), (places, places))
    example = critic_example(record, rng, listing_share=0.0, wrong=1)
    return replace(
        example, questions=example.questions[:1] + tuple(listing_questions(record, rng)[: 2 if _clear(example) else 1])
    )


def _clear(example: Example) -> bool:
    """The second picture shows what the simulator's state says."""
    return example.questions[0].kind == "right"


def visible_places(record: Record, spoilt: Corrupted | None) -> tuple[dict[str, Pixel | None], ...]:
    """Targets of the dense head, px before and after. Damaged things have no clear place and are left out."""
    side = record.before.shape[0]
    unchanged = spoilt is not None and spoilt.kind == "no change"
    both: list[dict[str, Pixel | None]] = []
    for state in (record.before_state, record.before_state if unchanged else record.after_state):
        both.append(
            {n: (state.pixel[n][0] * side, state.pixel[n][1] * side) if listed(state, n) else None for n in NAMES}
        )
    if spoilt is not None:
        both[1].update(spoilt.moved)
        if spoilt.damage is not None or spoilt.doubled is not None:
            both[1].pop(str(record.step.obj), None)
    return tuple(both)


def shade(rng: np.random.Generator, *images: np.ndarray) -> list[np.ndarray]:
    """The same change of light for all pictures."""
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    return [np.clip(image * gain, 0, 255).astype(np.uint8) for image in images]
