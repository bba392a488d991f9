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
from itk_embodied.agents.stacks import Stack, parse_stack
from itk_embodied.errors import ConfigError, InputError, ModelOutputError
from itk_embodied.evaluation.ablation import agents as ablation_agents
from itk_embodied.evaluation.ablation import run as ablation
from itk_embodied.evaluation.ablation.agents import load_agents
from itk_embodied.evaluation.ablation.battery import Said, ask_all, count, shown
from itk_embodied.evaluation.ablation.command import ablation as ablation_command
from itk_embodied.evaluation.ablation.config import Ablation
from itk_embodied.evaluation.ablation.journal import Journal
from itk_embodied.evaluation.ablation.painted import drawn, paint_steps, summarise
from itk_embodied.evaluation.ablation.paired import ALL, STEPS, differences
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


def measured(records, critic, attempts, *, fails_first=True, truly=False):
    pipeline = VisualSubgoalPipeline(
        ScriptedPlanner(), Painter(records, fails_first), critic, PipelineConfig(max_attempts=attempts)
    )
    judged = not isinstance(critic, NoCritic)
    return summarise(list(paint_steps(pipeline, records, load_judge(), planned=True, judged=judged, truly=truly)))


def test_a_critic_that_sees_and_a_second_attempt_make_every_step_right(records: list[Record]) -> None:
    alone, watched = measured(records, NoCritic(), 1), measured(records, Looker(), 2)
    assert alone["right"]["success_rate"] == 0 and alone["balanced_accuracy"] is None
    assert watched["right"]["success_rate"] == 1 == watched["right_of_verified"]["success_rate"]
    assert watched["balanced_accuracy"] == 1 and watched["calls_per_step"] == 2
    assert watched["overall"] > alone["overall"] + 5


def test_a_critic_that_always_says_true_is_caught(records: list[Record]) -> None:
    fooled = measured(records, ScriptedCritic(True), 2)
    assert fooled["false_accept"]["success_rate"] == 1 and fooled["right_of_verified"]["success_rate"] == 0


def test_the_judge_as_critic_is_never_wrong(records: list[Record]) -> None:
    """Whatever the pipeline's own critic would say."""
    ceiling = measured(records, ScriptedCritic(True), 2, truly=True)
    assert ceiling["right"]["success_rate"] == 1 == ceiling["balanced_accuracy"] and ceiling["calls_per_step"] == 2


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


STACK = """
[planner]
kind = "qwen3vl"
checkpoint = "{planner}"
[generator]
kind = "composite-flow"
checkpoint = "none"
[critic]
kind = "qwen3vl"
checkpoint = "{critic}"
prompt = "embedded-critic"
"""


@pytest.fixture
def stacks(monkeypatch) -> list[str]:
    """Stacks of scripted agents under any name but one of two models; returns what was loaded, in order."""
    loads: list[str] = []

    def read(name: str):
        return parse_stack(STACK.format(planner=name, critic="other" if name == "two" else name), source=name)

    def load(name: str) -> Stack:
        loads.append(name)
        return Stack("test", ScriptedPlanner(plan_of("open the drawer")), NoiseGenerator(), ScriptedCritic(True))

    def build(role):
        loads.append(f"{role.role} {role.settings.checkpoint}")
        return ScriptedCritic(False) if role.role == "critic" else ScriptedPlanner(plan_of("close the drawer"))

    monkeypatch.setattr(ablation_agents, "read_stack", read)
    monkeypatch.setattr(ablation_agents, "load_stack", load)
    monkeypatch.setattr(ablation_agents, "build_role", build)
    return loads


def run(config: Ablation) -> dict:
    with progress_bar() as progress:
        return ablation.run_ablation(config, progress)


def test_a_row_is_measured_once_and_the_tables_hold_it(stacks, tmp_path: Path, monkeypatch) -> None:
    truth, own, other = "goals: ground truth", "+ critic, T_max 3", "critic other, T_max 3"
    config = Ablation(
        tmp_path, critics={"other": "any"}, data=pairs_folder(), suites=("put_in",), episodes=1, steps=2, battery=3,
        only=(truth, own, other),
    )  # fmt: skip
    record = run(config)
    assert stacks == ["embedded", "critic any"] and [r["name"] for r in record["rows"]] == [own, other, truth]
    first, refused, last = record["rows"]
    assert first["painted"]["steps"] == 2 and first["painted"]["false_accept"]["success_rate"] == 1
    assert last["painted"] is last["battery"] is None and last["closed_loop"]["put_in"]["episodes"] == 1
    assert first["battery"]["false_accept"]["success_rate"] == 1 == refused["battery"]["false_reject"]["success_rate"]
    assert first["battery"]["false_accept"]["episodes"] == 3 and first["battery"]["false_reject"]["successes"] == 0
    assert not list(tmp_path.glob("*/*.jsonl")) and record["differences"][truth]["put_in"]["pairs"] == 1

    with monkeypatch.context() as patch:
        patch.setattr(ablation, "_Measuring", lambda *a: pytest.fail("measured again"))
        assert run(config) == record
    markdown, sheet, picture = write_tables(record, tmp_path)
    text = markdown.read_text()
    assert "| 0/1 |" in text and f"Difference to `{own}`" in text and "| kind | own | other |" in text
    assert "| right | 3/3 | 0/3 |" in text
    lines = list(csv.DictReader(sheet.open()))
    assert [line["variant"] for line in lines] == [own, other, truth]
    assert float(lines[2]["put_in"]) == 0 and float(lines[0]["battery_false_accept"]) == 1
    assert float(lines[0]["battery_false_accept_low"]) < 0.6 and lines[2]["battery_false_accept"] == ""
    assert picture.stat().st_size > 5000
    json.dumps(record)


