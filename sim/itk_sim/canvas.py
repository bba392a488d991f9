"""Off-screen rendering: one OpenGL context for pictures and segmentations of every size."""

from __future__ import annotations

import atexit
import weakref

import numpy as np

from itk_sim.errors import SimError
from itk_sim.gl import mujoco, open_context

RENDERED_GROUPS = (0, 1, 2)


class Canvas:
    """Renders a model from its fixed cameras. One context with the largest size serves all smaller ones: a picture is
    drawn into a corner of it. Close it: an OpenGL context outlives its Python object."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._max_px = int(model.vis.global_.offwidth)
        self._gl = open_context(self._max_px, self._max_px)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=400)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [int(group in RENDERED_GROUPS) for group in range(6)]
        self._option.sitegroup[:] = 0
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        # At interpreter exit before EGL is closed: exit functions run last in, first out, and weakref's is among the
        # first.
        self._free.atexit = False
        atexit.register(self._free)

    def picture(self, data: mujoco.MjData, camera: int, size_px: int) -> np.ndarray:
        """(S,S,3) uint8 RGB."""
        self._draw(data, camera, size_px, ids=False)
        return self._read(size_px)

    def geoms(self, data: mujoco.MjData, camera: int, size_px: int) -> np.ndarray:
        """(S,S) int32 geom id of every pixel, -1 where there is none."""
        self._draw(data, camera, size_px, ids=True)
        colour = self._read(size_px).astype(np.int32)
        index = colour[..., 0] + (colour[..., 1] << 8) + (colour[..., 2] << 16)
        lookup = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid != -1 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                lookup[geom.segid + 1] = geom.objid
        return lookup[np.minimum(index, len(lookup) - 1)]

    def close(self) -> None:
        self._free()
        atexit.unregister(self._free)

    def _draw(self, data: mujoco.MjData, camera: int, size_px: int, ids: bool) -> None:
        if not self._free.alive:
            raise SimError("this table is closed; make a new Table")
        if not 0 < size_px <= self._max_px:
            raise SimError(f"a picture of {size_px} px was asked for; allowed: 1 to {self._max_px} (Table(max_px=...))")
        self._gl.make_current()
        self._camera.fixedcamid = camera
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = ids
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = not ids
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(mujoco.MjrRect(0, 0, size_px, size_px), self._scene, self._context)

    def _read(self, size_px: int) -> np.ndarray:
        pixels = np.empty((size_px, size_px, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, mujoco.MjrRect(0, 0, size_px, size_px), self._context)
        return np.ascontiguousarray(pixels[::-1])  # OpenGL's first row is the bottom one


def _free(gl: mujoco.GLContext, context: mujoco.MjrContext) -> None:
    gl.make_current()
    context.free()
    gl.free()
