"""The service: tasks in, verified subgoals out. One task active, one pending; models never hold up the sockets.

    with SubgoalService("embedded") as service:  # a stack's name or file: its models run in a process of their own
        task_id = service.submit(frame, Task("put the red cube in the teal bowl"))

Anyone on this machine may submit and listen through `itk_embodied.bridges.SubgoalClient`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from itk_embodied.bridges.events import Job
from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.server import Listener, LoopConfig, ServiceLoop
from itk_embodied.bridges.sockets import DEFAULT_REQUESTS, DEFAULT_STREAM, HEARTBEAT_S
from itk_embodied.bridges.tally import Tally
from itk_embodied.bridges.wire import Encoding, ServiceState
from itk_embodied.bridges.worker import PipelineSource, StageReport, Worker
from itk_embodied.bridges.worker_process import ProcessWorker
from itk_embodied.bridges.worker_thread import ThreadWorker
from itk_embodied.bridges.worker_watch import WorkerConfig
from itk_embodied.errors import ConfigError, ItkError, TransportError
from itk_embodied.types import Frame, SubgoalSequence, Task


@dataclass(frozen=True)
class ServiceConfig:
    """Addresses and limits.

    Attributes:
        stream: where subgoals are published (PUB); port 0 takes any free one.
        requests: where requests are taken (ROUTER).
        deadline_s: what a task may take, waiting included, where its submitter says nothing.
        valid_s: how long after its camera frame a subgoal may be acted on, where its submitter says nothing.
        encoding: how pictures are sent: ``png`` (lossless), ``jpeg`` or ``raw``.
        heartbeat_s: seconds between heartbeats; clients call a service dead after three.
        hwm: messages queued for a slow subscriber before it loses some (it asks for them again).
        keep_tasks: ended tasks that a late joiner can still ask for.
        worker: budgets of the process that the models run in.
        guard: the service's CURVE key and its allow-list; without it only loopback addresses are possible.
    """

    stream: str = DEFAULT_STREAM
    requests: str = DEFAULT_REQUESTS
    deadline_s: float = 1800.0
    valid_s: float = 1800.0
    encoding: Encoding = "png"
    heartbeat_s: float = HEARTBEAT_S
    hwm: int = 64
    keep_tasks: int = 8
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    guard: Guard | None = None

    def __post_init__(self) -> None:
        for name in ("deadline_s", "valid_s", "heartbeat_s", "hwm", "keep_tasks"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be more than 0.")
        if self.encoding not in ("png", "jpeg", "raw"):
            raise ConfigError(f"encoding is {self.encoding!r}; allowed: png, jpeg, raw.")


class SubgoalService:
    """Runs a pipeline for whoever asks, here and over ZeroMQ.

    Args:
        pipeline: a stack's name or TOML file, whose models then run in a process of their own, watched and replaced;
            or a `VisualSubgoalPipeline` or a function that loads one, run in a thread; or a `Worker` of another kind.
            The state is visible as ``loading`` and ``warming`` meanwhile.
        on_message: called with every numbered message and its payload, in order. It runs in the thread that serves the
            sockets, so it must only hand them on.
        on_stage: called in the same thread when a model begins or ends.
        on_sequence: called with each finished `SubgoalSequence`, all attempts and pictures included, in the worker.
    """

    def __init__(
        self,
        pipeline: PipelineSource | Worker,
        config: ServiceConfig | None = None,
        *,
        on_message: Listener | None = None,
        on_sequence: Callable[[str, SubgoalSequence], None] | None = None,
        on_stage: Callable[[StageReport], None] | None = None,
    ) -> None:
        self.config = config or ServiceConfig()
        worker = self._worker(pipeline, on_sequence)
        self._loop = ServiceLoop(
            worker,
            LoopConfig(
                stream=self.config.stream,
                requests=self.config.requests,
                hwm=self.config.hwm,
                heartbeat_s=self.config.heartbeat_s,
                deadline_s=self.config.deadline_s,
                valid_s=self.config.valid_s,
                keep_tasks=self.config.keep_tasks,
                guard=self.config.guard,
            ),
            on_message=on_message,
            on_stage=on_stage,
        )

    def _worker(
        self, pipeline: PipelineSource | Worker, on_sequence: Callable[[str, SubgoalSequence], None] | None
    ) -> Worker:
        if isinstance(pipeline, Worker):
            if on_sequence is not None:
                raise ConfigError("on_sequence belongs to the worker; give it there.")
            return pipeline
        if isinstance(pipeline, str | Path):
            return ProcessWorker(
                pipeline, config=self.config.worker, encoding=self.config.encoding, on_sequence=on_sequence
            )
        return ThreadWorker(pipeline, encoding=self.config.encoding, on_sequence=on_sequence)

    @property
    def stream_address(self) -> str:
        """Where subgoals are published, the real port filled in."""
        return self._loop.stream_address

    @property
    def requests_address(self) -> str:
        """Where requests are taken, the real port filled in."""
        return self._loop.requests_address

    @property
    def state(self) -> tuple[ServiceState, str]:
        """``loading``, ``ready``, ``broken`` or ``stopping``, and why where it is not ready."""
        return self._loop.state

    @property
    def tally(self) -> Tally:
        """What has been since the service started, counted."""
        return self._loop.tally

    def start(self) -> None:
        """Begin to serve; returns at once. Use it once, or use ``with``.

        Raises:
            TransportError: the service runs already or has been stopped.
        """
        self._loop.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End open tasks as cancelled, tell everybody, and close. May be called twice."""
        self._loop.stop(timeout_s)

    def submit(
        self,
        frame: Frame,
        task: Task,
        *,
        deadline_s: float | None = None,
        max_attempts: int | None = None,
        valid_s: float | None = None,
        stamp_ns: int | None = None,
        task_id: str | None = None,
    ) -> str:
        """Queue a task and return its id at once; a pending task is replaced.

        Args:
            deadline_s: seconds from now; None for the configured ones.
            max_attempts: attempts per step; None for the pipeline's own.
            valid_s: seconds after the frame's stamp until which its subgoals may be acted on; None for the configured.
            stamp_ns: the frame's exact stamp where its source counts in nanoseconds.
        """
        if deadline_s is not None and not deadline_s > 0:
            raise ConfigError(f"deadline_s is {deadline_s}; it must be more than 0.")
        if valid_s is not None and not valid_s > 0:
            raise ConfigError(f"valid_s is {valid_s}; it must be more than 0.")
        if max_attempts is not None and max_attempts < 1:
            raise ConfigError(f"max_attempts is {max_attempts}; it must be 1 or more.")
        seconds = self.config.deadline_s if deadline_s is None else deadline_s
        job = Job(
            task_id=task_id or uuid.uuid4().hex,
            frame=frame,
            task=task,
            ends_s=time.monotonic() + seconds,
            deadline_s=seconds,
            stamp_ns=Job.stamp_of(frame) if stamp_ns is None else stamp_ns,
            frame_sha256=frame.sha256,
            max_attempts=max_attempts,
            valid_s=self.config.valid_s if valid_s is None else valid_s,
        )
        self._loop.tally.submitted += 1
        self._loop.call(lambda board: board.submit(job))
        return job.task_id

    def cancel(self, task_id: str = "") -> None:
        """Stop a task, or all of them for an empty id. Each still ends with its terminal message."""
        self._loop.call(lambda board: board.cancel(task_id, time.monotonic()))

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the models are loaded.

        Raises:
            TransportError: they are not within ``timeout_s``.
            ItkError: they could not be loaded, or the service was stopped.
        """
        ends_s = time.monotonic() + timeout_s
        pause = threading.Event()
        while True:
            state, detail = self.state
            if state == "ready":
                return
            if state in ("broken", "stopping"):
                raise ItkError(f"the service at {self.requests_address} is {state}: {detail or 'it was stopped'}")
            if time.monotonic() > ends_s:
                raise TransportError(
                    f"the service at {self.requests_address} is still {state} after {timeout_s:g} s; wait longer or "
                    "use a smaller stack."
                )
            pause.wait(0.01)

    def __enter__(self) -> SubgoalService:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
