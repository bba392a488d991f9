"""The arm: a Franka Panda with its hand, from the dm-robotics-panda package, with decimated meshes and position servos.

The joint servos and the finger collision boxes are ours (the package has no arm actuators, and its finger boxes are
twice as thick as the finger tips, too thick to reach between cubes).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from itk_sim.errors import SimError
from itk_sim.gl import mujoco
from itk_sim.measures import HOME_QPOS

__all__ = [
    "ARM_ACTUATORS",
    "ARM_JOINTS",
    "FINGER_JOINTS",
    "GRIPPER_ACTUATOR",
    "HAND_BODY",
    "HOME_QPOS",
    "TCP_SITE",
    "decimated_meshes",
    "panda_spec",
]

INSTALL_LINE = "pip install --no-deps dm-robotics-panda==0.4.8"
PREFIX = "robot/"
HAND = "hand/"
ARM_JOINTS = tuple(f"{PREFIX}panda_joint{i}" for i in range(1, 8))
FINGER_JOINTS = tuple(f"{PREFIX}{HAND}panda_finger_joint{i}" for i in (1, 2))
ARM_ACTUATORS = tuple(f"{PREFIX}servo{i}" for i in range(1, 8))
"""Position servos: control = joint angle, rad."""
GRIPPER_ACTUATOR = f"{PREFIX}{HAND}panda_hand_actuator"
"""Control 0 = closed, 1 = fully open (8 cm)."""
TCP_SITE = f"{PREFIX}{HAND}TCP"
"""Between the finger tips, z along the fingers, y the closing direction."""
HAND_BODY = f"{PREFIX}{HAND}panda_hand"
_SERVO_KP = (4500, 4500, 3500, 3500, 2000, 2000, 2000)
_SERVO_KV = (450, 450, 350, 350, 200, 200, 200)
_FORCE_N_M = (87, 87, 87, 87, 36, 36, 36)


def asset_folder() -> Path:
    """Where dm-robotics-panda keeps the Panda's MJCF and meshes."""
    try:
        found = importlib.util.find_spec("dm_robotics.panda")
    except ModuleNotFoundError:
        found = None
    if found is not None and found.submodule_search_locations:
        folder = Path(next(iter(found.submodule_search_locations))) / "assets" / "panda"
        if (folder / "panda.xml").is_file():
            return folder
    raise SimError(f"the Panda's meshes are not installed; run: {INSTALL_LINE}")


def _cache_file(triangles: int) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        release = version("dm-robotics-panda")
    except PackageNotFoundError:
        release = "unknown"
    return root / "itk_embodied" / f"panda-{release}-{triangles}.npz"


def _decimate(folder: Path, triangles: int) -> dict[str, np.ndarray]:
    import fast_simplification
    import trimesh

    meshes: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob("*.obj")):
        mesh = trimesh.load_mesh(file, process=False)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        vertices, faces = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
        if len(faces) > triangles:
            vertices, faces = fast_simplification.simplify(
                vertices, faces, target_reduction=1 - triangles / len(faces)
            )
        meshes[f"{file.stem}.vertices"] = np.asarray(vertices, np.float32)
        meshes[f"{file.stem}.faces"] = np.asarray(faces, np.int32)
    return meshes


def decimated_meshes(triangles: int) -> dict[str, np.ndarray]:
    """``<mesh>.vertices`` (N,3) float32 metres and ``<mesh>.faces`` (M,3) int32 of every mesh, at most about
    ``triangles`` faces each; cached under $XDG_CACHE_HOME/itk_embodied. (Triangles times the shadow pass is what a
    frame costs.)"""
    folder, cache = asset_folder(), _cache_file(triangles)
    if cache.is_file():
        try:
            with np.load(cache, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            pass  # a torn or foreign file: make it anew
    meshes = _decimate(folder, triangles)
    with contextlib.suppress(OSError):  # a read-only home costs a few seconds at every start, nothing else
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".npz", delete=False) as part:
            np.savez(part, **meshes)  # type: ignore[arg-type]
        os.replace(part.name, cache)
    return meshes


