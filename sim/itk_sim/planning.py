"""What a perfect planner would do: symbolic effects of steps, and the plan for an ordered list of intents.

An intent is a predicate that is to be made true (``("in", "red cube", "teal bowl")``, ``("open", "drawer")``) or
``("swap", a, b)``. They are met in the order given, with these rules:

- What holds already is left alone.
- A covered cube is freed first: what is on it goes on the table, topmost first. So is a covered cube that another is
  to be stacked on; as the reference of a direction it may stay covered.
- A closed drawer is opened before something goes in or comes out, and closed again after the last of consecutive
  intents that need it: leave it as found. An ``open`` intent asks for it to stay open: only a ``closed`` one ends that.
- A swap takes three steps once both are free: a goes on the table, b where a was, a where b was. Where it was is the
  thing it was in or on, or else its cell ("at"). If one lies on the other, the lower one ends on top of the upper one.
- Every cube and clearing go cube by cube in the order of ``CUBES``, what is on top of a cube before it. So does
  sorting, group by group as they are said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from itk_sim.errors import SimError
from itk_sim.language import check_step, instruction
from itk_sim.measures import DRAWER_OPEN_M
from itk_sim.nominal import pixel_of, spot_at
from itk_sim.placing import place_pose
from itk_sim.predicates import check_predicate, holds
from itk_sim.symbols import CUBES, DRAWER, TABLE, Predicate, Relation, SceneState, Step, is_cube

Intent: TypeAlias = tuple[str, ...]
OPEN, CLOSE = Step("open"), Step("close")


def in_drawer(name: str, state: SceneState) -> bool:
    """Whether a cube is in the drawer, or on a cube that is."""
    holder = state.support.get(name)
    return holder == DRAWER or (holder in state.cubes and in_drawer(holder or "", state))


def hidden(name: str, state: SceneState) -> bool:
    """Whether a cube is shut in the drawer, where no camera sees it."""
    return state.drawer == "closed" and in_drawer(name, state)


def covers(name: str, state: SceneState) -> tuple[str, ...]:
    """The cubes on top of a cube, topmost first."""
    above: list[str] = []
    top = state.on_top_of(name)
    while top is not None:
        above.insert(0, top)
        top = state.on_top_of(top)
    return tuple(above)


def in_plan_order(cubes: Iterable[str], state: SceneState, order: Sequence[str] = CUBES) -> tuple[str, ...]:
    """The ``order`` in which a set of cubes is dealt with, but what is on top of a cube goes before it."""
    wanted, ordered = set(cubes), dict[str, None]()
    for cube in order:
        if cube in wanted:
            ordered.update(dict.fromkeys(name for name in (*covers(cube, state), cube) if name in wanted))
    return tuple(ordered)


# --- effects of a step ---


def _check_possible(step: Step, state: SceneState) -> None:
    def fail(why: str) -> SimError:
        return SimError(f"{instruction(step)!r} cannot be done: {why}")

    check_step(step)
    if step.verb != "place":
        if state.drawer is None:
            raise fail("there is no drawer")
        return
    for name in (step.obj, step.target):
        if name is not None and name != TABLE and name not in state.names:
            raise fail(f"there is no {name}; here are: {', '.join(state.names)}")
        if name in state.cubes and hidden(name or "", state):
            raise fail(f"the {name} is in the closed drawer; open it first")
    above = state.on_top_of(step.obj or "")
    if above is not None:
        raise fail(f"the {above} is on the {step.obj}; move it first")
    if step.target == DRAWER and state.drawer == "closed":
        raise fail("the drawer is closed; open it first")
    if step.relation == "on" and is_cube(step.target):
        above = state.on_top_of(step.target or "")
        if above not in (None, step.obj):
            raise fail(f"the {above} is on the {step.target}; move it first")


def _slide(state: SceneState, to: str) -> SceneState:
    if state.drawer == to:
        return state
    dy = -DRAWER_OPEN_M if to == "open" else DRAWER_OPEN_M
    riders = [cube for cube in state.cubes if in_drawer(cube, state)]
    position = dict(state.position_m)
    for name in (DRAWER, *riders):
        x, y, z = position[name]
        position[name] = (x, y + dy, z)
    pixel = {**state.pixel, **{name: pixel_of(position[name], state) for name in (DRAWER, *riders)}}
    visible = {**state.visible, **dict.fromkeys(riders, 1.0 if to == "open" else 0.0)}
    return replace(
        state, drawer="open" if to == "open" else "closed", position_m=position, pixel=pixel, visible=visible
    )


def apply(step: Step, state: SceneState) -> SceneState:
    """The scene after a step that goes well: supports exactly, positions about as the simulator would leave them.

    Opening an open drawer (or closing a closed one) changes nothing. ``visible`` is not worked out anew, but for what
    the drawer hides.

    Raises:
        SimError: a precondition fails (covered cube, closed drawer, absent thing, no room); the message says which.
    """
    _check_possible(step, state)
    if step.verb != "place":
        return _slide(state, "open" if step.verb == "open" else "closed")
    assert step.obj is not None
    cell_xy = None if step.cell is None else np.array(spot_at(step.cell, state))
    pose = place_pose(state, step, DRAWER_OPEN_M if state.drawer == "open" else 0.0, cell_xy)
    if pose is None:
        raise SimError(f"{instruction(step)!r} cannot be done: there is no room")
    position = {**state.position_m, step.obj: (pose.x_m, pose.y_m, pose.z_m)}
    placed = replace(state, position_m=position, visible={**state.visible, step.obj: 1.0})
    support = {**state.support, step.obj: step.target if step.relation in ("in", "on") and step.target else TABLE}
    if support[step.obj] == TABLE and state.mat and holds(("on", step.obj, state.mat), placed):
        support[step.obj] = state.mat
    pixel = {**state.pixel, step.obj: pixel_of(position[step.obj], state)}
    return replace(placed, support=support, pixel=pixel)


def plan_achieves(steps: Iterable[Step], state: SceneState, goal: Iterable[Predicate]) -> bool:
    """Whether every step can be done in turn and all of the goal holds at the end, symbolically."""
    try:
        for step in steps:
            state = apply(step, state)
    except SimError:
        return False
    return all(holds(predicate, state) for predicate in goal)


# --- plans ---


class _Plan:
    """Steps so far and the scene they lead to."""

    def __init__(self, state: SceneState) -> None:
        self.state = state
        self.steps: list[Step] = []
        self.opened = False
        """Whether the drawer is open only because a later step needs it so."""

    def do(self, step: Step) -> None:
        self.state = apply(step, self.state)
        self.steps.append(step)

    def free(self, name: str) -> None:
        for above in covers(name, self.state):
            self.do(Step("place", above, "on", TABLE))

    def close_again(self) -> None:
        if self.opened:
            self.do(CLOSE)
            self.opened = False

    def needs_drawer(self, intent: Intent) -> bool:
        if intent[0] in ("open", "closed"):
            return False
        return any(name == DRAWER or in_drawer(name, self.state) for name in intent[1:])

    def meet(self, intent: Intent) -> None:
        if intent[0] in ("open", "closed"):
            self.opened = False
            if not holds(intent, self.state):
                self.do(OPEN if intent[0] == "open" else CLOSE)
            return
        if intent[0] != "swap" and holds(intent, self.state):
            return
        if not self.needs_drawer(intent):
            self.close_again()
        elif self.state.drawer == "closed":
            self.do(OPEN)
            self.opened = True
        if intent[0] == "swap":
            self.swap(*intent[1:])
        else:
            self.place(*intent)

    def place(self, relation: str, cube: str, target: str) -> None:
        self.free(cube)
        if relation == "on" and is_cube(target) and self.state.on_top_of(target) != cube:
            self.free(target)
        self.do(_place(relation, cube, target))

    def swap(self, a: str, b: str) -> None:
        upper = b if b in covers(a, self.state) else a if a in covers(b, self.state) else None
        self.free(a)
        self.free(b)
        if upper is not None:
            self.do(_place("on", b if upper == a else a, upper))
            return
        place_of_a, place_of_b = _whereabouts(a, self.state), _whereabouts(b, self.state)
        self.do(Step("place", a, "on", TABLE))
        self.do(replace(place_of_a, obj=b))
        self.do(replace(place_of_b, obj=a))


def _place(relation: str, cube: str, target: str) -> Step:
    known: Relation = relation  # type: ignore[assignment]  # check_predicate has seen it
    return Step("place", cube, known, target)


def _whereabouts(cube: str, state: SceneState) -> Step:
    """The step that would put the cube back where it is."""
    holder = state.support[cube]
    if holder == TABLE:
        return Step("place", cube, "at", cell=state.cell(cube))
    return _place("in" if holder == DRAWER or holder.endswith("bowl") else "on", cube, holder)


def check_intent(intent: Intent) -> Intent:
    """The intent itself if it is a well-formed predicate or swap.

    Raises:
        SimError: it is neither.
    """
    if intent and intent[0] == "swap":
        if len(intent) != 3 or not all(is_cube(name) for name in intent[1:]) or intent[1] == intent[2]:
            raise SimError(f"intent {list(intent)} was given; allowed: ['swap', a cube, another cube]")
        return intent
    return check_predicate(intent)


def oracle_plan(intents: Sequence[Intent], state: SceneState) -> tuple[Step, ...]:
    """The plan for intents (or the predicates of a goal) met in that order, by the rules at the top of this module.

    Raises:
        SimError: it cannot be done in this scene; the message says why.
    """
    return oracle_outcome(intents, state)[0]


def oracle_outcome(intents: Sequence[Intent], state: SceneState) -> tuple[tuple[Step, ...], SceneState]:
    """``oracle_plan`` and the scene it leads to."""
    plan = _Plan(state)
    for intent in intents:
        plan.meet(check_intent(intent))
    plan.close_again()
    return tuple(plan.steps), plan.state
