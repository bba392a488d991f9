"""Where the rosbridge is and which ROS stands behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from itk_embodied.errors import ConfigError

DEFAULT_URL = "ws://127.0.0.1:9090"
_URL, _ROS, _WAIT = "ITK_ROSBRIDGE_URL", "ITK_ROSBRIDGE_ROS", "ITK_ROSBRIDGE_WAIT_S"


@dataclass(frozen=True)
class BridgeOptions:
    """How to reach a rosbridge.

    Attributes:
        url: ``ws://HOST:PORT`` or ``wss://HOST:PORT``, with a path where the bridge has one.
        ros_version: 1 or 2: how types and stamps are written.
        wait_s: how long `init` waits for the bridge before it gives up.
        slowest_retry_s: the longest pause between two attempts to get a lost bridge back.
    """

    url: str = DEFAULT_URL
    ros_version: int = 2
    wait_s: float = 10.0
    slowest_retry_s: float = 5.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("ws", "wss") and parts.hostname and parts.port
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"rosbridge URL {self.url!r} is not understood; write ws://HOST:PORT ({DEFAULT_URL}).")
        if self.ros_version not in (1, 2):
            raise ConfigError(f"the ROS version behind the rosbridge is {self.ros_version!r}; allowed: 1, 2.")
        if not self.wait_s > 0:
            raise ConfigError(f"the wait for the rosbridge is {self.wait_s!r} s; it must be more than 0.")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> BridgeOptions:
        """``ITK_ROSBRIDGE_URL``, ``ITK_ROSBRIDGE_ROS`` (1 or 2) and ``ITK_ROSBRIDGE_WAIT_S``."""
        try:
            return cls(
                url=environment.get(_URL, DEFAULT_URL),
                ros_version=int(environment.get(_ROS, "2")),
                wait_s=float(environment.get(_WAIT, "10")),
            )
        except ValueError as error:
            raise ConfigError(f"{_ROS} must be 1 or 2 and {_WAIT} a number of seconds: {error}") from error
