"""The ablation: its parts do what they say, a row is measured once, and the tables hold what was measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of
from tiny_pairs import pairs_folder

pytest.importorskip("itk_sim.table")

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.stacks import Stack
from itk_embodied.errors import ConfigError, InputError
from itk_embodied.evaluation.ablation import run as ablation
from itk_embodied.evaluation.ablation.painted import drawn, paint_steps, summarise
from itk_embodied.evaluation.ablation.parts import BestOfSeeds, NoCritic
from itk_embodied.evaluation.ablation.table import write_tables
from itk_embodied.evaluation.ablation.variants import assemble, variants
from itk_embodied.evaluation.command import progress_bar
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.training.judge import load_judge
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.types import Image, Verdict


class Painter:
    """Knows the right pictures and paints them, or leaves the frame as it was at the first attempt."""

    name = "painter"

    def __init__(self, records: list[Record], fails_first: bool) -> None:
        self.known = {record.before.tobytes(): record.after for record in records}
        self.fails_first, self.asked = fails_first, set[bytes]()

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        first = image.tobytes() not in self.asked
        self.asked.add(image.tobytes())
        return image.copy() if self.fails_first and first else self.known[image.tobytes()].copy()


class Looker:
    """Accepts whatever differs from the frame."""

    name = "looker"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        changed = not np.array_equal(before, after)
        return Verdict(changed, prompt, float(changed))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return drawn(ShardSet(pairs_folder(), "held-out"), 6, 0)


def measured(records, critic, attempts, *, fails_first=True):
    pipeline = VisualSubgoalPipeline(
        ScriptedPlanner(), Painter(records, fails_first), critic, PipelineConfig(max_attempts=attempts)
    )
    judged = not isinstance(critic, NoCritic)
    return summarise(list(paint_steps(pipeline, records, load_judge(), planned=True, judged=judged)))


def test_a_critic_that_sees_and_a_second_attempt_make_every_step_right(records: list[Record]) -> None:
    alone, watched = measured(records, NoCritic(), 1), measured(records, Looker(), 2)
    assert alone["right"]["success_rate"] == 0 and alone["balanced_accuracy"] is None
    assert watched["right"]["success_rate"] == 1 == watched["right_of_verified"]["success_rate"]
    assert watched["balanced_accuracy"] == 1 and watched["calls_per_step"] == 2
    assert watched["overall"] > alone["overall"] + 5


def test_a_critic_that_always_says_true_is_caught(records: list[Record]) -> None:
    fooled = measured(records, ScriptedCritic(True), 2)
    assert fooled["false_accept"]["success_rate"] == 1 and fooled["right_of_verified"]["success_rate"] == 0


def test_the_best_of_several_seeds_is_the_one_the_critic_prefers() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    generator = NoiseGenerator()

    class Brightest:
        name = "brightest"

        def judge(self, before, after, instruction, prompt, context):
            return Verdict(True, prompt, float(after.mean()))

    best = BestOfSeeds(generator, Brightest(), 4).generate(frame, "step", CallContext(seed=3))
    assert len({seed for _, _, seed in generator.calls}) == 4
    again = [generator.generate(frame, "step", CallContext(seed=seed)) for _, _, seed in generator.calls[:4]]
    assert best.mean() == max(image.mean() for image in again)


def test_a_row_is_measured_once_and_the_tables_hold_it(records, tmp_path: Path, monkeypatch) -> None:
    loads = []

    def load(name):
        loads.append(name)
        return Stack("test", ScriptedPlanner(plan_of("open the drawer")), NoiseGenerator(), ScriptedCritic(True))

    monkeypatch.setattr(ablation, "load_stack", load)
    row = "goals: ground truth"
    config = ablation.Ablation(
        tmp_path, critics={"other": "any"}, data=pairs_folder(), suites=("put_in",), episodes=1, steps=2,
        only=(row, "critic other, T_max 3"),
    )  # fmt: skip
    with progress_bar() as progress:
        record = ablation.run_ablation(config, progress)
    assert loads == ["embedded", "any"] and [r["name"] for r in record["rows"]] == ["critic other, T_max 3", row]
    painted, truth = record["rows"][0]["painted"], record["rows"][1]
    assert painted["steps"] == 2 and painted["false_accept"]["success_rate"] == 1 and truth["painted"] is None
    assert truth["closed_loop"]["put_in"]["episodes"] == 1

    monkeypatch.setattr(ablation, "_measure", lambda *a: pytest.fail("measured again"))
    with progress_bar() as progress:
        assert ablation.run_ablation(config, progress) == record
    markdown, sheet, picture = write_tables(record, tmp_path)
    assert row in markdown.read_text() and "| 0/1 |" in markdown.read_text()
    lines = list(csv.DictReader(sheet.open()))
    assert [line["variant"] for line in lines] == [r["name"] for r in record["rows"]]
    assert float(lines[1]["put_in"]) == 0 and picture.stat().st_size > 5000
    json.dumps(record)


def test_rows_put_together_what_they_say() -> None:
    rows = {row.name: row for row in variants(["rl"])}
    generator, critics = NoiseGenerator(), {"own": ScriptedCritic(True), "rl": ScriptedCritic(False)}

    def made(name: str) -> VisualSubgoalPipeline:
        return assemble(rows[name], ScriptedPlanner(), generator, critics, PipelineConfig())

    assert isinstance(made("generator only").critic, NoCritic) and made("generator only").planner.name == "no-planner"
    assert made("critic rl, T_max 3").critic is critics["rl"] and made("+ critic, T_max 5").config.max_attempts == 5
    assert made("3 seeds, critic as filter").generator.count == 3
    assert len({row.slug for row in rows.values()}) == len(rows)


def test_mistakes_are_named(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match="suite 'nothing'"):
        ablation.Ablation(tmp_path, suites=("nothing",))
    monkeypatch.setattr(ablation, "load_stack", lambda name: Stack("t", *[ScriptedPlanner()] * 3))
    with progress_bar() as progress:
        with pytest.raises(InputError, match="no row 'x'"):
            ablation.run_ablation(ablation.Ablation(tmp_path, only=("x",)), progress)
        with pytest.raises(ConfigError, match="no held-out pairs"):
            ablation.run_ablation(ablation.Ablation(tmp_path, data=tmp_path / "none"), progress)
