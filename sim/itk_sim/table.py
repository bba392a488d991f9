"""The simulated table: a scene that can be reset, seen, measured, moved by an arm, and set back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itk_sim import visibility
from itk_sim.cameras import CameraInfo, camera_id, read_camera
from itk_sim.canvas import Canvas
from itk_sim.dressing import PARKED_M, Wardrobe, apply_looks
from itk_sim.errors import SimError
from itk_sim.gl import mujoco
from itk_sim.layout import Layout, layout_of
from itk_sim.measures import DRAWER_OPEN_M
from itk_sim.model import DRAWER_HANDLE, DRAWER_TRAY, SEGMENT_IDS, build_spec, index_model
from itk_sim.placing import Placement
from itk_sim.randomise import Looks, draw_looks
from itk_sim.scene import SceneSpec
from itk_sim.supports import find_supports
from itk_sim.symbols import BOWLS, CUBES, DRAWER, SceneState, Step
from itk_sim.teleport import teleport

OPEN_M, CLOSED_M = 0.09, 0.015
"""Slid out beyond the first the drawer is open, within the second it is closed; in between it is still what it was, so
that neither a half-done opening nor a half-done closing counts as done."""
_VISIBILITY_PX = 128
_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Full physics state of a scene, to come back to."""

    spec: SceneSpec
    physics: np.ndarray
    drawer_open: bool


