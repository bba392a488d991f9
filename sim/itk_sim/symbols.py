"""The table in words: object names, relations, steps, predicates, and the state of a settled scene.

An object's name is what a person would call it: ``red cube``, ``teal bowl``, ``grey mat``, ``drawer``, ``table``.
Left, right, in front and behind are as the FRONT CAMERA sees them: left is a smaller image column, in front is nearer
to that camera (a larger image row). In the world frame (metres, z up, robot base at the origin, camera looking along
-x): left is -y, right is +y, in front is +x, behind is -x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

CUBE_COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")
BOWL_COLOURS = ("white", "teal", "pink")
MAT_COLOURS = ("grey",)
CUBES = tuple(f"{colour} cube" for colour in CUBE_COLOURS)
BOWLS = tuple(f"{colour} bowl" for colour in BOWL_COLOURS)
MATS = tuple(f"{colour} mat" for colour in MAT_COLOURS)
DRAWER = "drawer"
TABLE = "table"

Relation: TypeAlias = Literal["in", "on", "left_of", "right_of", "in_front_of", "behind", "at"]
DIRECTIONS: tuple[Relation, ...] = ("left_of", "right_of", "in_front_of", "behind")
PredicateName: TypeAlias = Literal["in", "on", "left_of", "right_of", "in_front_of", "behind", "open", "closed"]

GRID = 32
"""A place in the picture is a cell of a GRID x GRID raster over the front image: (column, row), each 0..GRID-1."""

Cell: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """One manipulation.

    ``place``: put ``obj`` (a cube) in / on / left_of / … ``target``; ``on`` takes a cube (stack), a mat or the table;
    ``in`` takes a bowl or the drawer; ``at`` takes ``cell`` and no target. ``open`` and ``close`` are of the drawer.
    """

    verb: Literal["place", "open", "close"]
    obj: str | None = None
    relation: Relation | None = None
    target: str | None = None
    cell: Cell | None = None


Predicate: TypeAlias = tuple[str, ...]
"""``("in", "red cube", "teal bowl")``, ``("open", "drawer")``: a name and its one or two arguments."""


@dataclass(frozen=True)
class SceneState:
    """A settled scene, as the simulator knows it. Agents never see this; data, judges and predicates are made from it.

    Attributes:
        cubes, bowls: names present, in the order of CUBES and BOWLS.
        mat: name or None.
        drawer: "open", "closed", or None where there is none.
        support: what each cube rests on: "table", a mat, a bowl, a cube, or "drawer".
        position_m: world position of every object's reference point (cube centre, bowl base centre, mat centre,
            drawer handle), metres.
        pixel: the projection of that point in the front image, as fractions (u right, v down) of its width and height.
        visible: share of each object's own pixels that the front camera sees unoccluded, 0..1.
    """

    cubes: tuple[str, ...]
    bowls: tuple[str, ...]
    mat: str | None
    drawer: Literal["open", "closed"] | None
    support: Mapping[str, str]
    position_m: Mapping[str, tuple[float, float, float]]
    pixel: Mapping[str, tuple[float, float]]
    visible: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        extra = ((self.mat,) if self.mat else ()) + ((DRAWER,) if self.drawer else ())
        return self.cubes + self.bowls + extra

    def on_top_of(self, name: str) -> str | None:
        """The cube that rests directly on cube ``name``, if any."""
        return next((cube for cube in self.cubes if self.support.get(cube) == name), None)

    def cell(self, name: str) -> Cell:
        """The raster cell of an object's pixel."""
        u, v = self.pixel[name]
        return min(max(int(u * GRID), 0), GRID - 1), min(max(int(v * GRID), 0), GRID - 1)


def is_cube(name: str | None) -> bool:
    return name in CUBES


def is_bowl(name: str | None) -> bool:
    return name in BOWLS


def is_mat(name: str | None) -> bool:
    return name in MATS
