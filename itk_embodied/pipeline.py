"""The loop: plan -> generate -> judge -> refine, until every step has a verified goal image or the attempts run out.

The method is InterleaveThinker's (arXiv 2606.13679): the planner writes all steps before any image is made; step i
edits the accepted image of step i-1; the critic rewrites the prompt of a failed attempt. Two things differ on purpose:
every attempt has its own seed, and a step whose attempts ran out is ``unverified``, never passed off as verified.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Generator as Yields
from collections.abc import Iterator
from dataclasses import dataclass

from itk_embodied.agents.base import CallContext, Critic, Generator, Planner
from itk_embodied.anchoring import anchored
from itk_embodied.errors import BudgetExceededError, CancelledError, ConfigError, InputError, ItkError, ModelOutputError
from itk_embodied.types import (
    Attempt,
    AttemptJudged,
    AttemptStarted,
    Event,
    Frame,
    Image,
    Plan,
    PlanReady,
    PlanStep,
    SequenceEnded,
    SequenceStatus,
    Subgoal,
    SubgoalReady,
    SubgoalSequence,
    SubgoalStatus,
    Task,
    Verdict,
    as_image,
    image_hash,
)


@dataclass(frozen=True)
class PipelineConfig:
    """How hard to try, and for how long.

    Attributes:
        max_attempts: attempts a step may use (T_max in the paper), and answers a planner may malform.
        max_steps: a longer plan is refused.
        plan_s, image_s, verdict_s, sequence_s: budgets in seconds for one plan, one image, one verdict, the whole task.
        continue_after_unverified: go on from the best unverified image instead of ending the sequence there.
        anchor: hold every image to the camera frame where it hardly differs from it (`itk_embodied.anchoring`).
    """

    max_attempts: int = 3
    max_steps: int = 64
    plan_s: float = 120.0
    image_s: float = 120.0
    verdict_s: float = 60.0
    sequence_s: float = 1800.0
    continue_after_unverified: bool = False
    anchor: bool = False

    def __post_init__(self) -> None:
        for name in ("max_attempts", "max_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        for name in ("plan_s", "image_s", "verdict_s", "sequence_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be more than 0 seconds.")


def derive_seed(task_seed: int, *path: object) -> int:
    """A seed in 0..2**31-1 for one call, fixed by the task's seed and the call's place (role, step, attempt)."""
    digest = hashlib.sha256("/".join(str(part) for part in (task_seed, *path)).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


@dataclass(frozen=True)
class _Ending:
    """Why a sequence stops before its last step."""

    status: SequenceStatus
    reason: str
    raw: str = ""


class VisualSubgoalPipeline:
    """Turns one camera frame and one task sentence into a sequence of goal images, each with its verdict."""

    def __init__(
        self,
        planner: Planner,
        generator: Generator,
        critic: Critic,
        config: PipelineConfig | None = None,
        *,
        stack_name: str = "custom",
    ) -> None:
        self.planner = planner
        self.generator = generator
        self.critic = critic
        self.config = config or PipelineConfig()
        self.stack_name = stack_name

    def __call__(self, frame: Frame, task: Task, cancel: threading.Event | None = None) -> SubgoalSequence:
        """Run to the end; never raises for what a model did: the status and reason of the result say it."""
        for event in self.stream(frame, task, cancel):
            if isinstance(event, SequenceEnded):
                return event.sequence
        raise AssertionError("a stream always ends with SequenceEnded")

    def stream(self, frame: Frame, task: Task, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Yield events as they happen; the last is always `SequenceEnded`. Setting ``cancel`` ends it early."""
        return _Run(self, frame, task, cancel or threading.Event()).events()


