"""Is a goal reached, and was anything else disturbed? Decided from settled positions, in metres.

Directions are as the front camera sees them, compared in the world: left is -y, right +y, in front +x, behind -x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import get_args

from itk_sim.errors import SimError
from itk_sim.symbols import (
    DRAWER,
    TABLE,
    Predicate,
    PredicateName,
    SceneState,
    is_bowl,
    is_cube,
    is_mat,
)

IN_BOWL_XY_M, IN_BOWL_Z_M = 0.055, 0.08
"""A cube is in a bowl if its centre is this near to the bowl's axis, and lower than this over the bowl's base."""
ON_CUBE_XY_M, CUBE_M, ON_CUBE_Z_M = 0.022, 0.04, 0.01
MAT_HALF_M = 0.065
FLAT_Z_M = 0.03
"""A cube whose centre is lower than this lies flat on the table or the mat."""
APART_M, NEAR_M = 0.025, 0.25
"""A direction holds from this far along it, up to this far away, inside a right-angled cone around it."""
DISTURBED_M = 0.015
LOOSE = 2.0
"""What lies loose in a bowl or the drawer, and the drawer's own slide, may shift this many times as far."""

_UNIT = {"left_of": (0.0, -1.0), "right_of": (0.0, 1.0), "in_front_of": (1.0, 0.0), "behind": (-1.0, 0.0)}
NAMES: tuple[str, ...] = get_args(PredicateName)


def check_predicate(predicate: Predicate) -> Predicate:
    """The predicate itself if it is well-formed: a known name with things it can be about.

    Raises:
        SimError: saying what is allowed.
    """
    name, *arguments = predicate if predicate else ("",)
    if name not in NAMES:
        raise SimError(f"predicate {name!r} was given; allowed: {', '.join(NAMES)}")
    if name in ("open", "closed"):
        if arguments != [DRAWER]:
            raise SimError(f"predicate {list(predicate)} was given; allowed: [{name!r}, {DRAWER!r}]")
        return predicate
    if len(arguments) != 2 or not is_cube(arguments[0]) or arguments[0] == arguments[1]:
        raise SimError(f"predicate {list(predicate)} was given; allowed: [{name!r}, a cube, another thing]")
    target = arguments[1]
    fits = {"in": is_bowl(target) or target == DRAWER, "on": is_cube(target) or is_mat(target) or target == TABLE}
    if not fits.get(name, is_cube(target) or is_bowl(target) or is_mat(target)):
        takes = {"in": "a bowl or the drawer", "on": "a cube, a mat or the table"}.get(name, "a cube, a bowl or a mat")
        raise SimError(f"predicate {list(predicate)} was given; {name!r} takes {takes} as its last argument")
    return predicate


def holds(predicate: Predicate, state: SceneState) -> bool:
    """Whether the predicate is true of a settled scene. False where it names something that is not there.

    Raises:
        SimError: the predicate is not well-formed.
    """
    name, *arguments = check_predicate(predicate)
    if name in ("open", "closed"):
        return state.drawer == name
    cube, target = arguments
    if cube not in state.cubes or (target != TABLE and target not in state.names):
        return False
    if target == TABLE:
        return _on_bare_table(cube, state)
    if target == DRAWER:
        return state.support.get(cube) == DRAWER
    dx, dy, dz = (a - b for a, b in zip(state.position_m[cube], state.position_m[target], strict=True))
    if name == "in":
        return math.hypot(dx, dy) < IN_BOWL_XY_M and dz < IN_BOWL_Z_M
    if name == "on" and is_cube(target):
        return math.hypot(dx, dy) < ON_CUBE_XY_M and abs(dz - CUBE_M) < ON_CUBE_Z_M
    if name == "on":
        return _over_mat(cube, target, state) and state.position_m[cube][2] < FLAT_Z_M
    ux, uy = _UNIT[name]
    along, across = dx * ux + dy * uy, dx * uy - dy * ux
    return along >= APART_M and abs(across) <= along and math.hypot(dx, dy) <= NEAR_M


def _over_mat(cube: str, mat: str, state: SceneState) -> bool:
    (x, y, _), (mx, my, _) = state.position_m[cube], state.position_m[mat]
    return abs(x - mx) < MAT_HALF_M and abs(y - my) < MAT_HALF_M


def _on_bare_table(cube: str, state: SceneState) -> bool:
    inside = any(holds(("in", cube, bowl), state) for bowl in state.bowls) or state.support.get(cube) == DRAWER
    on_mat = state.mat is not None and _over_mat(cube, state.mat, state)
    return state.position_m[cube][2] < FLAT_Z_M and not inside and not on_mat


def disturbed(
    before: SceneState, after: SceneState, allowed: Iterable[str], tol_m: float = DISTURBED_M
) -> tuple[str, ...]:
    """Things outside ``allowed`` that are not where they were, in the order of ``before.names``.

    What lies in the drawer is measured relative to its tray, so it may ride along; what lies in a bowl relative to the
    bowl. Such loose things, and the drawer's slide, may shift ``LOOSE * tol_m``.
    """
    free = set(allowed)
    return tuple(name for name in before.names if name not in free and _shifted(name, before, after, tol_m))


def _shifted(name: str, before: SceneState, after: SceneState, tol_m: float) -> bool:
    if name not in after.position_m:
        return True
    shift = [b - a for a, b in zip(before.position_m[name], after.position_m[name], strict=True)]
    if name == DRAWER:
        return math.hypot(*shift) > LOOSE * tol_m or before.drawer != after.drawer
    holder = before.support.get(name, TABLE)
    if (holder == DRAWER or is_bowl(holder)) and after.support.get(name) == holder:
        moved = zip(before.position_m[holder], after.position_m[holder], strict=True)
        shift = [s - (b - a) for s, (a, b) in zip(shift, moved, strict=True)]
        return math.hypot(*shift) > LOOSE * tol_m
    return math.hypot(*shift) > tol_m
