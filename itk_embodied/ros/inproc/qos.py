"""Quality of service, shaped as ``rclpy.qos``. Honoured: depth, and reliability and durability as ROS matches them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any


class InvalidQoSProfileException(Exception):
    """A profile that says neither history nor depth."""

    def __init__(self, *args: object) -> None:
        super().__init__("Invalid QoSProfile", *args)


class HistoryPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2
    UNKNOWN = 3


class ReliabilityPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2
    UNKNOWN = 3
    BEST_AVAILABLE = 4


class DurabilityPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    TRANSIENT_LOCAL = 1
    VOLATILE = 2
    UNKNOWN = 3
    BEST_AVAILABLE = 4


class LivelinessPolicy(IntEnum):
    SYSTEM_DEFAULT = 0
    AUTOMATIC = 1
    MANUAL_BY_TOPIC = 3
    UNKNOWN = 4
    BEST_AVAILABLE = 5


@dataclass(kw_only=True, eq=True)
class QoSProfile:
    """``QoSProfile(depth=10)``; keyword arguments only, history or depth needed, as in rclpy."""

    history: HistoryPolicy | None = None
    depth: int | None = None
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
    durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
    lifespan: Any = None
    deadline: Any = None
    liveliness: LivelinessPolicy = LivelinessPolicy.SYSTEM_DEFAULT
    liveliness_lease_duration: Any = None
    avoid_ros_namespace_conventions: bool = False

    def __post_init__(self) -> None:
        if self.history is None:
            if self.depth is None:
                raise InvalidQoSProfileException("History and/or depth settings are required.")
            self.history = HistoryPolicy.KEEP_LAST
        if self.depth is None:
            if self.history == HistoryPolicy.KEEP_LAST:
                raise InvalidQoSProfileException("History set to KEEP_LAST without a depth setting.")
            self.depth = 0
        if not isinstance(self.depth, int) or self.depth < 0:
            raise ValueError(f"QoS depth is {self.depth!r}; it must be an integer, 0 or more")

    @property
    def queue_length(self) -> int | None:
        """How many messages are kept; None for all of them."""
        return None if self.history == HistoryPolicy.KEEP_ALL else max(1, self.depth or 0)


qos_profile_sensor_data = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
qos_profile_services_default = QoSProfile(depth=10)
qos_profile_parameters = QoSProfile(depth=1000)
qos_profile_parameter_events = QoSProfile(depth=1000)
qos_profile_system_default = QoSProfile(
    history=HistoryPolicy.SYSTEM_DEFAULT,
    depth=0,
    reliability=ReliabilityPolicy.SYSTEM_DEFAULT,
    durability=DurabilityPolicy.SYSTEM_DEFAULT,
)


class QoSPresetProfiles(Enum):
    SYSTEM_DEFAULT = qos_profile_system_default
    SENSOR_DATA = qos_profile_sensor_data
    SERVICES_DEFAULT = qos_profile_services_default
    PARAMETERS = qos_profile_parameters
    PARAMETER_EVENTS = qos_profile_parameter_events


QoSHistoryPolicy = HistoryPolicy
QoSReliabilityPolicy = ReliabilityPolicy
QoSDurabilityPolicy = DurabilityPolicy
QoSLivelinessPolicy = LivelinessPolicy


def as_profile(qos: QoSProfile | int) -> QoSProfile:
    """An integer is the depth of an otherwise default profile."""
    if isinstance(qos, QoSProfile):
        return qos
    if isinstance(qos, int) and not isinstance(qos, bool):
        return QoSProfile(depth=qos)
    raise TypeError(f"Expected QoSProfile or int, but received {qos!r}")


def incompatibility(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Why ROS would not connect this publisher and subscription; empty where it would."""
    best_effort = offered.reliability == ReliabilityPolicy.BEST_EFFORT
    if best_effort and wanted.reliability == ReliabilityPolicy.RELIABLE:
        return "the publisher is best effort, the subscription asks for reliable"
    latched = offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
    if wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL and not latched:
        return "the publisher is volatile, the subscription asks for transient local"
    return ""
