"""The things on the table as MuJoCo bodies: cubes, bowls, the mat, the drawer, distractors.

Geom groups: 0 scenery, 1 objects as seen, 2 robot as seen; never rendered: 3 collision shapes, 5 parked.
"""

from __future__ import annotations

import numpy as np

from itk_sim.gl import mujoco
from itk_sim.measures import (
    BOWL_BASE_RADIUS_M,
    BOWL_FLOOR_M,
    BOWL_HEIGHT_M,
    BOWL_RIM_RADIUS_M,
    CABINET_X_M,
    CABINET_Y_M,
    CABINET_Z_M,
    COLOURS,
    CUBE_M,
    DISTRACTOR_COUNT,
    DRAWER_OPEN_M,
    HANDLE_BEFORE_CENTRE_M,
    HANDLE_COLOUR,
    HANDLE_HEIGHT_M,
    MAT_M,
    TRAY_COLOUR,
    TRAY_FLOOR_M,
    TRAY_INNER_M,
    TRAY_WALL_M,
    WALL_M,
)

_BOX, _CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
_ELLIPSOID, _MESH = mujoco.mjtGeom.mjGEOM_ELLIPSOID, mujoco.mjtGeom.mjGEOM_MESH
_FRICTION = [1.0, 0.02, 0.001]


def _rgba(colour: tuple[float, float, float]) -> list[float]:
    return [*colour, 1.0]


def add_cube(spec: mujoco.MjSpec, name: str) -> None:
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    half = CUBE_M / 2
    body.add_geom(
        name=name, type=_BOX, size=[half] * 3, rgba=_rgba(COLOURS[name]), mass=0.05, friction=_FRICTION, condim=4,
        solref=[0.01, 1], contype=1, conaffinity=3, group=1, material="paint",
    )  # fmt: skip


def bowl_profile(points: int = 8) -> np.ndarray:
    """(points, 2) radius and height of the bowl's outside, base to rim."""
    share = np.linspace(0, 1, points)
    radius = BOWL_BASE_RADIUS_M + (BOWL_RIM_RADIUS_M - BOWL_BASE_RADIUS_M) * np.sin(share * np.pi / 2)
    return np.stack([radius, BOWL_HEIGHT_M * share], 1)


def _add_bowl_mesh(spec: mujoco.MjSpec, sides: int = 36, wall: float = 0.0035) -> None:
    outside = bowl_profile()
    inside = outside - [wall, 0]
    profile = np.concatenate([inside, outside[::-1]])
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices = np.concatenate([np.column_stack([r * ring, np.full(sides, z)]) for r, z in profile])
    faces = []
    for i in range(len(profile) - 1):
        for j in range(sides):
            a, b = i * sides + j, i * sides + (j + 1) % sides
            faces += [(a, b + sides, b), (a, a + sides, b + sides)]
    spec.add_mesh(
        name="bowl", uservert=vertices.ravel().tolist(), userface=np.asarray(faces).ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )  # fmt: skip


def add_bowl(spec: mujoco.MjSpec, name: str, segments: int = 14) -> None:
    """The wall is one visual mesh with ``segments`` tilted boxes that collide; the floor is a disc."""
    if not any(mesh.name == "bowl" for mesh in spec.meshes):
        _add_bowl_mesh(spec)
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    body.add_geom(
        name=name, type=_MESH, meshname="bowl", rgba=_rgba(COLOURS[name]), contype=0, conaffinity=0, mass=0.001,
        group=1, material="paint",
    )  # fmt: skip
    solid = {"friction": _FRICTION, "contype": 1, "conaffinity": 3, "solref": [0.01, 1]}
    body.add_geom(
        type=_CYLINDER, size=[BOWL_BASE_RADIUS_M - 0.0015, BOWL_FLOOR_M / 2], pos=[0, 0, BOWL_FLOOR_M / 2], mass=0.16,
        rgba=_rgba(COLOURS[name]), group=1, material="paint", **solid,
    )  # fmt: skip
    radius = (BOWL_BASE_RADIUS_M + BOWL_RIM_RADIUS_M) / 2 + 0.001
    tilt = np.arctan2(BOWL_RIM_RADIUS_M - BOWL_BASE_RADIUS_M, BOWL_HEIGHT_M)
    lean = np.array([np.cos(tilt / 2), 0, np.sin(tilt / 2), 0])
    for k in range(segments):
        angle = 2 * np.pi * k / segments
        turn, quat = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]), np.zeros(4)
        mujoco.mju_mulQuat(quat, turn, lean)
        body.add_geom(
            type=_BOX, size=[0.0025, np.pi * radius / segments * 1.05, BOWL_HEIGHT_M / 2], quat=quat, mass=0.004,
            pos=[radius * np.cos(angle), radius * np.sin(angle), BOWL_HEIGHT_M / 2], group=3, **solid,
        )  # fmt: skip


