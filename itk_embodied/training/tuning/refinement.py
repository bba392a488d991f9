"""What a refined prompt is worth: the step is painted again from it and scored against the original instruction.

Paintings of a batch are made together, equal ones once. A generator or scorer that fails makes its answer neutral, but
never quietly: failures are counted and logged, and too many of them stop the run.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from itk_embodied.agents.base import CallContext, Generator
from itk_embodied.agents.generators.batching import generate_many
from itk_embodied.errors import ItkError
from itk_embodied.training.judge.base import Judge, Subject
from itk_embodied.training.tuning.cases import Case
from itk_embodied.training.tuning.rewards import Gain, Scores
from itk_embodied.types import Image

LOG = logging.getLogger(__name__)
MOST_FAILED, TRIED_AT_LEAST = 0.5, 32
"""More failures than this share of at least so many tries stop the run."""


@dataclass
class Tally:
    """How often something was tried and failed."""

    generated: int = 0
    generator_failures: int = 0
    scored: int = 0
    scorer_failures: int = 0
    last_error: str = ""


@dataclass
class Refinery:
    """Paints refined prompts and lets the judge score the results. Any exception of either counts as its failure.

    Attributes:
        seed: with a case's key and the step of the run, it fixes the noise: all answers of a group get the same, so
            what differs between them is their prompts.
    """

    generator: Generator
    judge: Judge
    seed: int = 0
    tally: Tally = field(default_factory=Tally)
    _known: dict[str, Scores] = field(default_factory=dict)

    def standing(self, case: Case) -> Scores | None:
        """The judge's word on the case's own painting, asked for once; None where the judge failed."""
        known = case.scores or self._known.get(case.key)
        if known is None:
            known = self._score(case, case.after)
            if known is not None:
                self._known[case.key] = known
        return known

    def gains(self, asked: Sequence[tuple[Case, Scores, str]], step: int) -> list[Gain | None]:
        """For every case, its standing and a refined prompt, what that changes; None where generator or judge failed.

        Raises:
            ItkError: most tries failed so far.
        """
        unique = list(dict.fromkeys((case.key, prompt) for case, _, prompt in asked))
        cases = {case.key: (case, standing) for case, standing, _ in asked}
        images = generate_many(
            self.generator,
            [cases[key][0].before for key, _ in unique],
            [prompt for _, prompt in unique],
            [CallContext(seed=self._noise(key, step)) for key, _ in unique],
        )
        found: dict[tuple[str, str], Gain | None] = {}
        for (key, prompt), image in zip(unique, images, strict=True):
            found[key, prompt] = self._gain(*cases[key], image)
        return [found[case.key, prompt] for case, _, prompt in asked]

    def _gain(self, case: Case, standing: Scores, image: Image | Exception) -> Gain | None:
        self.tally.generated += 1
        if isinstance(image, Exception):
            self.tally.generator_failures += 1
            self._note(f"the generator failed on {case.key}", image)
            return None
        after = self._score(case, image)
        return None if after is None else Gain(standing, after)

    def _score(self, case: Case, image: Image) -> Scores | None:
        self.tally.scored += 1
        try:
            return Scores.of(self.judge.judge(Subject(case.before, case.instruction, case.record), image))
        except Exception as error:
            self.tally.scorer_failures += 1
            self._note(f"the judge failed on {case.key}", error)
            return None

    def _note(self, what: str, error: Exception) -> None:
        """Log a failure; raise ItkError where most tries fail."""
        self.tally.last_error = f"{what}: {type(error).__name__}: {error}"
        LOG.warning("%s", self.tally.last_error)
        tally = self.tally
        for name, failed, tried in (
            ("generator", tally.generator_failures, tally.generated),
            ("judge", tally.scorer_failures, tally.scored),
        ):
            if tried >= TRIED_AT_LEAST and failed > MOST_FAILED * tried:
                raise ItkError(
                    f"the {name} failed {failed} of {tried} times ({tally.last_error}); rewards would mean nothing. "
                    "Mend it and run the same command again: the run goes on from its last checkpoint."
                )

    def _noise(self, key: str, step: int) -> int:
        digest = hashlib.sha256(f"{self.seed}/{step}/{key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1
