"""A client that works without a pause for a while, then says how it was, as one JSON line."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from itk_embodied.bridges import SubgoalClient
from itk_embodied.types import Frame


class Milliseconds:
    """Counts in bins of 1 %, so that a client that remembers every time is not mistaken for one that leaks."""

    EDGES = np.geomspace(0.01, 1e6, 1852)

    def __init__(self) -> None:
        self.counts = np.zeros(len(self.EDGES) + 1, int)

    def add(self, value: float) -> None:
        self.counts[np.searchsorted(self.EDGES, value)] += 1

    def percentile(self, share: float) -> float:
        """The upper edge of the bin, ms."""
        reached = np.searchsorted(self.counts.cumsum(), share / 100 * self.counts.sum())
        return round(float(self.EDGES[min(reached, len(self.EDGES) - 1)]), 2)


def main() -> None:
    stream, requests, seconds = sys.argv[1:]
    frame = Frame(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    tasks, replaced, subgoals, wrong = 0, 0, 0, []
    first_ms, ages_ms = Milliseconds(), Milliseconds()
    with SubgoalClient(stream, requests) as client:
        client.wait_ready(20)
        print("ready", flush=True)
        ends_s = time.monotonic() + float(seconds)
        while time.monotonic() < ends_s:
            began_s = time.monotonic()
            goals = client.subgoals(client.submit(frame, "go"), deadline_s=60)
            steps = []
            for goal in goals:
                now_s = time.monotonic()
                if not steps:
                    first_ms.add((now_s - began_s) * 1e3)
                # Its age when the service made it against its age here: both from the moment of submission.
                ages_ms.add((now_s - began_s - goal.message.age_s) * 1e3)
                subgoals += 1
                steps.append(goal.step)
            tasks += 1
            if goals.reason == "replaced by a newer task":  # a guest's; it is told so, and that is right
                replaced += 1
            elif steps != list(range(1, len(steps) + 1)) or str(goals.status) != "verified":
                wrong.append([steps, str(goals.status), goals.reason])
    milliseconds = {
        name: {"p50": values.percentile(50), "p99": values.percentile(99)}
        for name, values in (("submit_to_first_subgoal_ms", first_ms), ("delivery_ms_at_most", ages_ms))
    }
    print(
        json.dumps({"tasks": tasks, "subgoals": subgoals, "replaced": replaced, "wrong": wrong, **milliseconds}),
        flush=True,
    )


if __name__ == "__main__":
    main()
