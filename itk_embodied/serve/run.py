"""Runs the service until a signal comes."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from itk_embodied.agents.stacks import read_stack
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import AttemptMessage, EndMessage, PlanMessage, SubgoalMessage, TaskMessage
from itk_embodied.errors import ItkError
from itk_embodied.serve.config import LogTable, MetricsTable, ServeConfig, read_config
from itk_embodied.serve.logs import set_up_logs
from itk_embodied.serve.metrics import MetricsServer
from itk_embodied.service import SubgoalService

log = logging.getLogger("itk_embodied.serve")

_LOOK_S = 0.2


def serve(
    config_file: Path | None,
    *,
    stack: str | None = None,
    bind: str | None = None,
    metrics: str | None = None,
    json_logs: bool = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C; the running task then ends as cancelled. Options win over the file.

    Raises:
        ItkError: the configuration, stack, keys or addresses cannot be used, or the models cannot be loaded.
    """
    config, folder = read_config(config_file)
    config = _with_options(config, stack, bind, metrics, json_logs)
    set_up_logs(as_json=config.log.json, level=config.log.level)
    read_stack(config.service.stack)  # a mistake in it is told now, not when the worker has started
    with _signals() as stop, contextlib.ExitStack() as closing:
        service = SubgoalService(config.service.stack, config.service_config(folder), on_message=_log_message)
        closing.enter_context(service)
        log.info(
            "serving stack %s: stream %s, requests %s",
            config.service.stack,
            service.stream_address,
            service.requests_address,
            extra={"stream": service.stream_address, "requests": service.requests_address},
        )
        if config.metrics is not None:
            server = MetricsServer(service, config.metrics.bind)
            closing.callback(server.close)
            log.info("metrics at %s/metrics", server.address, extra={"metrics": server.address})
        _watch(service, stop)
    log.info("stopped")


def _with_options(
    config: ServeConfig, stack: str | None, bind: str | None, metrics: str | None, json_logs: bool
) -> ServeConfig:
    table = config.service
    if stack is not None:
        table = msgspec.structs.replace(table, stack=stack)
    if bind is not None:
        table = msgspec.structs.replace(table, bind=bind)
    config = msgspec.structs.replace(config, service=table)
    if metrics is not None:
        config = msgspec.structs.replace(config, metrics=MetricsTable(bind=metrics))
    if json_logs:
        config = msgspec.structs.replace(config, log=LogTable(json=True, level=config.log.level))
    return config


def _watch(service: SubgoalService, stop: threading.Event) -> None:
    """Log every change of state until told to stop.

    Raises:
        ItkError: the models cannot be loaded.
    """
    before = ("", "")
    while not stop.is_set():
        state, detail = now = service.state
        if now != before:
            log.info("the service is %s%s", state, f": {detail}" if detail else "", extra={"state": state})
            before = now
        if state == "broken":
            raise ItkError(detail or "the service broke; see its log")
        stop.wait(_LOOK_S)
    log.info("told to stop; the running task ends as cancelled")


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _log_message(message: TaskMessage, payload: Part) -> None:
    """In the I/O thread: one line for what matters of a task."""
    if isinstance(message, PlanMessage):
        log.info("task planned, steps: %d", len(message.steps), extra={"task_id": message.task_id, "event": "plan"})
    elif isinstance(message, AttemptMessage):
        log.debug(
            "step %d, attempt %d: %s",
            message.step,
            message.attempt,
            message.state,
            extra={"task_id": message.task_id, "event": "attempt"},
        )
    elif isinstance(message, SubgoalMessage):
        log.info(
            "step %d is %s",
            message.step,
            message.status,
            extra={"task_id": message.task_id, "event": "subgoal", "status": message.status, "score": message.score},
        )
    elif isinstance(message, EndMessage):
        log.info(
            "task ended: %s%s",
            message.status,
            f" ({message.reason})" if message.reason else "",
            extra={"task_id": message.task_id, "event": "end", "status": message.status, "seconds": message.total_s},
        )
