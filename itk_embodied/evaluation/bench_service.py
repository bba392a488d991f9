"""From submit to the first verified subgoal, over ZeroMQ, and how much of it is not the models."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from itk_embodied.bridges import SubgoalClient
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import SubgoalMessage, TaskMessage
from itk_embodied.bridges.worker import PipelineSource, StageReport
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, Task

_ANYWHERE = "tcp://127.0.0.1:0"
_LOAD_S, _TASK_S = 1800.0, 1800.0


class _ModelTime:
    """Seconds in the models of each task, up to its first verified subgoal."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._closed: set[str] = set()

    def on_stage(self, report: StageReport) -> None:
        if report.seconds is not None and report.task_id not in self._closed:
            self.seconds[report.task_id] = self.seconds.get(report.task_id, 0.0) + report.seconds

    def on_message(self, message: TaskMessage, payload: Part) -> None:
        if isinstance(message, SubgoalMessage) and message.status == "verified":
            self._closed.add(message.task_id)


def bench_service(pipeline: PipelineSource, tasks: Iterable[tuple[Frame, Task]]) -> dict[str, Any]:
    """Run every task through a service and a client; the first is a warm-up that is not counted.

    Returns:
        ``first_subgoal_s`` {p50, p99, mean} from before submit to the goal's pixels in the client's hands, for the
        ``counted`` tasks that had a verified subgoal; ``other_share``: what of that time no model was working;
        ``tasks`` in all.
    """
    clock = _ModelTime()
    firsts: list[float] = []
    models: list[float] = []
    config = ServiceConfig(_ANYWHERE, _ANYWHERE)
    with (
        SubgoalService(pipeline, config, on_message=clock.on_message, on_stage=clock.on_stage) as service,
        SubgoalClient(service.stream_address, service.requests_address) as client,
    ):
        client.wait_ready(_LOAD_S)
        count = -1
        for count, (frame, task) in enumerate(tasks):
            began_s = time.monotonic()
            task_id = client.submit(frame, task)
            first_s: float | None = None
            for goal in client.subgoals(task_id, deadline_s=_TASK_S, accept_expired=True):
                if first_s is None and goal.image is not None:
                    first_s = time.monotonic() - began_s
            if count and first_s is not None:
                firsts.append(first_s)
                models.append(clock.seconds.get(task_id, 0.0))
    if not firsts:
        return {"tasks": max(count, 0), "counted": 0, "first_subgoal_s": None, "other_share": None}
    return {
        "tasks": count,
        "counted": len(firsts),
        "first_subgoal_s": {
            "p50": round(float(np.percentile(firsts, 50)), 4),
            "p99": round(float(np.percentile(firsts, 99)), 4),
            "mean": round(sum(firsts) / len(firsts), 4),
        },
        "other_ms_p50": round(float(np.percentile(np.subtract(firsts, models), 50)) * 1000, 2),
        "other_share": round(1.0 - sum(models) / sum(firsts), 5),
    }


def run_bench_service(*, stack: str, tasks: int, seed: int) -> dict[str, Any]:
    """Time ``tasks`` tasks of the simulated table with a stack in its worker process, after one warm-up."""
    from itk_embodied.evaluation.command import progress_bar, task_lines
    from itk_embodied.run import console
    from itk_sim.scene import SceneSpec
    from itk_sim.table import Table

    lines = task_lines("single", None, tasks + 1, seed)
    with Table() as table, progress_bar() as progress:
        bar = progress.add_task("tasks", total=tasks + 1)

        def frames() -> Iterable[tuple[Frame, Task]]:
            for line in itertools.islice(lines, tasks + 1):
                table.reset(SceneSpec.from_json(line["scene"]))
                yield Frame(table.render("front", 256)), Task(line["text"], seed=seed)
                progress.advance(bar)

        record = bench_service(stack, frames())
    first = record["first_subgoal_s"]
    if first is None:
        console.print(f"  none of {record['tasks']} tasks had a verified subgoal")
    else:
        console.print(
            f"  first verified subgoal after {first['p50']:.2f} s (p50), {first['p99']:.2f} s (p99), "
            f"{record['counted']} of {record['tasks']} tasks; not model time: {record['other_share']:.2%}"
        )
    return {"stack": stack, "seed": seed, **record}
