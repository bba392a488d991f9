"""What a critic says of pictures that are surely right or surely wrong: held-out pairs, as they are and spoilt.

Every critic is asked as at run time, through `itk_embodied.agents.base.Critic`, and so with its own threshold. The
generator's own outputs are another matter (`itk_embodied.evaluation.ablation.painted`): they are wrong in other ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itk_embodied.agents.base import CallContext, Critic
from itk_embodied.errors import ModelOutputError
from itk_embodied.evaluation.ablation.journal import Journal
from itk_embodied.evaluation.stats import Rate
from itk_embodied.pipeline import derive_seed
from itk_embodied.training.corruptions import CORRUPTIONS
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.language import instruction

ASKED_AGAIN = 3
"""How often a critic is asked whose answer cannot be read; the pipeline asks as often."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture (uint8 RGB, as large as the record's) after its step. ``kind``: how it was spoilt, or "right"."""

    record: Record
    image: Image
    kind: str

    @property
    def right(self) -> bool:
        return self.kind == "right"


@dataclass(frozen=True)
class Said:
    """The critic's word; ``accepted`` is None where no answer could be read, which refuses a picture at run time."""

    kind: str
    accepted: bool | None


def shown(records: Sequence[Record], seed: int) -> list[Shown]:
    """Every record's right picture, and one spoilt: the kinds take turns; where one does not apply, the next does."""
    kinds = list(CORRUPTIONS)
    made = []
    for number, record in enumerate(records):
        made.append(Shown(record, record.after, "right"))
        for turn in range(len(kinds)):
            kind = kinds[(number + turn) % len(kinds)]
            spoilt = CORRUPTIONS[kind](record, np.random.default_rng([seed, 61, number, turn]))
            if spoilt is not None:
                made.append(Shown(record, spoilt.image, kind))
                break
    return made


def ask_all(
    critic: Critic, pictures: Sequence[Shown], journal: Journal, seed: int, tick: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Ask about every picture that the journal has no word on; then count."""
    for number, one in enumerate(pictures):
        key = f"picture {number}"
        if key not in journal:
            journal.put(key, Said(one.kind, _ask(critic, one, derive_seed(seed, "battery", number))))
        tick()
    return count([journal.get(f"picture {number}", Said) for number in range(len(pictures))])


def _ask(critic: Critic, one: Shown, seed: int) -> bool | None:
    said = instruction(one.record.step)
    for ask in range(ASKED_AGAIN):
        context = CallContext(derive_seed(seed, ask))
        try:
            return critic.judge(one.record.before, one.image, said, said, context).success
        except ModelOutputError:
            continue
    return None


def count(answers: Sequence[Said]) -> dict[str, Any]:
    """False accepts and rejects with intervals, their balanced accuracy, and how often each kind was accepted."""
    wrong = [answer for answer in answers if answer.kind != "right"]
    right = [answer for answer in answers if answer.kind == "right"]
    accepts = Rate(sum(bool(answer.accepted) for answer in wrong), len(wrong))
    rejects = Rate(sum(not answer.accepted for answer in right), len(right))
    known = accepts.rate is not None and rejects.rate is not None
    accepted = {}
    for kind in ("right", *sorted({answer.kind for answer in wrong})):
        mine = [answer for answer in answers if answer.kind == kind]
        accepted[kind] = Rate(sum(bool(answer.accepted) for answer in mine), len(mine)).record()
    return {
        "false_accept": accepts.record(),
        "false_reject": rejects.record(),
        "balanced_accuracy": round(1 - (accepts.rate + rejects.rate) / 2, 4) if known else None,  # type: ignore[operator]
        "unreadable": sum(answer.accepted is None for answer in answers),
        "accepted_by_kind": accepted,
    }
