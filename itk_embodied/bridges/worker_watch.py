"""Is the worker process still good? Plain judgement over a monotonic clock that the caller passes in."""

from __future__ import annotations

from dataclasses import dataclass

from itk_embodied.errors import ConfigError


@dataclass(frozen=True)
class WorkerConfig:
    """How long a worker process may be silent or late before it is replaced, all in seconds.

    Attributes:
        load_s: loading the models.
        load_silence_s: without a sign of life while it loads; a library may hold the interpreter for long.
        silence_s: without a sign of life afterwards (it gives one four times a second).
        overrun_s: for a stage (plan, picture, verdict), beyond its own budget.
        stop_s: from being told to stop a task until it has.
        warm_up_s: for each model, on a blank picture, before the worker counts as ready; 0: no warm-up.
        backoff_s, backoff_max_s: pause before the first replacement; it doubles with each until the worker finishes a
            task.
    """

    load_s: float = 1800.0
    load_silence_s: float = 120.0
    silence_s: float = 10.0
    overrun_s: float = 5.0
    stop_s: float = 10.0
    warm_up_s: float = 5.0
    backoff_s: float = 0.25
    backoff_max_s: float = 32.0

    def __post_init__(self) -> None:
        for name in ("load_s", "load_silence_s", "silence_s", "overrun_s", "stop_s", "backoff_s", "backoff_max_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"worker: {name} is {getattr(self, name)}; it must be more than 0 seconds.")
        if self.warm_up_s < 0:
            raise ConfigError(f"worker: warm_up_s is {self.warm_up_s}; it must be 0 or more seconds.")


class Watch:
    """One worker process, from its start on."""

    def __init__(self, config: WorkerConfig, now_s: float) -> None:
        self._config = config
        self._began_s = self._heard_s = now_s
        self._loading = True
        self._stage = ""
        self._stage_budget_s = 0.0
        self._stage_ends_s: float | None = None
        self._stop_ends_s: float | None = None

    @property
    def stage(self) -> str:
        """What it does, in words for a reason."""
        return self._stage or ("loading its models" if self._loading else "idle between stages")

    def heard(self, now_s: float) -> None:
        self._heard_s = now_s

    def loaded(self) -> None:
        self._loading = False

    def stage_began(self, stage: str, budget_s: float | None, now_s: float) -> None:
        self._stage = stage
        self._stage_budget_s = budget_s or 0.0
        self._stage_ends_s = None if budget_s is None else now_s + budget_s + self._config.overrun_s

    def stage_ended(self) -> None:
        self._stage, self._stage_ends_s = "", None

    def stopping(self, now_s: float) -> None:
        """It was told to stop its task. Telling it again gives it no more time."""
        if self._stop_ends_s is None:
            self._stop_ends_s = now_s + self._config.stop_s

    def idle(self) -> None:
        self.stage_ended()
        self._stop_ends_s = None

    def problem(self, now_s: float) -> str:
        """Why it must be replaced; empty where it need not."""
        silence_s = self._silence_s
        if now_s > self._heard_s + silence_s:
            return f"the worker process gave no sign of life for {silence_s:g} s while {self.stage}"
        if self._loading and now_s > self._began_s + self._config.load_s:
            return f"the worker process did not load its models within {self._config.load_s:g} s"
        if self._stage_ends_s is not None and now_s > self._stage_ends_s:
            budget = f"{self._stage_budget_s:.3g} s and {self._config.overrun_s:g} s more"
            return f"the worker process hung: {self._stage} ran past its budget of {budget}"
        if self._stop_ends_s is not None and now_s > self._stop_ends_s:
            return f"the worker process did not stop its task within {self._config.stop_s:g} s while {self.stage}"
        return ""

    def next_s(self) -> float:
        """When `problem` may change next."""
        times = [self._heard_s + self._silence_s, self._stage_ends_s, self._stop_ends_s]
        if self._loading:
            times.append(self._began_s + self._config.load_s)
        return min(time for time in times if time is not None)

    @property
    def _silence_s(self) -> float:
        return self._config.load_silence_s if self._loading else self._config.silence_s


class Backoff:
    """The pause before the next replacement."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._failures = 0

    def failed(self) -> float:
        """Count a failure; returns the seconds to wait."""
        self._failures += 1
        return float(min(self._config.backoff_max_s, self._config.backoff_s * 2 ** min(self._failures - 1, 30)))

    def succeeded(self) -> None:
        self._failures = 0
