"""What a calibrated camera knows: intrinsics and pose, projection and its inverse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from itk_sim.errors import SimError
from itk_sim.gl import mujoco

CAMERAS = ("front", "wrist")


@dataclass(frozen=True, eq=False)
class CameraInfo:
    """A pinhole camera in the usual vision convention: x right, y down, z forward.

    Attributes:
        width, height: of the picture, px.
        K: (3,3) float64 intrinsics, px. Pixel (i, j) covers [i, i+1) x [j, j+1), so the picture's centre is at
            (width/2, height/2).
        world_from_camera: (4,4) float64 pose, metres.
    """

    name: str
    width: int
    height: int
    K: np.ndarray
    world_from_camera: np.ndarray

    def project(self, points_m: np.ndarray) -> np.ndarray:
        """World points (...,3) to pixels (...,2) as (u right, v down); NaN behind the camera."""
        pose = self.world_from_camera
        local = (np.asarray(points_m, float) - pose[:3, 3]) @ pose[:3, :3]
        depth = np.where(local[..., 2:] > 1e-6, local[..., 2:], np.nan)
        return (local @ self.K.T)[..., :2] / depth

    def unproject(self, px: np.ndarray, z_m: float) -> np.ndarray:
        """The world points (...,3) on the horizontal plane ``z_m`` that are seen at pixels (...,2)."""
        pixels = np.asarray(px, float)
        homogeneous = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], -1)
        ray = homogeneous @ np.linalg.inv(self.K).T @ self.world_from_camera[:3, :3].T
        eye = self.world_from_camera[:3, 3]
        if np.any(np.abs(ray[..., 2]) < 1e-9):
            raise SimError(f"a pixel's ray never meets the plane z={z_m} m; give pixels below the horizon")
        return eye + ray * ((z_m - eye[2]) / ray[..., 2])[..., None]

    def resized(self, size_px: int) -> CameraInfo:
        """The same camera with a square picture of another size."""
        scale = np.diag([size_px / self.width, size_px / self.height, 1.0])
        return replace(self, width=size_px, height=size_px, K=scale @ self.K)


def read_camera(model: mujoco.MjModel, data: mujoco.MjData, name: str, size_px: int) -> CameraInfo:
    """The calibration of a camera as it stands now (the wrist camera moves with the hand)."""
    index = camera_id(model, name)
    focal = size_px / 2 / np.tan(np.deg2rad(model.cam_fovy[index]) / 2)
    intrinsics = np.array([[focal, 0, size_px / 2], [0, focal, size_px / 2], [0, 0, 1.0]])
    pose = np.eye(4)
    # MuJoCo's camera has y up and looks along -z.
    pose[:3, :3] = data.cam_xmat[index].reshape(3, 3) * np.array([1.0, -1.0, -1.0])
    pose[:3, 3] = data.cam_xpos[index]
    return CameraInfo(name, size_px, size_px, intrinsics, pose)


def camera_id(model: mujoco.MjModel, name: str) -> int:
    if name not in CAMERAS:
        raise SimError(f"no camera {name!r}; allowed: {', '.join(CAMERAS)}")
    return int(model.camera(name).id)
