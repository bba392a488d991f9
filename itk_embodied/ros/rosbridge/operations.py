"""The operations of the rosbridge protocol that we send and receive, as JSON bytes.

QoS goes along where a bridge understands it (rosbridge-server-rs does); `latch` and `queue_length` tell the others.
"""

from __future__ import annotations

from typing import Any

import msgspec

from itk_embodied.ros.inproc.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

_HISTORY = {HistoryPolicy.KEEP_LAST: "keep_last", HistoryPolicy.KEEP_ALL: "keep_all"}
_RELIABILITY = {ReliabilityPolicy.RELIABLE: "reliable", ReliabilityPolicy.BEST_EFFORT: "best_effort"}
_DURABILITY = {DurabilityPolicy.TRANSIENT_LOCAL: "transient_local", DurabilityPolicy.VOLATILE: "volatile"}
_encoder = msgspec.json.Encoder()


class Incoming(msgspec.Struct):
    """Any operation that a bridge sends. The message itself stays encoded until somebody wants it."""

    op: str
    id: str | None = None
    topic: str = ""
    msg: msgspec.Raw = msgspec.Raw(b"null")
    service: str = ""
    args: msgspec.Raw = msgspec.Raw(b"null")
    values: msgspec.Raw = msgspec.Raw(b"null")
    result: bool = True
    level: str = ""


decode = msgspec.json.Decoder(Incoming).decode


def _operation(op: str, **fields: Any) -> bytes:
    return _encoder.encode({"op": op, **fields})


def _qos(profile: QoSProfile) -> dict[str, Any]:
    """What ROS calls system default is left out."""
    history = HistoryPolicy.KEEP_LAST if profile.history is None else profile.history
    given: dict[str, Any] = {
        "history": _HISTORY.get(history),
        "reliability": _RELIABILITY.get(profile.reliability),
        "durability": _DURABILITY.get(profile.durability),
    }
    if given["history"] == "keep_last":
        given["depth"] = profile.queue_length
    return {name: value for name, value in given.items() if value is not None}


def is_latched(profile: QoSProfile) -> bool:
    return profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


def advertise(identity: str, topic: str, kind: str, profile: QoSProfile) -> bytes:
    return _operation(
        "advertise",
        id=identity,
        topic=topic,
        type=kind,
        latch=is_latched(profile),
        queue_size=profile.queue_length or 100,
        qos=_qos(profile),
    )


def unadvertise(identity: str, topic: str) -> bytes:
    return _operation("unadvertise", id=identity, topic=topic)


def publish(topic: str, plain: dict[str, Any], profile: QoSProfile) -> bytes:
    """``latch`` once more, or rosbridge_suite warns at every message that it was advertised with another one."""
    latch = {"latch": True} if is_latched(profile) else {}
    return _operation("publish", topic=topic, msg=plain, **latch)


def subscribe(identity: str, topic: str, kind: str, profile: QoSProfile) -> bytes:
    """``queue_length`` is the depth, so that a bridge keeps no more for us than we would: 1 for camera frames."""
    return _operation(
        "subscribe",
        id=identity,
        topic=topic,
        type=kind,
        compression="none",
        throttle_rate=0,
        queue_length=profile.queue_length or 0,
        qos=_qos(profile),
    )


def unsubscribe(identity: str, topic: str) -> bytes:
    return _operation("unsubscribe", id=identity, topic=topic)


def advertise_service(name: str, kind: str) -> bytes:
    return _operation("advertise_service", service=name, type=kind)


def unadvertise_service(name: str) -> bytes:
    return _operation("unadvertise_service", service=name)


def call_service(identity: str, name: str, kind: str, plain: dict[str, Any]) -> bytes:
    return _operation("call_service", id=identity, service=name, type=kind, args=plain)


def service_response(identity: str | None, name: str, plain: dict[str, Any]) -> bytes:
    return _operation("service_response", id=identity, service=name, values=plain, result=True)