def _use_meshes(spec: mujoco.MjSpec, meshes: dict[str, np.ndarray]) -> None:
    for mesh in spec.meshes:
        stem = Path(mesh.file).stem
        mesh.file = ""
        mesh.uservert = meshes[f"{stem}.vertices"].astype(float).ravel().tolist()
        mesh.userface = meshes[f"{stem}.faces"].ravel().tolist()
        mesh.smoothnormal = 0


def _plain_looks(spec: mujoco.MjSpec) -> None:
    for material in spec.materials:
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = ""
        material.rgba = [0.86, 0.86, 0.88, 1] if material.name == "panda" else [0.93, 0.93, 0.93, 1]
        material.specular, material.shininess = 0.3, 0.3
    for texture in list(spec.textures):
        spec.delete(texture)


def _finger_boxes(hand: mujoco.MjSpec) -> None:
    for side in ("left", "right"):
        finger = hand.body(f"panda_{side}finger")
        for geom in list(finger.geoms):
            if geom.type == mujoco.mjtGeom.mjGEOM_BOX:
                hand.delete(geom)
        for name, pos, size in (
            ("tip", (0, 0.0065, 0.044), (0.0095, 0.0065, 0.0098)),
            ("shaft", (0, 0.0175, 0.017), (0.0095, 0.0085, 0.017)),
        ):
            finger.add_geom(
                name=f"{side} finger {name}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, group=3,
                rgba=[1, 1, 1, 0.3], friction=[1.2, 0.02, 0.001], condim=4, mass=0.0,
            )  # fmt: skip


def panda_spec(triangles: int = 1000) -> mujoco.MjSpec:
    """The Panda with its hand, servos and a wrist camera, ready to be attached with ``PREFIX``.

    Collisions: links 5 to 7, the hand and the fingers touch the world; the robot does not touch itself. Visual geoms
    are in group 2, collision boxes in group 3.
    """
    folder, meshes = asset_folder(), decimated_meshes(triangles)
    arm = mujoco.MjSpec.from_file(str(folder / "panda.xml"))
    hand = mujoco.MjSpec.from_file(str(folder / "panda_hand.xml"))
    for spec in (arm, hand):
        _use_meshes(spec, meshes)
        _plain_looks(spec)
    for material in hand.materials:
        material.name = "panda_hand"
    for geom in hand.geoms:
        geom.material = "panda_hand"
    _finger_boxes(hand)

    for spec in (arm, hand):
        for geom in spec.geoms:
            mesh = geom.type == mujoco.mjtGeom.mjGEOM_MESH
            touches = not mesh or geom.meshname in ("link5", "link6", "link7", "hand")
            geom.contype, geom.conaffinity = (2, 0) if touches else (0, 0)
            if mesh:
                geom.group = 2
    for joint in arm.joints:
        joint.armature = 0.1
    for i, (kp, kv, force) in enumerate(zip(_SERVO_KP, _SERVO_KV, _FORCE_N_M, strict=True), start=1):
        servo = arm.add_actuator(
            name=f"servo{i}", trntype=mujoco.mjtTrn.mjTRN_JOINT, target=f"panda_joint{i}", forcerange=[-force, force]
        )
        servo.set_to_position(kp=kp, kv=kv)

    # Looking along the fingers from beside the hand, tilted so that the finger tips are in the picture.
    tilt = np.deg2rad(25.0)
    hand.body("panda_hand").add_camera(name="wrist", pos=[0.07, 0, 0.02], quat=_looking_down(tilt), fovy=70.0)
    wrist = next(site for site in arm.sites if site.name == "wrist_site")
    wrist.quat = [np.cos(-np.pi / 8), 0, 0, np.sin(-np.pi / 8)]  # the flange's 45 degrees
    arm.attach(hand, prefix=HAND, site=wrist)
    return arm


def _looking_down(tilt_rad: float) -> list[float]:
    """Quaternion of a camera (MuJoCo: looks along its -z, y up) that looks along the hand's z, tilted towards the
    hand's -x, with image right = the closing direction (hand y): the finger tips show at the bottom centre."""
    forward = np.array([-np.sin(tilt_rad), 0.0, np.cos(tilt_rad)])
    right = np.array([0.0, 1.0, 0.0])
    up = np.cross(right, forward)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, up, -forward], 1).ravel())
    return quat.tolist()
