"""Did a whole plan come true in physics? Judged from the settled scene before the first step and after the last."""

from __future__ import annotations

from collections.abc import Sequence

from itk_sim.judging import DISTURBED_M, step_holds
from itk_sim.predicates import disturbed
from itk_sim.symbols import DRAWER, SceneState, Step


def lasting(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps whose effect no later step undoes: the last one of every cube, and the last of the drawer.

    A direction ("left of") is a matter of two things, so it lasts only while its reference stays where it is.
    """
    kept = []
    for number, step in enumerate(steps):
        mine = {step.obj or DRAWER, step.target}
        moved_later = {later.obj or DRAWER for later in steps[number + 1 :]}
        own = step.obj or DRAWER
        directional = step.relation in ("left_of", "right_of", "in_front_of", "behind")
        if own not in moved_later and not (directional and mine & moved_later):
            kept.append(step)
    return tuple(kept)


def plan_failure(steps: Sequence[Step], before: SceneState, after: SceneState) -> str:
    """Empty where all that lasts of the plan holds and nothing else moved by more than a centimetre; else why not."""
    from itk_sim.language import instruction

    missed = [instruction(step) for step in lasting(steps) if not step_holds(step, after)]
    if missed:
        return "not so in the end: " + "; ".join(missed)
    may_move = {step.obj or DRAWER for step in steps}
    if DRAWER in may_move:
        may_move |= {cube for cube in before.cubes if before.support[cube] == DRAWER}
    moved = disturbed(before, after, may_move, DISTURBED_M)
    return f"disturbed: {', '.join(moved)}" if moved else ""