class Table:
    """One MuJoCo model with every object there can be; ``reset`` shows what a scene has.

    A context manager: OpenGL contexts must be freed. ``model`` and ``data`` are MuJoCo's own, for arm control;
    ``index`` has the addresses; ``home_qpos`` is this scene's home pose of the arm (rad).
    Not for use from several threads.
    """

    def __init__(self, max_px: int = 640) -> None:
        self.model: mujoco.MjModel = build_spec(max_px).compile()
        self.data = mujoco.MjData(self.model)
        self.index = index_model(self.model)
        self.home_qpos = np.zeros(7)
        self._wardrobe = Wardrobe(self.model, self.index)
        self._canvas: Canvas | None = None
        self._closed = False
        self._spec: SceneSpec | None = None
        self._cubes: tuple[str, ...] = ()
        self._bowls: tuple[str, ...] = ()
        self._object_dofs = np.zeros(0, int)
        self._drawer_open = False

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the OpenGL context. Physics goes on working, pictures do not."""
        self._closed = True
        if self._canvas is not None:
            self._canvas.close()
            self._canvas = None

    @property
    def spec(self) -> SceneSpec:
        """The scene on the table."""
        if self._spec is None:
            raise SimError("the table is empty; call reset(SceneSpec(...)) first")
        return self._spec

    # --- scenes -----------------------------------------------------------------------------------------------------

    def reset(self, spec: SceneSpec, visible: bool = True) -> SceneState:
        """Set up a scene. The same spec gives the same state and the same pixels. ``visible``: see ``state``."""
        layout = layout_of(spec)
        looks = draw_looks(np.random.default_rng([spec.seed, 2]), spec.randomise, spec.drawer)
        self._spec = spec
        self._cubes = tuple(name for name in CUBES if name.split()[0] in spec.cubes)
        self._bowls = tuple(name for name in BOWLS if name.split()[0] in spec.bowls)
        self._put(layout, looks)
        self.settle()
        return self.state(visible)

    def _put(self, layout: Layout, looks: Looks) -> None:
        model, data, index, spec = self.model, self.data, self.index, self.spec
        mat = f"{spec.mat} mat"
        present = {*self._cubes, *self._bowls} | ({mat} if spec.mat else set()) | ({DRAWER} if spec.drawer else set())
        self._wardrobe.show_only(present)
        apply_looks(model, index, looks)
        if layout.mat_xy is not None:
            model.body_pos[index.body[mat]] = [*layout.mat_xy, 0.0]
        if layout.tray_xy is not None:
            model.body_pos[index.body[DRAWER]] = [*layout.tray_xy, 0.0]
        mujoco.mj_resetData(model, data)
        for i, name in enumerate(index.qpos):
            away = Placement(PARKED_M[0], PARKED_M[1] + 0.3 * i, PARKED_M[2], 0.0)
            self.put(name, layout.placements.get(name, away))
        data.qpos[index.slide_qpos] = layout.slide_m
        self._drawer_open = layout.slide_m > OPEN_M
        self.home_qpos = looks.home_qpos.copy()
        data.qpos[index.arm_qpos] = data.ctrl[index.arm_ctrl] = self.home_qpos
        data.qpos[index.finger_qpos] = 0.04
        data.ctrl[index.gripper_ctrl] = 1.0
        dofs = [np.arange(index.dof[name], index.dof[name] + 6) for name in (*self._cubes, *self._bowls)]
        self._object_dofs = np.concatenate([*dofs, [index.slide_dof]]).astype(int)
        mujoco.mj_forward(model, data)

    def put(self, name: str, place: Placement) -> None:
        """Set a cube or bowl down at a place, at rest, and in sight (the physics has its say at the next step)."""
        start, dof = self.index.qpos[name], self.index.dof[name]
        half = place.yaw_rad / 2
        self.data.qpos[start : start + 7] = [place.x_m, place.y_m, place.z_m, np.cos(half), 0, 0, np.sin(half)]
        self.data.qvel[dof : dof + 6] = 0
        mujoco.mj_kinematics(self.model, self.data)

    def snapshot(self) -> Snapshot:
        """The full physics state; restoring it and stepping on gives the same future."""
        physics = np.empty(mujoco.mj_stateSize(self.model, _PHYSICS))
        mujoco.mj_getState(self.model, self.data, physics, _PHYSICS)
        return Snapshot(self.spec, physics, self._drawer_open)

    def restore(self, snapshot: Snapshot) -> None:
        if snapshot.spec != self._spec:
            self.reset(snapshot.spec)
        mujoco.mj_setState(self.model, self.data, snapshot.physics, _PHYSICS)
        self._drawer_open = snapshot.drawer_open
        mujoco.mj_forward(self.model, self.data)

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> None:
        """Advance physics by ``n`` steps of 2 ms."""
        mujoco.mj_step(self.model, self.data, n)

    def settle(self, max_s: float = 1.0) -> bool:
        """Step until every object rests or ``max_s`` of simulated time are over. True if all rest."""
        for _ in range(int(np.ceil(max_s / self.model.opt.timestep / 10))):
            self.step(10)
            if np.abs(self.data.qvel[self._object_dofs]).max() < 0.01:
                return True
        return False

    # --- seeing -----------------------------------------------------------------------------------------------------

    def _open_canvas(self) -> Canvas:
        if self._closed:
            raise SimError("this table is closed; make a new Table")
        if self._canvas is None:
            self._canvas = Canvas(self.model)
        return self._canvas

    def render(self, camera: str = "front", size_px: int = 256) -> np.ndarray:
        """What a camera sees: (S,S,3) uint8 RGB."""
        return self._open_canvas().picture(self.data, camera_id(self.model, camera), size_px)

    def segmentation(self, camera: str = "front", size_px: int = 256) -> np.ndarray:
        """(S,S) uint8 object ids: 0 background, 1..6 CUBES, 7..9 BOWLS, 10 mat, 11 drawer, 12 robot, 13 distractor."""
        geoms = self._open_canvas().geoms(self.data, camera_id(self.model, camera), size_px)
        return np.append(self.index.segment_of_geom, np.uint8(0))[geoms]

    def camera(self, name: str = "front", size_px: int = 256) -> CameraInfo:
        """Calibration of a camera as it stands now, for pictures of that size."""
        return read_camera(self.model, self.data, name, size_px)

    # --- measuring --------------------------------------------------------------------------------------------------

    @property
    def slide_m(self) -> float:
        """How far the drawer is open."""
        return float(self.data.qpos[self.index.slide_qpos])

    def position_m(self, name: str) -> np.ndarray:
        """World position (3,) of an object's reference point (see SceneState)."""
        if name == DRAWER:
            return self.data.site(DRAWER_HANDLE).xpos.copy()
        return self.data.xpos[self.index.body[name]].copy()

    def state(self, visible: bool = True) -> SceneState:
        """The scene as it is now. ``visible=False`` skips the one rendering pass (all shares are then 1)."""
        spec = self.spec
        mujoco.mj_kinematics(self.model, self.data)
        mat = f"{spec.mat} mat" if spec.mat else None
        names = (*self._cubes, *self._bowls, *((mat,) if mat else ()), *((DRAWER,) if spec.drawer else ()))
        position = {name: self.position_m(name) for name in names}
        camera = self.camera("front", _VISIBILITY_PX)
        pixel = camera.project(np.stack([position[name] for name in names])) / _VISIBILITY_PX
        support = find_supports(
            {name: position[name] for name in self._cubes},
            {name: position[name] for name in self._bowls},
            (mat, position[mat]) if mat else None,
            self.data.xpos[self.index.body[DRAWER_TRAY]] if spec.drawer else None,
        )
        if not CLOSED_M <= self.slide_m <= OPEN_M:
            self._drawer_open = self.slide_m > OPEN_M
        return SceneState(
            cubes=self._cubes,
            bowls=self._bowls,
            mat=mat,
            drawer=("open" if self._drawer_open else "closed") if spec.drawer else None,
            support=support,
            position_m={name: (float(p[0]), float(p[1]), float(p[2])) for name, p in position.items()},
            pixel={name: (float(u), float(v)) for name, (u, v) in zip(names, pixel, strict=True)},
            visible=self._visible(names, camera) if visible else dict.fromkeys(names, 1.0),
        )

    def _visible(self, names: tuple[str, ...], camera: CameraInfo) -> dict[str, float]:
        seen = np.bincount(self.segmentation("front", _VISIBILITY_PX).ravel(), minlength=len(SEGMENT_IDS) + 1)
        shares = {}
        for name in names:
            whole = visibility.outline_px(camera, self._hulls(name))
            shares[name] = float(min(1.0, seen[SEGMENT_IDS[name]] / whole)) if whole > 0 else 0.0
        return shares

    def _hulls(self, name: str) -> list[np.ndarray]:
        def world(hulls: tuple[np.ndarray, ...], body: int) -> list[np.ndarray]:
            turn = self.data.xmat[body].reshape(3, 3)
            return [points @ turn.T + self.data.xpos[body] for points in hulls]

        body = self.index.body[name]
        if name in CUBES:
            return world(visibility.CUBE_HULLS, body)
        if name in BOWLS:
            return world(visibility.BOWL_HULLS, body)
        if name == DRAWER:
            tray = world(visibility.TRAY_HULLS, self.index.body[DRAWER_TRAY])
            return world(visibility.CABINET_HULLS, body) + tray
        return world(visibility.MAT_HULLS, body)

    # --- steps without the arm --------------------------------------------------------------------------------------

    def slide(self, slide_m: float) -> None:
        """Put the drawer at ``slide_m`` (0..0.13); what is in the tray goes with it."""
        shift = float(np.clip(slide_m, 0, DRAWER_OPEN_M)) - self.slide_m
        state = self.state(visible=False)
        for name, below in state.support.items():
            if below == DRAWER:
                start, dof = self.index.qpos[name], self.index.dof[name]
                self.data.qpos[start + 1] -= shift
                self.data.qvel[dof : dof + 6] = 0
        self.data.qpos[self.index.slide_qpos] += shift
        self.data.qvel[self.index.slide_dof] = 0

    def teleport(self, step: Step, rng: np.random.Generator | None = None) -> bool:
        """Bring about what a step wants, without the arm. True if the result holds and no bystander moved over 1 cm;
        False (and the scene as the attempt left it) otherwise. ``rng`` adds millimetres and degrees of jitter."""
        return teleport(self, step, rng)
