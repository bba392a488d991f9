"""What the planner learns from: a picture, a task in free wording, and the plan of the simulator's oracle.

The thought before the plan lists everything the picture shows and says plainly what the task means, so the plan can
follow from the model's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from itk_embodied.agents.contracts import format_plan
from itk_embodied.training.critic_data import listing_question, shade
from itk_embodied.training.pixels import moved
from itk_embodied.training.plan_thought import meaning
from itk_embodied.training.planner_text import RETOLD_SHARE, drawn_task, recoloured, retelling, roughened
from itk_embodied.training.shards import Record
from itk_embodied.training.vlm_batch import Example, Question
from itk_embodied.training.vlm_text import NAMES, listed, listing
from itk_embodied.types import PlanStep
from itk_sim.language import instruction
from itk_sim.symbols import SceneState
from itk_sim.tasks import TaskSpec

SHIFT_PX = 4
"""Pictures are moved by up to so many pixels each way: what is seen must not hang on where patches begin. Nothing on
the table is within eight pixels of the edge of what the planner looks at."""


def plan_steps(task: TaskSpec) -> tuple[PlanStep, ...]:
    """The oracle's steps as a planner writes them; a refusal is one step in words only."""
    if not task.steps:
        return (PlanStep(1, "refuse", None, None, task.refusal),)
    said = [instruction(step) for step in task.steps]
    return tuple(PlanStep(i + 1, text.split()[0], text, text) for i, text in enumerate(said))


def plan_question(
    state: SceneState, task: TaskSpec, text: str | None = None, *, listing_given: bool = False
) -> Question:
    """The task as the planner hears it (``text``, where that is not the task's own) and the answer it shall give.

    With ``listing_given`` what the picture shows is told and only what follows from it is learnt.
    """
    seen, meant = listing(state), meaning(task.intents, state, task.text)
    answer = format_plan(plan_steps(task), thought=f"{seen};{meant}")
    cut = answer.index(";goal ")
    return Question(text or task.text, ((answer[:cut], not listing_given), (answer[cut:], True)), task.family)


def planner_example(
    record: Record, rng: np.random.Generator, *, tasks: int = 2, listing_share: float = 0.15
) -> Example:
    """One picture with several tasks."""
    before = rng.random() < 0.5
    state = record.before_state if before else record.after_state
    (image,) = shade(rng, record.before if before else record.after)
    shift_px = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
    image, state = moved(image, shift_px), moved_state(state, shift_px / len(image))
    drawn = [drawn_task(state, rng) for _ in range(tasks)]
    questions = [plan_question(state, task, roughened(task, rng)) for task in drawn]
    if rng.random() < listing_share:
        questions.append(listing_question("list", state, rng))
    side = image.shape[0]
    places = {n: (state.pixel[n][0] * side, state.pixel[n][1] * side) if listed(state, n) else None for n in NAMES}
    return Example(image, image, tuple(questions), (places, places))


def moved_state(state: SceneState, shift: Sequence[float] | np.ndarray) -> SceneState:
    """A scene as its picture has it once moved by (down, right), fractions of the picture."""
    down, right = shift
    return replace(state, pixel={name: (u + right, v + down) for name, (u, v) in state.pixel.items()})


def blind_example(record: Record, rng: np.random.Generator, *, tasks: int = 1) -> Example:
    """Tasks without a picture, each about a recoloured scene that is told, half of them in other colours' words."""
    questions = []
    for _ in range(tasks):
        state = recoloured(record.before_state if rng.random() < 0.5 else record.after_state, rng)
        task = drawn_task(state, rng)
        question = plan_question(state, task, task.text, listing_given=True)
        answer = question.answer[-1][0]
        retell = retelling(task.text, answer, rng) if rng.random() < RETOLD_SHARE else None
        if retell is not None:
            task = replace(task, text=retell(task.text))
            question = replace(question, answer=tuple((retell(text), learnt) for text, learnt in question.answer))
        questions.append(replace(question, text=roughened(task, rng)))
    return Example(None, None, tuple(questions))
