"""The one MuJoCo model that every scene is made from, and an index of its parts.

Six cubes, three bowls, the mat, the drawer, distractors and the robot are always in the model; what a scene does not
use is parked (see :mod:`itk_sim.dressing`), so a reset costs no compilation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itk_sim import parts
from itk_sim.gl import mujoco
from itk_sim.measures import DISTRACTOR_COUNT, FRONT_EYE_M, FRONT_FOVY_DEG, FRONT_TARGET_M
from itk_sim.robot import ARM_ACTUATORS, ARM_JOINTS, FINGER_JOINTS, GRIPPER_ACTUATOR, PREFIX, panda_spec
from itk_sim.symbols import BOWLS, CUBES, DRAWER, MATS
from itk_sim.textures import SIZE_PX, TABLE_TOPS

OBJECTS = (*CUBES, *BOWLS, *MATS, DRAWER)
SEGMENT_IDS: dict[str, int] = {
    **{name: i for i, name in enumerate(OBJECTS, start=1)},
    "robot": 12,
    "distractor": 13,
}
"""Segmentation ids: 0 background, 1..6 CUBES, 7..9 BOWLS, 10 mat, 11 drawer, 12 robot, 13 distractor."""
DRAWER_TRAY, DRAWER_SLIDE, DRAWER_HANDLE = f"{DRAWER} tray", f"{DRAWER} slide", f"{DRAWER} handle"
HIDDEN_GROUP = 5


def look_at(eye_m: tuple[float, float, float], target_m: tuple[float, float, float]) -> np.ndarray:
    """MuJoCo camera quaternion (w,x,y,z) at ``eye_m`` that looks at ``target_m`` with the world's z up in the image."""
    back = np.asarray(eye_m, float) - np.asarray(target_m, float)
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(back, right), back], 1).ravel())
    return quat


def _options(spec: mujoco.MjSpec, max_px: int) -> None:
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    visual = spec.visual
    visual.global_.offwidth = visual.global_.offheight = max_px
    visual.quality.offsamples, visual.quality.shadowsize = 4, 512
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = [0.35] * 3, [0.25] * 3, [0] * 3
    visual.map.znear, visual.map.zfar = 0.01, 30.0
    spec.stat.extent = 1.0
    spec.stat.center = [0.45, 0, 0.1]


def _material(spec: mujoco.MjSpec, name: str, specular: float, shininess: float, texture: str | None = None) -> None:
    material = spec.add_material(name=name, specular=specular, shininess=shininess)
    if texture is not None:
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture


def _looks(spec: mujoco.MjSpec) -> None:
    flat = mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.75, 0.78, 0.80], rgb2=[0.45, 0.47, 0.50], width=64, height=64,
    )  # fmt: skip
    spec.add_texture(
        name="floor", type=flat, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER, rgb1=[0.50, 0.50, 0.51],
        rgb2=[0.44, 0.44, 0.45], width=128, height=128,
    )  # fmt: skip
    _material(spec, "floor", 0.1, 0.1, "floor")
    spec.material("floor").texrepeat = [6, 6]
    for name, paint in TABLE_TOPS.items():
        texture = spec.add_texture(name=name, type=flat, width=SIZE_PX, height=SIZE_PX, nchannel=3)
        texture.data = paint().tobytes()
        _material(spec, name, 0.15, 0.2, name)
    plain = {"paint": (0.3, 0.4), "cloth": (0.0, 0.0), "cabinet": (0.2, 0.2), "tray": (0.1, 0.1)}
    for name, (specular, shininess) in plain.items():
        _material(spec, name, specular, shininess)


def _room(spec: mujoco.MjSpec) -> None:
    world, box = spec.worldbody, mujoco.mjtGeom.mjGEOM_BOX
    solid = {"contype": 1, "conaffinity": 3, "friction": [1.0, 0.02, 0.001]}
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[4, 4, 0.1], pos=[0, 0, -0.75], material="floor", **solid
    )
    world.add_geom(name="table", type=box, size=[0.45, 0.6, 0.03], pos=[0.5, 0, -0.03], material="oak", **solid)
    for x in (0.1, 0.9):
        for y in (-0.55, 0.55):
            world.add_geom(
                type=box, size=[0.03, 0.03, 0.345], pos=[x, y, -0.405], rgba=[0.4, 0.4, 0.42, 1],
                contype=0, conaffinity=0,
            )  # fmt: skip
    world.add_light(
        name="key", pos=[0.9, -0.7, 1.9], dir=[-0.3, 0.45, -1], castshadow=True, diffuse=[0.55, 0.55, 0.52],
        specular=[0.3] * 3,
    )  # fmt: skip
    world.add_light(
        name="fill", pos=[-0.2, 0.9, 1.8], dir=[0.4, -0.5, -1], castshadow=False, diffuse=[0.25, 0.25, 0.28],
        specular=[0] * 3,
    )  # fmt: skip
    world.add_camera(name="front", pos=FRONT_EYE_M, quat=look_at(FRONT_EYE_M, FRONT_TARGET_M), fovy=FRONT_FOVY_DEG)


