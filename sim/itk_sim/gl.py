"""Chooses how MuJoCo renders without a screen. Import mujoco from here: the choice must precede its first import.

``MUJOCO_GL`` wins where it is set; else EGL (GPU or Mesa's software driver); else OSMesa. Physics alone needs neither:
the error is raised only when a picture is asked for.
"""

from __future__ import annotations

import ctypes.util
import os
import sys

from itk_sim.errors import SimError

APT_LINE = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"


def choose_backend(environ: dict[str, str] | None = None) -> str | None:
    """The rendering backend: what MUJOCO_GL says, else "egl" or "osmesa" if its library is installed, else None."""
    chosen = (os.environ if environ is None else environ).get("MUJOCO_GL")
    if chosen:
        return chosen
    if sys.platform != "linux":
        return None  # elsewhere mujoco's own default works
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            return backend
    return None


_backend = choose_backend()
if _backend is not None:
    os.environ.setdefault("MUJOCO_GL", _backend)

import mujoco  # noqa: E402  (MUJOCO_GL is read at this import)

__all__ = ["APT_LINE", "choose_backend", "mujoco", "open_context"]


def open_context(width_px: int, height_px: int) -> mujoco.GLContext:
    """A current off-screen OpenGL context of that size."""
    try:
        context = mujoco.GLContext(width_px, height_px)
        context.make_current()
    except Exception as error:
        raise SimError(
            f"no off-screen OpenGL context with MUJOCO_GL={os.environ.get('MUJOCO_GL', '(unset)')}: {error}. "
            f"Allowed: egl, osmesa. On Debian or Ubuntu: {APT_LINE}; then unset MUJOCO_GL or set it to egl."
        ) from error
    return context
