"""A worker that paints nothing: it posts subgoals as fast, or as evenly, as a task's words ask for. For benchmarks."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from itk_embodied.bridges.events import Job
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.wire import Encoding, EndMessage, SubgoalMessage
from itk_embodied.bridges.worker import IdleReport, MessageReport, Post, StateReport
from itk_embodied.types import Image, image_hash


def burst_task(count: int, pause_s: float) -> str:
    """The task that asks for ``count`` subgoals, ``pause_s`` after each."""
    return f"burst {count} {pause_s}"


class BurstWorker:
    """Says when it sent each subgoal in the message's ``seed`` (`time.monotonic_ns`).

    The pixels' hash is worked out once: it belongs to the painting of a goal, not to its way to the robot. Encoding for
    the wire is done for every message.
    """

    def __init__(self, image: Image, encoding: Encoding) -> None:
        self._image = image
        self._encoding: Encoding = encoding
        self._sha256 = image_hash(image)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="burst-worker", daemon=True)
        self._stop = threading.Event()
        self._post: Post = lambda report: None

    def start(self, post: Post) -> None:
        self._post = post
        self._thread.start()
        post(StateReport("ready", stack="burst"))

    def run(self, job: Job) -> None:
        self._jobs.put(job)

    def cancel(self, task_id: str) -> None:
        """A burst is over soon enough."""

    def stop(self, timeout_s: float) -> None:
        self._stop.set()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _main(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._burst(job)
            self._post(IdleReport(job.task_id))

    def _burst(self, job: Job) -> None:
        _, count, pause_s = job.task.text.split()
        fields: dict[str, Any] = {**job.fields, "stack": "burst", "valid_until_ns": job.valid_until_ns}
        for step in range(1, int(count) + 1):
            now_ns = time.monotonic_ns()
            info, payload = encode_image(self._image, self._encoding, hashed=self._encoding != "raw")
            message = SubgoalMessage(
                **fields,
                step=step,
                step_count=int(count),
                instruction="put the red cube in the teal bowl",
                prompt="put the red cube in the teal bowl",
                status="verified",
                attempt=1,
                attempts=1,
                seed=now_ns,
                score=0.9,
                image=info,
                image_sha256=self._sha256,
            )
            self._post(MessageReport(message, payload))
            if float(pause_s) and self._stop.wait(float(pause_s)):
                return
        self._post(MessageReport(EndMessage(**job.fields, status="verified", verified=int(count)), b""))
