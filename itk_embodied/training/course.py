"""How far a training run is, by samples or by minutes, and the loop that takes it to its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

LOG_EVERY, WARM_STEPS = 50, 60
LEAST_RATE = 0.02
"""Of the highest learning rate, at the end."""


@dataclass
class Course:
    """Attributes:
    samples: to see, repeats counted. minutes: stop after this much wall time, over all resumed parts; None: no limit.
    seen, elapsed_s: so far; steps: of the optimiser, since its last start.
    """

    samples: int
    minutes: float | None = None
    seen: int = 0
    elapsed_s: float = 0.0
    steps: int = 0

    @property
    def done(self) -> float:
        """Share of the run that is over, 0..1: of its samples or of its minutes, whichever is more."""
        by_time = self.elapsed_s / 60 / self.minutes if self.minutes else 0.0
        return min(1.0, max(self.seen / self.samples, by_time))

    def rate(self, highest: float) -> float:
        """The learning rate: a short warm-up, then half a cosine over the whole run."""
        decay = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * self.done))
        return highest * min(1.0, (self.steps + 1) / WARM_STEPS) * decay

    def counters(self) -> dict[str, float]:
        """What `take_up` goes on from."""
        return {"seen": self.seen, "steps": self.steps, "elapsed_s": self.elapsed_s}

    def take_up(self, counters: Mapping[str, float]) -> None:
        self.seen, self.steps, self.elapsed_s = int(counters["seen"]), int(counters["steps"]), counters["elapsed_s"]


def follow(
    course: Course,
    step: Callable[[], Mapping[str, float]],
    *,
    log: Callable[[Mapping[str, float]], Mapping[str, object]],
    save: Callable[[], None],
    save_every_s: float,
    unit: str,
    progress: bool = True,
) -> None:
    """Take steps to the end of the course; saves now and then, and in any case at the end or when stopped.

    Args:
        step: does one and moves the course on; what it measured.
        log: gets the means of the last steps' measures; what the progress bar shows of them.
    """
    measured: list[Mapping[str, float]] = []
    tick = saved = time.monotonic()
    bar = tqdm(total=course.samples, initial=course.seen, unit=unit, disable=not progress, mininterval=5)
    try:
        while course.done < 1:
            before = course.seen
            measured.append(step())
            bar.update(course.seen - before)
            course.elapsed_s, tick = course.elapsed_s + time.monotonic() - tick, time.monotonic()
            if len(measured) == LOG_EVERY:
                bar.set_postfix(log({name: float(np.mean([one[name] for one in measured])) for name in measured[0]}))
                measured.clear()
            if tick - saved > save_every_s:
                save()
                saved = time.monotonic()
    finally:
        bar.close()
        save()
