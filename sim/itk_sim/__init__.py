"""The simulated table: scenes, cameras, tasks, an expert and a goal-image policy.

Importing this package needs neither mujoco nor torch: names load when they are asked for, so the words of the table
(:mod:`itk_sim.symbols`) and the language can be used anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME_OF = {
    "SimError": "errors",
    "SceneSpec": "scene",
    "sample_scene": "scene",
    "Randomisation": "randomise",
    "Table": "table",
    "Snapshot": "table",
    "CameraInfo": "cameras",
    "goal_image": "goals",
    "Pair": "pairs",
    "sample_pair": "pairs",
    "SceneState": "symbols",
    "Step": "symbols",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
