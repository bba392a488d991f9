"""The same API over a rosbridge, for machines without ROS; ROS 1 or ROS 2 stands behind the bridge.

Nodes, executors, timers, parameters and logging are the in-process backend's; topics and services go over the bridge.
"""

from __future__ import annotations

from collections.abc import Sequence

from itk_embodied.ros.inproc import InprocBackend
from itk_embodied.ros.inproc.context import get_default_context
from itk_embodied.ros.rosbridge.graph import BridgeGraph
from itk_embodied.ros.rosbridge.options import BridgeOptions

__all__ = ["BridgeOptions", "RosbridgeBackend"]


class RosbridgeBackend(InprocBackend):
    """Implements `itk_embodied.ros.backend.Backend`. Set ``options`` before `init`; None: from the environment."""

    name = "rosbridge"
    options: BridgeOptions | None = None

    def init(self, args: Sequence[str] | None = None) -> None:
        options = self.options or BridgeOptions.from_environment()
        get_default_context().init(args, graph=lambda: BridgeGraph(options))
        self._executor = None
