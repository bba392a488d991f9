"""The words of the training sets: what is asked, what is thought, what is answered, in two styles.

``embedded`` is what the small models that come with this package read and write: short, with places as tokens.
``plain`` is English for large models, with the prompts that the large stacks use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from itk_embodied.agents.contracts import format_plan, format_verdict
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PLANNER_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.agents.qwen3vl.adapter import defuse
from itk_embodied.errors import InputError
from itk_embodied.training.corruptions import Corrupted
from itk_embodied.training.critic_data import grounded_or_plain, thought
from itk_embodied.training.plan_thought import meaning
from itk_embodied.training.rollouts.lines import JudgeLine, TaskLine
from itk_embodied.training.sets.schema import Message
from itk_embodied.training.shards import Record
from itk_embodied.training.vlm_text import listed, listing, support_words
from itk_embodied.types import Image, PlanStep
from itk_sim.language import instruction
from itk_sim.symbols import DRAWER, SceneState, Step

Style: TypeAlias = Literal["embedded", "plain"]
_PLACES = re.compile(r"(<[xy]\d\d>)+")
STYLES: tuple[Style, ...] = ("embedded", "plain")
PICTURES_BEFORE_CUT = {"embedded": 0, "plain": 3}
"""Pictures of earlier steps that a planner's row shows besides the latest; the embedded planner sees one picture."""


@dataclass(frozen=True)
class Texts:
    """Makes the messages of one style; ``planner``, ``critic``: the prompt files."""

    style: Style
    planner: PromptTemplate
    critic: PromptTemplate

    @classmethod
    def of(cls, style: str, planner: str = "", critic: str = "") -> Texts:
        """``planner``, ``critic``: prompts other than the style's own. Raises InputError, ConfigError."""
        if style not in STYLES:
            raise InputError(f"style {style!r} is unknown; allowed: {', '.join(STYLES)}.")
        prefix = "embedded-" if style == "embedded" else ""
        return cls(
            style,
            load_prompt(planner or f"{prefix}planner", PLANNER_PLACEHOLDERS),
            load_prompt(critic or f"{prefix}critic", CRITIC_PLACEHOLDERS),
        )

    def plan_asked(self, task: str, done: Sequence[str]) -> list[Message]:
        """The planner's prompt. ``done``: what earlier steps did; the embedded planner sees that for itself."""
        told = f"{task}\nAlready done: {'; '.join(done)}." if done and self.style == "plain" else task
        return _messages(self.planner.fill(task=told))

    def plan_answer(self, task: TaskLine, steps: Sequence[Step], state: SceneState) -> str:
        """The oracle's remaining plan, numbered from 1, with a thought that it follows from."""
        plan = [PlanStep(1, "refuse", None, None, task.refusal or "Nothing is left to do.")]
        if steps:
            said = [instruction(step) for step in steps]
            kept = "" if self.style == "embedded" else "; keep everything else unchanged"
            plan = [PlanStep(i + 1, text.split()[0], text, text + kept) for i, text in enumerate(said)]
        if self.style == "embedded":
            return format_plan(plan, thought=f"{listing(state)};{meaning(task.intents, state, task.text)}")
        wishes = _PLACES.sub(" ", meaning(task.intents, state, "")).removeprefix("goal ")
        goal = re.sub(r"\s*[,;]\s*", ", ", " ".join(wishes.split()))
        order = "; ".join(instruction(step) for step in steps) or task.refusal.rstrip(".")
        return format_plan(plan, thought=f"Seen: {_seen(state)}. Asked for: {goal}. So: {order}.")

    def verdict_asked(self, step: str, prompt: str) -> list[Message]:
        return _messages(self.critic.fill(instruction=step, prompt=prompt))

    def verdict_answer(self, record: Record, image: Image, judged: JudgeLine, prompt: str, refined: str | None) -> str:
        """The judge's verdict. ``refined``: a prompt that is known to have helped; None writes one from the truth."""
        rewritten = prompt if judged.success else (refined or self.refine(record))
        thinks = _inspected(record, image, judged) if self.style == "embedded" else _told(record, judged)
        return format_verdict(judged.success, rewritten, thought=thinks)

    def refine(self, record: Record) -> str:
        """A complete new prompt for a step, from what the picture before shows."""
        if self.style == "embedded":
            return grounded_or_plain(record.step, record.before_state)
        text, name = instruction(record.step), record.step.obj
        if name is None:
            return f"{text}; keep everything else unchanged"
        now = support_words(record.before_state, name)
        return (
            f"{text}; the {name} is now {_the(now)}; there must be exactly one {name}; keep everything else unchanged"
        )


def _messages(filled: tuple[str, str]) -> list[Message]:
    system, user = filled
    chat: list[Message] = [{"role": "system", "content": defuse(system)}] if system else []
    return [*chat, {"role": "user", "content": defuse(user)}]


def _the(place: str) -> str:
    """``in the teal bowl`` from ``in teal bowl``."""
    word, _, thing = place.partition(" ")
    return f"{word} the {thing}"


def _seen(state: SceneState) -> str:
    things = [
        f"the {name} {_the(support_words(state, name))}" if name in state.cubes else f"the {name}"
        for name in state.names
        if name != DRAWER and listed(state, name)
    ]
    if state.drawer:
        things.append(f"the drawer, {state.drawer}")
    return ", ".join(things)


def _told(record: Record, judged: JudgeLine) -> str:
    what = instruction(record.step)
    if judged.success:
        return f'A: "{what}" has happened as asked. B: nothing else changed, and nothing is broken.'
    faults = "; ".join(judged.reasons) or "the picture is not good enough"
    which = "A" if judged.semantics <= judged.quality else "B"
    return f'"{what}" was asked for. {which} fails: {faults}.'


def _inspected(record: Record, image: Image, judged: JudgeLine) -> str:
    """What the picture shows, as the embedded critic thinks it."""
    from itk_embodied.training.critic_generated import Painting, damage_of, seen_record

    painting = Painting(record, image, judged)
    if judged.success:
        return thought(seen_record(painting), record.step, None)
    if record.step.obj is None:
        moved = {}
    else:
        moved = {record.step.obj: painting.place_px}
    return thought(record, record.step, Corrupted(image, "painted", moved, damage=np.asarray(damage_of(painting))))
