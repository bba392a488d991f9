"""From trajectories to scores and rows, a shard at a time: what runs in workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from itk_embodied.images import png_bytes
from itk_embodied.training.rollouts.lines import AttemptLine, StepLine
from itk_embodied.training.rollouts.store import RolloutSet, Trajectory
from itk_embodied.training.sets.filters import Cut
from itk_embodied.training.sets.schema import CriticRlRow, CriticRow, Message, PlannerRow, SetName
from itk_embodied.training.sets.sequences import easy, hard
from itk_embodied.training.sets.texts import PICTURES_BEFORE_CUT, Texts
from itk_embodied.training.sets.write import write_part
from itk_embodied.types import Image
from itk_sim.errors import SimError
from itk_sim.language import parse_instruction
from itk_sim.symbols import SceneState

HELPED = 1.0
"""A rewritten prompt that brought this many points is worth learning as it is."""


@dataclass
class Survey:
    """Called with a shard's number: the scores of all its steps, as plain data."""

    folder: str

    def __call__(self, number: int) -> dict[str, Any]:
        steps = []
        for trajectory in RolloutSet(Path(self.folder)).shard(number):
            for place, step in enumerate(trajectory.line.steps):
                judged = [(one.judged, one.attempt) for one in step.attempts if one.judged is not None]
                steps.append(
                    {
                        "key": (trajectory.shard, trajectory.line.number, place),
                        "scores": tuple(one.overall for one, _ in judged),
                        "success": tuple(one.success for one, _ in judged),
                        "attempts": tuple(attempt for _, attempt in judged),
                    }
                )
        return {"shard": number, "steps": steps}


@dataclass
class RowMaker:
    """Called with a shard's number: writes its rows of every set as parts, and says how many.

    ``rows``: the chosen rows of each critic's set. ``parts``: a folder; what lies there already is not made again.
    """

    folder: str
    parts: str
    style: str
    planner_prompt: str
    critic_prompt: str
    seed: int
    rows: dict[str, list[Cut]]
    _texts: Texts | None = field(default=None, repr=False)

    def __call__(self, number: int) -> dict[str, Any]:
        texts = self._texts or Texts.of(self.style, self.planner_prompt, self.critic_prompt)
        self._texts = texts
        trajectories = list(RolloutSet(Path(self.folder)).shard(number))
        counts: dict[str, Any] = {"shard": number}
        found: dict[str, list[Any]] = {
            "planner_sft": [planner_row(one, texts, self.seed) for one in trajectories],
            "critic_sft": list(self._critic(trajectories, "critic_sft", texts)),
            "critic_rl": list(self._critic(trajectories, "critic_rl", texts)),
            "sequences_easy": [row for one in trajectories if (row := easy(one)) is not None],
            "sequences_hard": [row for one in trajectories if (row := hard(one)) is not None],
        }
        for name, rows in found.items():
            counts[name] = write_part(Path(self.parts), name, number, rows)
        return counts

    def _critic(
        self, trajectories: Sequence[Trajectory], name: SetName, texts: Texts
    ) -> Iterator[CriticRow | CriticRlRow]:
        by_number = {one.line.number: one for one in trajectories}
        shard = trajectories[0].shard if trajectories else ""
        for _, number, place, attempt in (cut for cut in self.rows[name] if cut[0] == shard):
            one = by_number[number]
            yield critic_row(one, one.line.steps[place], attempt, name, texts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_texts": None}


def critic_row(
    trajectory: Trajectory, step: StepLine, attempt: int, name: SetName, texts: Texts
) -> CriticRow | CriticRlRow:
    """One attempt of a judged step as a row of a critic's set."""
    place = next(i for i, one in enumerate(step.attempts) if one.attempt == attempt)
    one = step.attempts[place]
    assert step.row is not None and one.image is not None and one.judged is not None
    record, image = trajectory.record(step.row), trajectory.image(one.image)
    prompt = texts.verdict_asked(step.instruction, one.prompt)
    shared: dict[str, Any] = {
        "images": [png_bytes(record.before), png_bytes(image)],
        "instruction": step.instruction,
        "generator_prompt": one.prompt,
        "success": one.judged.success,
        "semantics": one.judged.semantics,
        "quality": one.judged.quality,
        "overall": one.judged.overall,
        "task": trajectory.line.task.text,
        "family": trajectory.line.task.family,
        "seed": trajectory.line.seed,
        "shard": trajectory.shard,
        "row": step.row,
        "attempt": attempt,
    }
    if name == "critic_rl":
        return CriticRlRow(**shared, prompt=prompt)
    following = step.attempts[place + 1] if place + 1 < len(step.attempts) else None
    answer = texts.verdict_answer(record, image, one.judged, one.prompt, _helped(one, following))
    return CriticRow(**shared, messages=[*prompt, {"role": "assistant", "content": answer}])


def _helped(one: AttemptLine, following: AttemptLine | None) -> str | None:
    """The critic's own rewritten prompt, where the next picture was better for it."""
    if following is None or following.judged is None or one.judged is None or following.prompt == one.prompt:
        return None
    return following.prompt if following.judged.overall >= one.judged.overall + HELPED else None


def planner_row(trajectory: Trajectory, texts: Texts, seed: int) -> PlannerRow:
    """The oracle's plan behind a cut at a random step; before it lies what the trajectory really painted.

    A cut can only be where the trajectory did what the oracle would have done, and the pictures are right.
    """
    line = trajectory.line
    rng = np.random.default_rng([seed, 79, line.seed])
    done: list[tuple[str, Image, SceneState]] = []
    for place, (step, wanted) in enumerate(zip(line.steps, line.task.steps, strict=False)):
        following = line.steps[place + 1] if place + 1 < len(line.steps) else None
        if step.accepted is None or following is None or following.row is None or not _same(step, wanted):
            break
        number = step.attempts[step.accepted].image
        assert number is not None
        done.append((step.instruction, trajectory.image(number), trajectory.record(following.row).before_state))
    cut = int(rng.integers(len(done) + 1))
    before = done[:cut]
    state = before[-1][2] if before else line.state
    pictures = [trajectory.frame, *(image for _, image, _ in before)]
    if cut:
        most = PICTURES_BEFORE_CUT[texts.style]
        pictures = [*pictures[:1], *pictures[1:][-most:]] if most else pictures[-1:]
    steps = line.task.steps[cut:]
    messages: list[Message] = [
        *texts.plan_asked(line.task.text, [text for text, _, _ in before]),
        {"role": "assistant", "content": texts.plan_answer(line.task, steps, state)},
    ]
    return PlannerRow(
        images=[png_bytes(picture) for picture in pictures],
        messages=messages,
        task=line.task.text,
        family=line.task.family,
        seed=line.seed,
        cut=cut,
        steps=len(steps),
        shard=trajectory.shard,
        row=line.number,
    )


def _same(step: StepLine, wanted: object) -> bool:
    try:
        return parse_instruction(step.instruction) == wanted
    except SimError:
        return False
