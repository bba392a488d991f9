"""A client that works without a pause for a while, then says how it was, as one JSON line."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from itk_embodied.bridges import SubgoalClient
from itk_embodied.types import Frame


def main() -> None:
    stream, requests, seconds = sys.argv[1:]
    frame = Frame(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    tasks, replaced, wrong, first_ms, ages_ms = 0, 0, [], [], []
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
                    first_ms.append((now_s - began_s) * 1e3)
                # Its age when the service made it against its age here: both from the moment of submission.
                ages_ms.append((now_s - began_s - goal.message.age_s) * 1e3)
                steps.append(goal.step)
            tasks += 1
            if goals.reason == "replaced by a newer task":  # a guest's; it is told so, and that is right
                replaced += 1
            elif steps != list(range(1, len(steps) + 1)) or str(goals.status) != "verified":
                wrong.append([steps, str(goals.status), goals.reason])
    milliseconds = {
        name: {"p50": round(float(np.percentile(values, 50)), 2), "p99": round(float(np.percentile(values, 99)), 2)}
        for name, values in (("submit_to_first_subgoal_ms", first_ms), ("delivery_ms_at_most", ages_ms))
    }
    print(
        json.dumps({"tasks": tasks, "subgoals": len(ages_ms), "replaced": replaced, "wrong": wrong, **milliseconds}),
        flush=True,
    )


if __name__ == "__main__":
    main()