def add_mat(spec: mujoco.MjSpec, name: str) -> None:
    """Too thin to collide: what lies on it lies on the table."""
    body = spec.worldbody.add_body(name=name)
    half = MAT_M / 2
    body.add_geom(
        name=name, type=_BOX, size=[half, half, 0.0008], pos=[0, 0, 0.0008], rgba=_rgba(COLOURS[name]),
        contype=0, conaffinity=0, group=1, material="cloth",
    )  # fmt: skip


def _cabinet(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    body = spec.worldbody.add_body(name=name)
    x, y, z, t = CABINET_X_M / 2, CABINET_Y_M / 2, CABINET_Z_M, WALL_M
    boxes = {
        "top": ((0, 0, z - t / 2), (x, y, t / 2)),
        "back": ((0, y - t / 2, (z - t) / 2), (x, t / 2, (z - t) / 2)),
        "near": ((x - t / 2, 0, (z - t) / 2), (t / 2, y, (z - t) / 2)),
        "far": ((-x + t / 2, 0, (z - t) / 2), (t / 2, y, (z - t) / 2)),
    }
    for part, (pos, size) in boxes.items():
        body.add_geom(
            name=f"{name} {part}", type=_BOX, pos=pos, size=size, rgba=_rgba(COLOURS[name]), contype=1, conaffinity=3,
            group=1, material="cabinet",
        )  # fmt: skip
    return body


def add_drawer(spec: mujoco.MjSpec, name: str) -> None:
    """A cabinet fixed to the table and its tray on a slide joint (0 closed .. 0.13 m open, towards -y), with friction
    so that it stays where it is left. The handle is a post with a site at its middle."""
    tray = _cabinet(spec, name).add_body(name=f"{name} tray")
    tray.add_joint(
        name=f"{name} slide", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, -1, 0], range=[0, DRAWER_OPEN_M + 0.002],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE, damping=[8.0, 0, 0], frictionloss=1.5, armature=0.02,
    )  # fmt: skip
    inner, floor, wall, t = TRAY_INNER_M / 2, TRAY_FLOOR_M, TRAY_WALL_M, WALL_M / 2
    mid = floor + wall / 2
    face = CABINET_Y_M / 2
    boxes = {
        "floor": ((0, 0, floor - t), (inner + 2 * t, inner + 2 * t, t)),
        "near": ((inner + t, 0, mid), (t, inner + 2 * t, wall / 2)),
        "far": ((-inner - t, 0, mid), (t, inner + 2 * t, wall / 2)),
        "back": ((0, inner + t, mid), (inner, t, wall / 2)),
        "inner front": ((0, -inner - t, mid), (inner, t, wall / 2)),
        "face": ((0, -face, 0.033), (CABINET_X_M / 2, 0.003, 0.030)),
        "stem": ((0, -(face + HANDLE_BEFORE_CENTRE_M) / 2, 0.030), (0.004, (HANDLE_BEFORE_CENTRE_M - face) / 2, 0.004)),
    }
    solid = {"contype": 1, "conaffinity": 3, "group": 1, "friction": _FRICTION}
    for part, (pos, size) in boxes.items():
        tray.add_geom(
            name=f"{name} tray {part}", type=_BOX, pos=pos, size=size, material="tray", solref=[0.01, 1],
            rgba=_rgba(HANDLE_COLOUR if part == "stem" else TRAY_COLOUR), mass=0.04, **solid,
        )  # fmt: skip
    post = [0, -HANDLE_BEFORE_CENTRE_M, HANDLE_HEIGHT_M / 2 + 0.002]
    tray.add_geom(
        name=f"{name} handle", type=_CYLINDER, pos=post, size=[0.008, HANDLE_HEIGHT_M / 2 - 0.001], material="paint",
        rgba=_rgba(HANDLE_COLOUR), mass=0.03, condim=4, **solid,
    )  # fmt: skip
    tray.add_site(name=f"{name} handle", pos=post, size=[0.004] * 3)
    spec.add_exclude(name="tray in cabinet", bodyname1=name, bodyname2=f"{name} tray")
    spec.add_exclude(name="tray over table", bodyname1="world", bodyname2=f"{name} tray")


def add_distractors(spec: mujoco.MjSpec) -> None:
    """Small pale things for the table's edge, out of reach: seen, never touched."""
    shapes = (
        (_CYLINDER, [0.032, 0.042, 0], [0, 0, 0.042], (0.88, 0.88, 0.86)),
        (_BOX, [0.045, 0.03, 0.022], [0, 0, 0.022], (0.60, 0.61, 0.63)),
        (_ELLIPSOID, [0.03, 0.03, 0.03], [0, 0, 0.03], (0.82, 0.82, 0.80)),
        (_CYLINDER, [0.06, 0.006, 0], [0, 0, 0.006], (0.72, 0.73, 0.74)),
    )
    for index, (shape, size, pos, colour) in enumerate(shapes[:DISTRACTOR_COUNT]):
        body = spec.worldbody.add_body(name=f"distractor {index}")
        body.add_geom(
            name=f"distractor {index}", type=shape, size=size, pos=pos, rgba=_rgba(colour), contype=0, conaffinity=0,
            group=1, material="paint",
        )  # fmt: skip
