"""The worker process: loads a stack, runs jobs, tells its service. Started by `ProcessWorker`, never by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from itk_embodied.bridges.codec import Part, clip
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.images import decode_image
from itk_embodied.bridges.plans import plan_from
from itk_embodied.bridges.wire import Header
from itk_embodied.bridges.worker import IdleReport, MessageReport, Report, StageReport, StateReport
from itk_embodied.bridges.worker_link import TO_WORKER, Alive, Exit, Idle, Link, LogLine, Run, Setup, Stage, State, Stop
from itk_embodied.bridges.worker_records import send_event
from itk_embodied.bridges.worker_thread import ThreadWorker
from itk_embodied.types import Frame, Task

ALIVE_S = 0.25


class Child:
    """The process's side of the link. A service that is gone ends it at once."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def send(self, message: Header, payload: Part = b"") -> None:
        try:
            self._link.send(message, payload)
        except OSError:
            os._exit(0)

    def post(self, report: Report) -> None:
        """A report of the thread that runs the models."""
        if isinstance(report, MessageReport):
            self.send(report.message, report.payload)
        elif isinstance(report, StageReport):
            stage = report.stage
            self.send(Stage(task_id=report.task_id, stage=stage, budget_s=report.budget_s, seconds=report.seconds))
        elif isinstance(report, StateReport):
            self.send(State(state=report.state, detail=clip(report.detail, 100_000), stack=clip(report.stack, 200)))
        elif isinstance(report, IdleReport):
            self.send(Idle(task_id=report.task_id))

    def beat(self) -> None:
        while True:
            self.send(Alive())
            time.sleep(ALIVE_S)

    def serve(self) -> None:
        """Load, then take jobs until told to exit."""
        first = self._read()
        assert isinstance(first, Setup)
        setup = first
        logging.basicConfig(level=setup.log_level, handlers=[_LinkHandler(self)], force=True)
        worker = ThreadWorker(
            lambda: _load(setup),
            encoding=setup.encoding,
            warm_up_s=setup.warm_up_s,
            on_event=(lambda task_id, event: send_event(task_id, event, self.send)) if setup.records else None,
        )
        threading.Thread(target=self.beat, name="alive", daemon=True).start()
        worker.start(self.post)
        while not isinstance(message := self._read(), Exit):
            if isinstance(message, Run):
                worker.run(self._job(message))
            elif isinstance(message, Stop):
                worker.cancel(message.task_id)

    def _read(self) -> Any:
        received = self._link.read()
        assert received is not None, "a blocking link waits"
        self._payload = received.payload
        return received.message

    def _job(self, run: Run) -> Job:
        now_s = time.monotonic()
        frame = Frame(decode_image(run.image, self._payload), stamp_s=run.stamp_s, frame_id=run.frame_id)
        return Job(
            task_id=run.task_id,
            frame=frame,
            task=Task(run.task, seed=run.seed, plan=plan_from(run.plan)),
            ends_s=now_s + run.left_s,
            deadline_s=run.deadline_s,
            stamp_ns=run.stamp_ns,
            frame_sha256=run.frame_sha256,
            max_attempts=run.max_attempts,
            valid_s=run.valid_s,
            taken_s=now_s - run.age_s,
        )


class _LinkHandler(logging.Handler):
    """Log records go to the service's log, so that there is one log, in one format."""

    def __init__(self, child: Child) -> None:
        super().__init__()
        self._child = child

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._child.send(LogLine(level=record.levelno, logger=clip(record.name, 200), text=clip(text, 100_000)))


def _load(setup: Setup) -> Any:
    from itk_embodied.run import build_pipeline

    return build_pipeline(setup.stack, **setup.settings)


def _be_first_to_go() -> None:
    """Where memory runs out, Linux shall end the models, which are replaced, and not the service."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main() -> None:
    """``python -m itk_embodied.bridges.worker_child FD``: serve the socket that was handed down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's business; it ends us
    _be_first_to_go()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    with contextlib.suppress(EOFError):
        Child(Link(sock, TO_WORKER)).serve()
    # The models' threads and libraries have nothing to save; waiting for them could take for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
