"""What the simulator needs from the machine, and what it says where that is missing: OpenGL, the robot's meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itk_sim import gl, robot
from itk_sim.errors import SimError


def test_mujoco_gl_wins_where_it_is_set() -> None:
    assert gl.choose_backend({"MUJOCO_GL": "osmesa"}) == "osmesa"


def test_without_it_the_installed_library_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gl.sys, "platform", "linux")
    for installed, expected in (({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa"), (set(), None)):
        monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name, have=installed: name if name in have else None)
        assert gl.choose_backend({}) == expected


def test_no_context_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(gl.mujoco, "GLContext", refuse)
    with pytest.raises(SimError, match=r"no display.*apt-get install -y libegl1"):
        gl.open_context(64, 64)


def test_missing_robot_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimError, match=r"pip install --no-deps dm-robotics-panda==0\.4\.8"):
        robot.asset_folder()


def test_decimated_meshes_are_cached_and_a_torn_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def decimate(folder: Path, triangles: int) -> dict[str, np.ndarray]:
        calls.append(triangles)
        return {"hand.vertices": np.zeros((3, 3), np.float32), "hand.faces": np.array([[0, 1, 2]], np.int32)}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(robot, "_decimate", decimate)
    first = robot.decimated_meshes(50)
    again = robot.decimated_meshes(50)
    assert calls == [50]
    assert np.array_equal(first["hand.faces"], again["hand.faces"])
    (cache,) = (tmp_path / "itk_embodied").glob("*.npz")
    cache.write_bytes(b"PK torn")
    robot.decimated_meshes(50)
    assert calls == [50, 50]


def test_decimated_robot_is_light_and_whole() -> None:
    meshes = robot.decimated_meshes(800)
    faces = {name: len(array) for name, array in meshes.items() if name.endswith("faces")}
    assert len(faces) == 10
    assert max(faces.values()) <= 1000
    assert min(faces.values()) > 100
