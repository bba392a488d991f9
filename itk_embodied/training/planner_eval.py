"""How good is a planner on held-out scenes: is its plan right, carried out symbolically on the true state?

``python -m itk_embodied.training.planner_eval --checkpoint DIR`` asks through the same adapter as at run time; with
``--batched`` many at once and without constraints, which is faster and counts malformed answers as wrong. ``--suite``
asks about the tasks of closed-loop suites instead, without moving anything.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

from itk_embodied.agents.base import CallContext, Planner
from itk_embodied.agents.contracts import parse_plan
from itk_embodied.errors import InputError, ModelOutputError
from itk_embodied.evaluation.stats import Rate
from itk_embodied.training.shards import ShardSet
from itk_embodied.types import Image, Plan, Task
from itk_sim.errors import SimError
from itk_sim.language import instruction, parse_instruction
from itk_sim.people import people_task
from itk_sim.planning import plan_achieves
from itk_sim.scene import SceneSpec
from itk_sim.splits import Combinations
from itk_sim.suites import SUITES, build
from itk_sim.symbols import Predicate, SceneState
from itk_sim.tasks import TaskSpec, sample_task
from itk_sim.wording import Split

Answerer: TypeAlias = Callable[[Sequence[Image], Sequence[str]], list[str]]
"""Pictures and task sentences in, whole answers out."""

SPLITS: Mapping[str, tuple[Split, Combinations]] = {
    "train": ("train", "train"),
    "wording": ("wording", "train"),
    "combinations": ("train", "held-out"),
}
"""Always on held-out scenes: training wording and combinations, wording never seen, combinations never planned."""
PEOPLE = "people"
"""One split more: tasks in the words of `itk_sim.people`."""
_SCENES, _FRAME_PX, _SIDE_PX = 200, 256, 128


@dataclass(frozen=True)
class Answered:
    """One task, whether the plan was right, and what was planned."""

    family: str
    right: bool
    text: str
    planned: str
    wanted: str


def judge_plan(plan: Plan, goal: Sequence[Predicate], state: SceneState) -> bool:
    """A plan reaches its ``goal``; that of a task that cannot be met, which has none, paints nothing."""
    if not goal:
        return not plan.image_steps
    try:
        steps = [parse_instruction(step.instruction or "") for step in plan.image_steps]
    except SimError:
        return False
    return bool(steps) and plan_achieves(steps, state, goal)


def ask_one_by_one(planner: Planner) -> Answerer:
    """Through the adapter, as at run time: every answer is well-formed."""

    def answer(images: Sequence[Image], texts: Sequence[str]) -> list[str]:
        answers = []
        for number, (image, text) in enumerate(zip(images, tqdm(texts, desc="plans"), strict=True)):
            try:
                answers.append(planner.plan(image, Task(text), CallContext(seed=number)).raw)
            except ModelOutputError as error:
                answers.append(error.raw)
        return answers

    return answer


def evaluate(ask: Answerer, shards: ShardSet, count: int, split: str, seed: int = 0) -> list[Answered]:
    """Ask about ``count`` held-out pictures, one random task each, as one of `SPLITS` has them, or `PEOPLE`."""
    records, tasks = [], []
    for number in range(count):
        rng, task = np.random.default_rng([seed, 31, number]), None
        for _ in range(_SCENES):
            record = shards[int(rng.integers(len(shards)))]
            with suppress(SimError):  # not every scene has such a task
                task = _draw(split, record.before_state, rng)
                break
        if task is None:
            raise InputError(f"none of {_SCENES} scenes of {shards.folder} has a task of {split!r}; make more pairs.")
        records.append(record)
        tasks.append(task)
    raw = ask([record.before for record in records], [task.text for task in tasks])
    return [judge_answer(text, task, r.before_state) for text, task, r in zip(raw, tasks, records, strict=True)]


def _draw(split: str, state: SceneState, rng: np.random.Generator) -> TaskSpec:
    if split == PEOPLE:
        return people_task(state, rng)
    wording, combinations = SPLITS[split]
    return sample_task(state, rng, split=wording, combinations=combinations)


def evaluate_suite(ask: Answerer, name: str, count: int, seed: int = 0) -> list[Answered]:
    """Ask about the tasks of a closed-loop suite (`itk_sim.suites`), each in its scene; nothing is carried out."""
    from itk_embodied.mesa import load_triton_first

    load_triton_first()
    from itk_sim.table import Table

    lines, states, frames = build(name, count, seed), [], []
    with Table() as table:
        for line in tqdm(lines, desc=f"scenes of {name}"):
            states.append(table.reset(SceneSpec.from_json(line["scene"])))
            frames.append(table.render("front", _FRAME_PX))
    answered = []
    for raw, line, state in zip(ask(frames, [line["text"] for line in lines]), lines, states, strict=True):
        goal = [tuple(predicate) for predicate in line["goal"]]
        right, planned = _judged(raw, goal, state)
        answered.append(Answered(line["family"], right, line["text"], planned, json.dumps(goal)))
    return answered


def judge_answer(raw: str, task: TaskSpec, state: SceneState) -> Answered:
    """A planner's whole text against the task's truth. What breaks the contract is wrong."""
    right, planned = _judged(raw, task.goal, state)
    wanted = "; ".join(instruction(step) for step in task.steps) or f"({task.refusal})"
    return Answered(task.family, right, task.text, planned, wanted)


def _judged(raw: str, goal: Sequence[Predicate], state: SceneState) -> tuple[bool, str]:
    """Whether a planner's text is right, and what it plans."""
    try:
        plan = parse_plan(raw)
    except ModelOutputError as error:
        return False, f"malformed: {error}"
    planned = "; ".join(step.instruction or f"({step.auxiliary_text})" for step in plan.steps)
    return judge_plan(plan, goal, state), planned


