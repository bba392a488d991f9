"""What every node executable does: arguments, logging, spinning, and a clean end on Ctrl-C and SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from itk_embodied import ros
from itk_embodied.bridges.sockets import DEFAULT_REQUESTS, DEFAULT_STREAM
from itk_embodied.errors import ConfigError, ItkError
from itk_embodied.ros.rosbridge import BridgeOptions, RosbridgeBackend
from itk_nodes import rosout
from itk_nodes.parameters import refuse_unknown

_SPIN_S = 0.1
_ROS_MODULES = ("rclpy", "itk_embodied.ros")
"""Where errors come from that say what is wrong with an argument: a malformed name, a value of the wrong type."""


class Closeable(Protocol):
    def close(self) -> None: ...


def node_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name, description=description, epilog="After --ros-args: -r FROM:=TO, -p NAME:=VALUE, --params-file FILE."
    )
    parser.add_argument("--backend", default=None, choices=ros.backend_names(), help="what stands behind the ROS API")
    parser.add_argument("--bridge", default=None, metavar="URL", help="rosbridge backend: ws://HOST:PORT")
    parser.add_argument("--ros-version", type=int, default=None, choices=(1, 2), help="rosbridge backend: behind it")
    return parser


def choose_backend(options: argparse.Namespace) -> None:
    """``--backend``, and for rosbridge ``--bridge`` and ``--ros-version`` over what the environment says.

    Raises:
        ConfigError: a bridge is named, but another backend than rosbridge.
    """
    given = {"url": options.bridge, "ros_version": options.ros_version}
    given = {name: value for name, value in given.items() if value is not None}
    name = options.backend or ("rosbridge" if given else None)
    if name is None:
        return
    backend = ros.use_backend(name)
    if isinstance(backend, RosbridgeBackend):
        backend.options = replace(BridgeOptions.from_environment(), **given)
    elif given:
        raise ConfigError(f"--bridge and --ros-version are for --backend rosbridge, not for {name}; leave them out.")


def split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours, and those between ``--ros-args`` and ``--``."""
    ours: list[str] = []
    theirs: list[str] = []
    inside = False
    for word in argv:
        inside = True if word == "--ros-args" else inside
        (theirs if inside else ours).append(word)
        inside = False if word == "--" else inside
    return ours, theirs


def set_up_logging() -> None:
    """One line a record on stderr, as ROS prints them; a program that has set up logging keeps its own."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] [%(created).3f] [%(name)s]: %(message)s")


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process at once."""
    stop = threading.Event()

    def handle(signum: int, frame: object) -> None:
        if stop.is_set():
            os._exit(128 + signum)
        stop.set()

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def spin_until(executor: Any, stop: threading.Event) -> None:
    """Run callbacks until ``stop`` is set or the context is shut down from elsewhere."""
    with contextlib.suppress(ros.ExternalShutdownException):
        while not stop.is_set() and ros.ok():
            executor.spin_once(timeout_sec=_SPIN_S)


def run_node(
    name: str,
    make: Callable[..., Closeable],
    argv: Sequence[str] | None = None,
    *,
    parser: argparse.ArgumentParser | None = None,
    description: str = "",
) -> int:
    """Make one node and spin it until a signal comes. Returns the exit code.

    Args:
        make: given the node and, where ``parser`` is given, the parsed options.
    """
    ours, theirs = split_arguments(sys.argv[1:] if argv is None else argv)
    own_parser = parser or node_parser(name, description)
    options = own_parser.parse_args(ours)
    set_up_logging()
    try:
        choose_backend(options)
        ros.init(args=theirs)
        with stop_on_signals() as stop, contextlib.ExitStack() as closing:
            closing.callback(ros.try_shutdown)
            node = ros.create_node(name)
            closing.callback(node.destroy_node)
            closing.callback(rosout.attach(node))
            made = make(node, options) if parser else make(node)
            closing.callback(made.close)
            refuse_unknown(node, theirs)
            executor = ros.SingleThreadedExecutor()
            executor.add_node(node)
            spin_until(executor, stop)
    except ItkError as error:
        return _fail(name, str(error), error.exit_code)
    except Exception as error:
        if not type(error).__module__.startswith(_ROS_MODULES):
            raise
        return _fail(name, str(error) or type(error).__name__, 2)
    return 0


def _fail(name: str, message: str, code: int) -> int:
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


def run_subgoal_node(argv: Sequence[str] | None = None) -> int:
    from itk_embodied.service import ServiceConfig
    from itk_nodes.visual_subgoal_node import NAME, VisualSubgoalNode

    parser = node_parser(NAME, "Camera frames and a task in; verified visual subgoals out.")
    parser.add_argument("--stack", default="embedded", help="a shipped stack's name or a TOML file")
    parser.add_argument("--stream", default=DEFAULT_STREAM, help="where to publish subgoals over ZeroMQ")
    parser.add_argument("--requests", default=DEFAULT_REQUESTS, help="where to take requests over ZeroMQ")

    def make(node: Any, options: argparse.Namespace) -> Closeable:
        # By name, so that the models run in a process of their own that is watched and replaced.
        return VisualSubgoalNode(node, options.stack, ServiceConfig(stream=options.stream, requests=options.requests))

    return run_node(NAME, make, argv, parser=parser)