def build_spec(max_px: int = 640, triangles: int = 800) -> mujoco.MjSpec:
    """The whole table, uncompiled. ``max_px``: the largest picture side; ``triangles``: per robot mesh."""
    spec = mujoco.MjSpec()
    spec.modelname = "itk table"
    _options(spec, max_px)
    _looks(spec)
    _room(spec)
    for name in CUBES:
        parts.add_cube(spec, name)
    for name in BOWLS:
        parts.add_bowl(spec, name)
    for name in MATS:
        parts.add_mat(spec, name)
    parts.add_drawer(spec, DRAWER)
    parts.add_distractors(spec)
    spec.attach(panda_spec(triangles), prefix=PREFIX, frame=spec.worldbody.add_frame())
    for light in list(spec.lights):
        if light.name not in ("key", "fill"):
            spec.delete(light)  # an attached model's lights would double the shadow pass
    # The wrist camera's name is what users ask for, so it loses the prefixes.
    next(camera for camera in spec.cameras if camera.name.endswith("wrist")).name = "wrist"
    return spec


@dataclass(frozen=True, eq=False)
class Index:
    """Addresses into the compiled model.

    Attributes:
        arm_qpos, finger_qpos, arm_ctrl, gripper_ctrl, slide_qpos, slide_dof: addresses.
        qpos, dof: start of the free joint of each cube and bowl (7 positions, 6 velocities).
        body: body id of every object, the tray ("drawer tray") and the distractors.
        geoms: geom ids of every object's body and of what hangs on it (the drawer's with its tray's).
        segment_of_geom: (ngeom,) uint8 segmentation id of every geom.
    """

    arm_qpos: np.ndarray
    finger_qpos: np.ndarray
    arm_ctrl: np.ndarray
    gripper_ctrl: int
    slide_qpos: int
    slide_dof: int
    qpos: dict[str, int]
    dof: dict[str, int]
    body: dict[str, int]
    geoms: dict[str, np.ndarray]
    segment_of_geom: np.ndarray


def index_model(model: mujoco.MjModel) -> Index:
    def address(joints: tuple[str, ...]) -> np.ndarray:
        return np.array([model.joint(name).qposadr[0] for name in joints])

    distractors = tuple(f"distractor {i}" for i in range(DISTRACTOR_COUNT))
    body = {name: model.body(name).id for name in (*OBJECTS, DRAWER_TRAY, *distractors)}
    owner = np.asarray(model.geom_bodyid)
    geoms = {name: np.flatnonzero(owner == body[name]) for name in (*OBJECTS, *distractors)}
    geoms[DRAWER] = np.flatnonzero((owner == body[DRAWER]) | (owner == body[DRAWER_TRAY]))
    segment = np.zeros(model.ngeom, np.uint8)
    for name, ids in geoms.items():
        segment[ids] = SEGMENT_IDS[name if name in SEGMENT_IDS else "distractor"]
    robot = [i for i in range(model.ngeom) if model.body(owner[i]).name.startswith(PREFIX)]
    segment[robot] = SEGMENT_IDS["robot"]
    movable = (*CUBES, *BOWLS)
    return Index(
        arm_qpos=address(ARM_JOINTS),
        finger_qpos=address(FINGER_JOINTS),
        arm_ctrl=np.array([model.actuator(name).id for name in ARM_ACTUATORS]),
        gripper_ctrl=model.actuator(GRIPPER_ACTUATOR).id,
        slide_qpos=int(model.joint(DRAWER_SLIDE).qposadr[0]),
        slide_dof=int(model.joint(DRAWER_SLIDE).dofadr[0]),
        qpos={name: int(model.joint(name).qposadr[0]) for name in movable},
        dof={name: int(model.joint(name).dofadr[0]) for name in movable},
        body=body,
        geoms=geoms,
        segment_of_geom=segment,
    )