def test_another_stack_for_a_critic_measures_its_rows_again_and_no_other(stacks, tmp_path: Path) -> None:
    def config(stack: str) -> Ablation:
        return Ablation(
            tmp_path, critics={"x": stack}, data=pairs_folder(), suites=(), steps=1, battery=1,
            only=("+ critic, T_max 1", "critic x, T_max 3"),
        )  # fmt: skip

    def written() -> dict[str, int]:
        return {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}

    run(config("one"))
    before = written()
    run(config("two"))
    changed = {name for name, when in written().items() if when != before[name]}
    assert changed == {"x", "critic-x--t-max-3"}


def test_a_row_cut_short_goes_on_behind_its_last_episode(stacks, tmp_path: Path, monkeypatch) -> None:
    config = Ablation(
        tmp_path, data=pairs_folder(), suites=("put_in",), episodes=3, steps=2, battery=2, only=("+ critic, T_max 1",)
    )
    whole = run(Ablation(**{**vars(config), "out": tmp_path / "whole"}))
    done: list[str] = []
    episode = ablation.ClosedLoop.episode

    def cut(self, line, seed=0):
        if len(done) == 1:
            done.append("stop")
            raise KeyboardInterrupt
        done.append(line["id"])
        return episode(self, line, seed)

    monkeypatch.setattr(ablation.ClosedLoop, "episode", cut)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert ablation.collected(config)["rows"] == []
    (half,) = tmp_path.glob("rows/*.jsonl")
    half.write_bytes(half.read_bytes() + b'["put_in 1",{"id":')  # killed in the middle of a line
    again = run(config)
    assert len(done) == 4 and len(set(done)) == 4, "an episode was run twice"
    for record in (whole, again):
        for one in record["rows"][0]["closed_loop"]["put_in"]["per_episode"]:
            one["seconds"] = one["first_subgoal_seconds"] = 0
    assert again == whole


def test_the_ceiling_is_measured_on_steps_alone(stacks, tmp_path: Path) -> None:
    (name,) = [row.name for row in variants() if not row.closed]
    record = run(
        Ablation(tmp_path, data=pairs_folder(), suites=("put_in",), episodes=1, steps=2, battery=2, only=(name,))
    )
    (row,) = record["rows"]
    assert row["closed_loop"] == {} and row["battery"] is None
    assert row["painted"]["balanced_accuracy"] is None and row["painted"]["false_accept"]["successes"] == 0
    assert "| critic the judge, T_max 3 |" in write_tables(record, tmp_path)[0].read_text()
    with pytest.raises(InputError, match="'the judge'"):
        Ablation(tmp_path, critics={"the judge": "any"})