def summary(answered: Iterable[Answered]) -> dict[str, Any]:
    """Rates in all and per family."""
    answers = list(answered)
    families = sorted({a.family for a in answers})

    def rate(some: list[Answered]) -> dict[str, object]:
        return Rate(sum(a.right for a in some), len(some)).record()

    return {"all": rate(answers), "families": {f: rate([a for a in answers if a.family == f]) for f in families}}


def _adapter(checkpoint: Path) -> Answerer:
    from itk_embodied.agents.qwen3vl.planner import Qwen3VLPlanner
    from itk_embodied.agents.settings import Qwen3VLPlannerSettings

    return ask_one_by_one(
        Qwen3VLPlanner.from_settings(
            Qwen3VLPlannerSettings(checkpoint=str(checkpoint.resolve()), prompt="embedded-planner", max_new_tokens=1024)
        )
    )


def _batched(checkpoint: Path) -> Answerer:
    from transformers import Qwen3VLForConditionalGeneration

    from itk_embodied.training.plan_batch import BatchPlanner
    from itk_embodied.training.vlm_train import load_or_build_tokenizer

    model = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    planner = BatchPlanner(model, load_or_build_tokenizer(checkpoint))

    def answer(images: Sequence[Image], texts: Sequence[str]) -> list[str]:
        small = (PIL.Image.fromarray(i).resize((_SIDE_PX, _SIDE_PX), PIL.Image.Resampling.BOX) for i in images)
        return planner([np.asarray(image) for image in small], texts)  # as the adapter's processor makes them small

    return answer


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a planner on held-out scenes and wordings.")
    parser.add_argument("--checkpoint", type=Path, default=Path("itk_embodied/checkpoints/planner"))
    parser.add_argument("--data", type=Path, default=Path("data/pairs"))
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument(
        "--suite", action="append", choices=sorted(SUITES), metavar="NAME", help="a closed-loop suite; may be repeated"
    )
    parser.add_argument("--batched", action="store_true", help="many at once, unconstrained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--failures", type=int, default=10, help="how many to print")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    ask = _batched(args.checkpoint) if args.batched else _adapter(args.checkpoint)
    record = {}
    for split in args.suite or (*SPLITS, PEOPLE):
        if args.suite:
            answered = evaluate_suite(ask, split, args.tasks, args.seed)
        else:
            answered = evaluate(ask, ShardSet(args.data, "held-out"), args.tasks, split, args.seed)
        record[split] = summary(answered)
        for a in [a for a in answered if not a.right][: args.failures]:
            print(f"  [{a.family}] {a.text!r}\n     planned: {a.planned}\n     wanted:  {a.wanted}")
    print(json.dumps(record, indent=1))
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
