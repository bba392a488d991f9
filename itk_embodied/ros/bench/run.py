"""Runs the bench: starts the ends, gives the bare library and ours their turns, and puts the ratios together."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_embodied.errors import MissingDependencyError, TransportError

PACED_HZ = 30.0
ALLOWED = 1.10
"""Our layer may add a tenth."""
_SETTLE_S, _POLL_S, _WAIT_S = 1.5, 0.05, 3.0
_PACED, _FLOODS, _FLOOD = 12, 4, 40


@dataclass(frozen=True)
class Comparison:
    """What is compared: ``into`` the node (a bare sender, receivers bare and ours), or ``out`` (the reverse)."""

    transport: str
    direction: str
    kind: str
    bare: str
    ours: str


PATHS = (
    Comparison("rclpy", "into", "image", "rclpy", "ours-rclpy"),
    Comparison("rclpy", "out", "png", "rclpy", "ours-rclpy"),
    Comparison("rosbridge", "into", "jpeg", "roslibpy", "ours-rosbridge"),
    Comparison("rosbridge", "out", "png", "roslibpy", "ours-rosbridge"),
)
WHAT = {"image": "640x480 frame, raw", "jpeg": "640x480 frame, JPEG", "png": "128x128 subgoal, PNG"}


@dataclass
class Figures:
    """Latencies, and messages a second of each flood.

    Ratios are made of the quicker quartile of each: on a machine that does other work too, the rest measures that work.
    Where even that is noise, the processor time of the end that differs tells: it hardly depends on what else runs.
    """

    latency_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    lost: int = 0
    cpu_s: float = 0.0
    flooded: int = 0

    def _latency(self, share: float) -> float:
        return sorted(self.latency_ms)[int(share * len(self.latency_ms))]

    def summary(self) -> dict[str, float]:
        return {
            "latency_ms": round(self._latency(0.25), 4),
            "latency_median_ms": round(self._latency(0.5), 4),
            "latency_p95_ms": round(self._latency(0.95), 4),
            "messages_per_s": round(sorted(self.rates)[int(0.75 * len(self.rates))], 2),
            "messages_per_s_median": round(statistics.median(self.rates), 2),
            "cpu_us_per_message": round(1e6 * self.cpu_s / max(1, self.flooded), 1),
            "frames": len(self.latency_ms),
            "lost": self.lost,
        }


class End:
    """A process of `ends`, told what to do."""

    def __init__(self, python: str, *arguments: str) -> None:
        command = [python, "-m", "itk_embodied.ros.bench.ends", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._name = " ".join(arguments)

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise TransportError(f"the bench's process '{self._name}' ended; its message is above.")
        return dict(json.loads(line))

    def tell(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def measure(path: Comparison, python: str, url: str, rounds: int) -> dict[str, Any]:
    """Bare and ours in turns, so that what else the machine does hits both alike."""
    figures = {"bare": Figures(), "ours": Figures()}
    with contextlib.ExitStack() as closing:
        ends: dict[str, tuple[End, End]] = {}
        for who in figures:
            library = path.bare if who == "bare" else path.ours
            source, sink = (path.bare, library) if path.direction == "into" else (library, path.bare)
            # A name of its own: a graph remembers for a while what was killed, and its types.
            topic = f"/bench_{os.getpid()}/{path.transport}/{path.direction}/{who}"
            extra = (url,) if url else ()
            pair = (End(python, source, "source", topic, path.kind, *extra),
                    End(python, sink, "sink", topic, path.kind, *extra))  # fmt: skip
            for end in pair:
                closing.callback(end.close)
            ends[who] = pair
        for pair in ends.values():
            for end in pair:
                end.hear()
        time.sleep(_SETTLE_S)
        for turn in range(rounds + 1):  # the first warms up
            order = ("bare", "ours") if turn % 2 else ("ours", "bare")
            for who in order:
                sender, receiver = ends[who]
                compared = receiver if path.direction == "into" else sender
                _turn(sender, receiver, compared, figures[who] if turn else Figures())
    for who, found in figures.items():
        if not found.latency_ms or not found.rates:
            raise TransportError(
                f"none of {found.lost} messages of {path.bare if who == 'bare' else path.ours} arrived over "
                f"{path.transport}: nothing to compare; end what else uses this ROS domain, or try again."
            )
    bare, ours = figures["bare"].summary(), figures["ours"].summary()
    latency = ours["latency_ms"] / bare["latency_ms"]
    throughput = ours["messages_per_s"] / bare["messages_per_s"]
    return {
        "transport": path.transport,
        "direction": path.direction,
        "what": WHAT[path.kind],
        "bare": {"library": path.bare, **bare},
        "ours": ours,
        "latency_ratio": round(latency, 3),
        "throughput_ratio": round(throughput, 3),
        "cpu_ratio": round(ours["cpu_us_per_message"] / bare["cpu_us_per_message"], 3),
        "within": latency <= ALLOWED and throughput >= 1 / ALLOWED,
    }


def _turn(source: End, sink: End, compared: End, figures: Figures) -> None:
    source.tell(f"paced {_PACED} {PACED_HZ:g}")
    came = _collect(sink, _PACED)
    figures.latency_ms += [(took - sent) / 1e6 for sent, took in came]
    figures.lost += _PACED - len(came)
    before_s = compared.tell("report")["cpu_s"]
    for _ in range(_FLOODS):
        source.tell(f"flood {_FLOOD}")
        came = _collect(sink, _FLOOD)
        figures.lost += _FLOOD - len(came)
        figures.flooded += len(came)
        if came:
            figures.rates.append(len(came) / ((max(took for _, took in came) - came[0][0]) / 1e9))
    figures.cpu_s += compared.tell("report")["cpu_s"] - before_s


def _collect(sink: End, wanted: int) -> list[tuple[int, int]]:
    """(sent, received) of what came, waiting for all of it, but not for ever."""
    came: list[tuple[int, int]] = []
    ends_s = time.monotonic() + _WAIT_S
    while len(came) < wanted and time.monotonic() < ends_s:
        time.sleep(_POLL_S)
        said = sink.tell("report")
        came += zip(said["sent_ns"], said["received_ns"], strict=True)
    return came


def inproc(frames: int) -> dict[str, Any]:
    """The in-process backend has nothing beneath it: absolute figures only."""
    import numpy as np

    from itk_embodied import ros
    from itk_embodied.ros.bench.ends import payload
    from itk_embodied.ros.pictures import image_message, stamp_ns

    figures = Figures()
    ros.use_backend("inproc")
    ros.init(args=[])
    try:
        node = ros.create_node("bench")
        executor = ros.SingleThreadedExecutor()  # type: ignore[attr-defined]
        executor.add_node(node)
        Image = ros.message_type("sensor_msgs/msg/Image")

        def take(message: Any) -> None:
            figures.latency_ms.append((time.monotonic_ns() - stamp_ns(message.header)) / 1e6)

        node.create_subscription(Image, "frame", take, 1)
        publisher = node.create_publisher(Image, "frame", 1)
        picture = np.frombuffer(payload("image"), np.uint8).reshape(480, 640, 3)
        began_s = time.monotonic()
        for _ in range(frames):
            publisher.publish(image_message(picture, time.monotonic_ns(), "front"))
            executor.spin_once(timeout_sec=1.0)
        figures.rates.append(frames / (time.monotonic() - began_s))
    finally:
        ros.shutdown()
    return {"transport": "inproc", "direction": "into", "what": WHAT["image"], "ours": figures.summary()}


def ros_python() -> str:
    """An interpreter with rclpy and roslibpy.

    Raises:
        MissingDependencyError: there is none here.
    """
    for python in (sys.executable, ".venv-ros/bin/python"):
        asked = [python, "-c", "import rclpy, roslibpy"]
        if Path(python).exists() and subprocess.run(asked, capture_output=True).returncode == 0:
            return python
    raise MissingDependencyError("the bench needs an interpreter with rclpy and roslibpy; make one: make ros-env")


@contextlib.contextmanager
def bridge(url: str | None) -> Iterator[str]:
    """The bridge at ``url``, or one started for the bench."""
    if url is not None:
        yield url
        return
    script = Path("tools/rosbridge.sh")
    if not script.exists():
        raise MissingDependencyError("name a running rosbridge: --bridge ws://HOST:PORT (or run this in the checkout)")
    port = 9390 + os.getpid() % 500
    server = subprocess.Popen(
        ["sh", str(script), "--bind", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(_SETTLE_S)
        yield f"ws://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def bench_ros(rounds: int, url: str | None = None) -> dict[str, Any]:
    """All paths. ROS stays on this machine and in a domain of its own unless the environment says otherwise."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    profile = Path("launch/fastdds_images.xml")
    if profile.exists():
        os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(profile.resolve()))
    python = ros_python()
    results = [inproc(12 * rounds)]
    with bridge(url) as at:
        for path in PATHS:
            results.append(measure(path, python, at if path.transport == "rosbridge" else "", rounds))
    compared = [result for result in results if "within" in result]
    return {"allowed_ratio": ALLOWED, "within": all(result["within"] for result in compared), "results": results}