def test_the_command_stopped_by_hand_leaves_the_tables_of_whole_rows(stacks, tmp_path: Path, monkeypatch) -> None:
    def command(*rows: str, critics: tuple[str, ...] = ()) -> None:
        ablation_command(
            out=tmp_path, critic=list(critics), data=pairs_folder(), steps=0, battery=0, suite=["put_in"], episodes=1,
            row=list(rows), stack="embedded", one_agent=None, judge="simulator", seed=0,
        )  # fmt: skip

    command("goals: ground truth")
    (tmp_path / "ablation.md").unlink()
    monkeypatch.setattr(ablation.ClosedLoop, "episode", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        command("goals: degraded", "goals: ground truth")
    text = (tmp_path / "ablation.md").read_text()
    assert "goals: ground truth" in text and "goals: degraded" not in text
    with pytest.raises(InputError, match="takes NAME=STACK"):
        command(critics=("rl",))
    with pytest.raises(InputError, match="given twice"):
        command(critics=("rl=a", "rl=b"))


def test_a_journal_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "row.jsonl"
    with Journal(path, {"seed": 0}) as journal:
        journal.put("picture 0", Said("right", True))
    with Journal(path, {"seed": 0}) as journal:
        assert journal.get("picture 0", Said) == Said("right", True)
    with Journal(path, {"seed": 1}) as journal:
        assert "picture 0" not in journal


def test_the_battery_counts_what_the_critic_says(records: list[Record], tmp_path: Path) -> None:
    pictures = shown(records, 0)
    assert [one.right for one in pictures[::2]] == [True] * len(records) and not any(p.right for p in pictures[1::2])
    assert len({one.kind for one in pictures}) > 4
    assert all(not np.array_equal(p.image, p.record.after) for p in pictures if not p.right)

    class Mute:
        name = "mute"
        asked = 0

        def judge(self, before, after, instruction, prompt, context):
            self.asked += 1
            raise ModelOutputError("no answer", raw="?")

    mute = Mute()
    with Journal(tmp_path / "mute.jsonl", {}) as journal:
        found = ask_all(mute, pictures[:2], journal, 0)
    assert mute.asked == 6 and found["unreadable"] == 2 and found["false_reject"]["success_rate"] == 1
    knowing = count([Said(one.kind, one.right) for one in pictures])
    assert knowing["balanced_accuracy"] == 1 and knowing["accepted_by_kind"]["right"]["success_rate"] == 1


def test_rows_are_compared_case_by_case() -> None:
    def row(name: str, *successes: bool) -> dict:
        episodes = [{"id": f"s-{i}", "success": success} for i, success in enumerate(successes)]
        return {"name": name, "closed_loop": {"s": {"per_episode": episodes}}, "painted": None}

    ours, same = row("+ critic, T_max 3", *[True] * 6, *[False] * 6), row("same", *[True] * 6, *[False] * 6)
    swapped = row("swapped", *[False] * 6, *[True] * 6)
    found = differences([row("worse", *[False] * 12), same, swapped, ours], ["s"])
    assert found["worse"]["s"]["difference"] == -0.5 and found["worse"]["s"]["interval_95"][1] < 0
    assert found["same"]["s"]["interval_95"] == [0, 0] and found["swapped"]["s"]["difference"] == 0
    assert found["swapped"]["s"]["interval_95"][1] > 0.4 and STEPS not in found["same"] and ALL not in found["same"]
    assert differences([same], ["s"]) == {}


def test_rows_put_together_what_they_say() -> None:
    rows = {row.name: row for row in variants(["rl"], one_agent=True)}
    generator = NoiseGenerator()
    critics = {name: ScriptedCritic(True) for name in ("own", "rl", "one agent")}
    planners = {name: ScriptedPlanner() for name in ("own", "one agent")}

    def made(name: str) -> VisualSubgoalPipeline:
        return assemble(rows[name], planners, generator, critics, PipelineConfig())

    assert isinstance(made("generator only").critic, NoCritic) and made("generator only").planner.name == "no-planner"
    assert made("critic rl, T_max 3").critic is critics["rl"] and made("+ critic, T_max 5").config.max_attempts == 5
    assert made("critic rl, T_max 3").planner is planners["own"]
    both = made("one agent for both roles, T_max 3")
    assert both.planner is planners["one agent"] and both.critic is critics["one agent"]
    assert both.generator is generator
    unverified = made("goals: unverified, T_max 3")
    assert unverified.critic is critics["own"] and unverified.config.continue_after_unverified
    assert unverified.config.max_attempts == 3 and not made("+ critic, T_max 3").config.continue_after_unverified
    assert made("3 seeds, critic as filter").generator.count == 3
    assert len({row.slug for row in rows.values()}) == len(rows)
    assert len(rows) == len(variants()) + 2


def test_one_agent_is_one_model(stacks, tmp_path: Path) -> None:
    agents = load_agents(Ablation(tmp_path, one_agent="both"))
    assert stacks == ["embedded", "planner both", "critic both"]
    assert set(agents.planners) == {"own", "one agent"} == set(agents.critics)
    with pytest.raises(ConfigError, match="its planner is qwen3vl two, its critic qwen3vl other"):
        load_agents(Ablation(tmp_path, one_agent="two"))


def test_mistakes_are_named(stacks, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="suite 'nothing'"):
        Ablation(tmp_path, suites=("nothing",))
    with pytest.raises(InputError, match="cannot be named 'own'"):
        Ablation(tmp_path, critics={"own": "x"})
    with pytest.raises(InputError, match="no row 'x'"):
        run(Ablation(tmp_path, only=("x",)))
    with pytest.raises(InputError, match="too much alike"):
        run(Ablation(tmp_path, critics={"a b": "x", "a-b": "x"}))
    with pytest.raises(ConfigError, match="no held-out pairs"):
        run(Ablation(tmp_path, data=tmp_path / "none"))