class _Run:
    """One task on its way through the pipeline."""

    def __init__(self, pipeline: VisualSubgoalPipeline, frame: Frame, task: Task, cancel: threading.Event) -> None:
        self.agents = pipeline
        self.config = pipeline.config
        self.frame, self.task, self.cancel = frame, task, cancel
        self.started_s = time.monotonic()
        self.ends_s = self.started_s + self.config.sequence_s
        self.plan: Plan | None = None
        self.plan_s = 0.0
        self.subgoals: list[Subgoal] = []
        self.first_subgoal_s: float | None = None
        self.open_step: tuple[PlanStep, Image, list[Attempt]] | None = None

    def events(self) -> Iterator[Event]:
        try:
            ending = yield from self._plan_and_paint()
        except (CancelledError, BudgetExceededError) as error:
            cancelled = isinstance(error, CancelledError)
            ending = _Ending(SequenceStatus.CANCELLED if cancelled else SequenceStatus.EXPIRED, str(error))
            if self.open_step is not None:  # a step cut short still ends in a stated status
                step, before, attempts = self.open_step
                stopped = Subgoal(step, SubgoalStatus.FAILED, None, tuple(attempts), image_hash(before), str(error))
                self.subgoals.append(stopped)
                yield SubgoalReady(stopped)
        yield SequenceEnded(self._sequence(ending))

    def _plan_and_paint(self) -> Yields[Event, None, _Ending]:
        plan = self._write_plan()
        self.plan_s = time.monotonic() - self.started_s
        if isinstance(plan, _Ending):
            return plan
        self.plan = plan
        yield PlanReady(plan, self.plan_s)
        if not plan.image_steps:
            return _Ending(SequenceStatus.FAILED, plan.answer or "the planner wrote no step to paint")

        current = self.frame.image
        for step in plan.image_steps:
            subgoal = yield from self._reach(step, current)
            self.subgoals.append(subgoal)
            if subgoal.status is SubgoalStatus.VERIFIED and self.first_subgoal_s is None:
                self.first_subgoal_s = time.monotonic() - self.started_s
            yield SubgoalReady(subgoal)
            if subgoal.status is not SubgoalStatus.VERIFIED and not self.config.continue_after_unverified:
                break
            if subgoal.image is not None:
                current = subgoal.image
        return self._judge_whole(plan)

    def _judge_whole(self, plan: Plan) -> _Ending:
        verified = [s for s in self.subgoals if s.status is SubgoalStatus.VERIFIED]
        if len(verified) == len(plan.image_steps):
            return _Ending(SequenceStatus.VERIFIED, "")
        first_bad = next(s for s in self.subgoals if s.status is not SubgoalStatus.VERIFIED)
        reason = f"step {first_bad.step.step_number} ({first_bad.step.instruction}) is {first_bad.status}: "
        reason += first_bad.error or f"no attempt of {len(first_bad.attempts)} was accepted"
        return _Ending(SequenceStatus.PARTIAL if verified else SequenceStatus.FAILED, reason)

    def _write_plan(self) -> Plan | _Ending:
        """The plan that came with the task, else the planner's; never one that is too long."""
        plan = self._ask_planner() if self.task.plan is None else self.task.plan
        if isinstance(plan, Plan) and len(plan.image_steps) > self.config.max_steps:
            reason = f"the plan has {len(plan.image_steps)} steps; at most {self.config.max_steps} are allowed"
            return _Ending(SequenceStatus.FAILED, reason, plan.raw)
        return plan

    def _ask_planner(self) -> Plan | _Ending:
        """Ask, again where the answer is malformed, within the budget."""
        deadline_s = min(time.monotonic() + self.config.plan_s, self.ends_s)
        malformed: ModelOutputError | None = None
        for attempt in range(1, self.config.max_attempts + 1):
            context = CallContext(derive_seed(self.task.seed, "plan", attempt), deadline_s, self.cancel)
            context.check()
            try:
                return self.agents.planner.plan(self.frame.image, self.task, context)
            except ModelOutputError as error:
                malformed = error
                continue
            except (CancelledError, BudgetExceededError):
                raise
            except Exception as error:
                return _Ending(SequenceStatus.FAILED, _crash("planner", error))
        assert malformed is not None
        reason = f"the planner's answer was malformed {self.config.max_attempts} times: {malformed}"
        return _Ending(SequenceStatus.FAILED, reason, malformed.raw)

    def _reach(self, step: PlanStep, before: Image) -> Yields[Event, None, Subgoal]:
        """Paint and judge until the critic accepts or the attempts run out."""
        assert step.prompt is not None
        prompt = step.prompt
        attempts: list[Attempt] = []
        self.open_step = (step, before, attempts)
        for number in range(1, self.config.max_attempts + 1):
            seed = derive_seed(self.task.seed, "step", step.step_number, number)
            yield AttemptStarted(step, number, prompt, seed)
            attempt = self._attempt(step, before, prompt, number, seed)
            attempts.append(attempt)
            yield AttemptJudged(step, attempt)
            if attempt.success:
                break
            if attempt.verdict is not None:
                prompt = attempt.verdict.refine_prompt or prompt
        self.open_step = None
        return _choose(step, before, attempts)

    def _attempt(self, step: PlanStep, before: Image, prompt: str, number: int, seed: int) -> Attempt:
        began_s = time.monotonic()
        image: Image | None = None
        verdict: Verdict | None = None
        error, raw = "", ""
        painted_s = began_s
        try:
            image = self._paint(before, prompt, seed)
            painted_s = time.monotonic()
            verdict = self._judge(step, before, image, prompt, number)
        except CancelledError:
            raise
        except Exception as failure:
            self._raise_if_expired(failure)
            error = _crash("generator" if image is None else "critic", failure)
            raw = getattr(failure, "raw", "")
        if image is None:
            painted_s = time.monotonic()
        return Attempt(
            attempt=number,
            prompt=prompt,
            seed=seed,
            image=image,
            verdict=verdict,
            error=error,
            raw=raw,
            generate_s=painted_s - began_s,
            judge_s=time.monotonic() - painted_s,
        )

    def _paint(self, before: Image, prompt: str, seed: int) -> Image:
        context = self._context(self.config.image_s, seed)
        image = as_image(self.agents.generator.generate(before, prompt, context), what="generated image")
        if image.shape != before.shape:
            raise InputError(f"the generator returned shape {image.shape}; expected {before.shape}")
        return anchored(image, self.frame.image) if self.config.anchor else image

    def _judge(self, step: PlanStep, before: Image, after: Image, prompt: str, number: int) -> Verdict:
        """Ask the critic, again where its answer is malformed, within the verdict's budget."""
        deadline_s = min(time.monotonic() + self.config.verdict_s, self.ends_s)
        malformed: ModelOutputError | None = None
        assert step.instruction is not None
        for ask in range(1, self.config.max_attempts + 1):
            seed = derive_seed(self.task.seed, "judge", step.step_number, number, ask)
            context = CallContext(seed, deadline_s, self.cancel)
            context.check()
            try:
                return self.agents.critic.judge(before, after, step.instruction, prompt, context)
            except ModelOutputError as error:
                malformed = error
        assert malformed is not None
        raise malformed

    def _context(self, budget_s: float, seed: int) -> CallContext:
        context = CallContext(seed, min(time.monotonic() + budget_s, self.ends_s), self.cancel)
        context.check()
        return context

    def _raise_if_expired(self, failure: Exception) -> None:
        """An image or verdict over its own budget costs an attempt; the whole task over its budget ends it."""
        if isinstance(failure, BudgetExceededError) and time.monotonic() > self.ends_s:
            raise BudgetExceededError(f"the task ran past its budget of {self.config.sequence_s:g} s") from failure

    def _sequence(self, ending: _Ending) -> SubgoalSequence:
        roles = {"planner": self.agents.planner, "generator": self.agents.generator, "critic": self.agents.critic}
        hashes = {role: str(agent.prompt_hash) for role, agent in roles.items() if hasattr(agent, "prompt_hash")}
        return SubgoalSequence(
            task=self.task,
            frame=self.frame,
            plan=self.plan,
            subgoals=tuple(self.subgoals),
            status=ending.status,
            reason=ending.reason,
            raw=ending.raw,
            stack=self.agents.stack_name,
            prompt_hashes=hashes,
            plan_s=self.plan_s,
            first_subgoal_s=self.first_subgoal_s,
            total_s=time.monotonic() - self.started_s,
        )


def _choose(step: PlanStep, before: Image, attempts: list[Attempt]) -> Subgoal:
    """The accepted attempt if there is one, else the best scored image as ``unverified``, else ``failed``."""
    subgoal = Subgoal(step, SubgoalStatus.FAILED, None, tuple(attempts), image_hash(before))
    accepted = subgoal.accepted
    if accepted is None:
        return Subgoal(step, SubgoalStatus.FAILED, None, tuple(attempts), image_hash(before), attempts[-1].error)
    status = SubgoalStatus.VERIFIED if accepted.success else SubgoalStatus.UNVERIFIED
    error = "" if accepted.success else next((a.error for a in reversed(attempts) if a.error), "")
    return Subgoal(step, status, accepted.image, tuple(attempts), image_hash(before), error)


def _crash(role: str, error: Exception) -> str:
    if isinstance(error, ItkError):
        return f"{role}: {error}"
    return f"{role} raised {type(error).__name__}: {error}"
