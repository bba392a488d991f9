"""The judge that knows: the simulator's ground truth against the pixels of a generated image."""

from __future__ import annotations

from itk_embodied.agents.base import CallContext
from itk_embodied.errors import InputError
from itk_embodied.training.judge.appearance import measure_looks
from itk_embodied.training.judge.base import Judgement, Subject
from itk_embodied.training.judge.edit import as_large, measure_edit
from itk_embodied.training.judge.measures import Measure, faults, points_of
from itk_embodied.training.shards import Record
from itk_embodied.types import Image


def measure(image: Image, record: Record) -> tuple[Measure, ...]:
    """Every fault of a picture for the step of ``record``, each with its limit."""
    picture = as_large(image, record)
    edit = measure_edit(picture, record)
    return (*edit.measures, *measure_looks(picture, record, edit.place_px))


class SimulatorJudge:
    """See `itk_embodied.training.judge.base.Judge`. Each score is that of the worst fault of its part."""

    name = "simulator"

    def judge(self, subject: Subject, image: Image, context: CallContext | None = None) -> Judgement:
        """Raises InputError where the subject has no ground truth."""
        if context is not None:
            context.check()
        if subject.record is None:
            raise InputError(f"the simulator cannot judge {subject.instruction!r}: there is no ground truth; use a VLM")
        found = measure(image, subject.record)
        change, other, natural, clean = (
            round(points_of(found, part), 3) for part in ("change", "else", "natural", "artefact")
        )
        return Judgement(change, other, natural, clean, faults(found))
