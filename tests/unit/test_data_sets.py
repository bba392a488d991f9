"""The three sets: `datasets` and the trainers read them, answers keep their contracts, labels are the judge's."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from told_roles import knowing, unknowing, watched

pytest.importorskip("datasets", reason='training sets need: pip install "itk-embodied[train]"')

from itk_embodied.agents.contracts import parse_plan, parse_verdict
from itk_embodied.errors import InputError, MissingDependencyError
from itk_embodied.images import png_bytes
from itk_embodied.training import fanout
from itk_embodied.training.fanout import fan_out
from itk_embodied.training.judge import SimulatorJudge, Subject
from itk_embodied.training.rollouts.make import RolloutSettings, make_rollouts
from itk_embodied.training.rollouts.store import RolloutSet
from itk_embodied.training.sets.build import SetSettings, build_sets, print_counts
from itk_embodied.training.sets.extract import planner_row
from itk_embodied.training.sets.filters import NO_TRUTH, FilterSettings
from itk_embodied.training.sets.schema import SET_NAMES, features, load_set, set_file
from itk_embodied.training.sets.show import write_page
from itk_embodied.training.sets.texts import Texts
from itk_embodied.training.tuning.rows import load_rows
from itk_sim.language import parse_instruction

ROLLOUTS = RolloutSettings("told", attempts=3, misled=0.4, shard_size=5, seed=6)


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory):
    out = tmp_path_factory.mktemp("rollouts")
    with pytest.MonkeyPatch.context() as patch:
        desk = watched(patch)
        make_rollouts(out, 10, ROLLOUTS, first=17, roles=lambda _: knowing(desk), progress=False)
    return out


@pytest.fixture(scope="module")
def built(rollouts, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets")
    return out, build_sets(rollouts, out, SetSettings("plain"), progress=False), "plain"


def test_datasets_loads_every_set_with_its_columns(built, tmp_path):
    from datasets import load_dataset

    out, record, _ = built
    for name in SET_NAMES:
        file = str(set_file(out, name, "train"))
        rows = load_dataset("parquet", data_files=file, cache_dir=str(tmp_path))["train"]
        assert rows.features == features(name) and len(rows) == record["rows"]["train"][name] > 0
        assert rows[0]["images"][0].size == (128, 128)


def test_the_trainers_take_the_supervised_sets(built):
    out, record, _ = built
    for name, role in (("planner_sft", "planner"), ("critic_sft", "critic")):
        assert len(load_rows([set_file(out, name, "train")], role)) == record["rows"]["train"][name]


@pytest.mark.parametrize("style", ["embedded", "plain"])
def test_planner_rows_hold_the_rest_of_the_plan_behind_a_random_cut(rollouts, style):
    texts, cuts = Texts.of(style), set()
    for one, seed in itertools.product(RolloutSet(rollouts), range(5)):
        row = planner_row(one, texts, seed)
        plan = parse_plan(row.messages[-1]["content"])
        assert [turn["role"] for turn in row.messages][-2:] == ["user", "assistant"]
        assert row.task in row.messages[-2]["content"]
        steps = tuple(parse_instruction(step.instruction) for step in plan.image_steps)
        assert steps == one.line.task.steps[row.cut :] and len(steps) == row.steps
        if not steps:
            assert one.line.task.refusal and plan.answer == one.line.task.refusal
        told = re.search(r"Asked for: (.+?)\. So: ", row.messages[-1]["content"])
        assert (told is None) is (style == "embedded")
        assert told is None or not re.search(r"[<>;]|  |^ | ,", told[1]), "plain words, no places"
        assert len(row.images) == (1 if style == "embedded" else 1 + min(row.cut, 3))
        if not row.cut or style == "plain":
            assert row.images[0] == png_bytes(one.frame)
        cuts.add(row.cut)
    assert len(cuts) > 1, "some are cut behind the first step"


def test_critic_rows_say_what_the_judge_says(built, rollouts):
    out, record, _ = built
    judge, truth = SimulatorJudge(), RolloutSet(rollouts).truth("train")
    for name in ("critic_sft", "critic_rl"):
        rows = load_set(out, name)
        for row in rows:
            before, candidate = (np.asarray(image.convert("RGB")) for image in row["images"])
            ground = truth.record(row["shard"], row["row"])
            assert np.array_equal(before, ground.before) and parse_instruction(row["instruction"]) == ground.step
            again = judge.judge(Subject.of(ground), candidate)
            assert (again.success, again.semantics, again.quality) == (
                row["success"], row["semantics"], row["quality"]
            )  # fmt: skip
            asked = row["messages" if name == "critic_sft" else "prompt"]
            assert row["instruction"] in asked[-2 if name == "critic_sft" else -1]["content"]
            if name == "critic_rl":
                assert asked[-1]["role"] == "user", "no answer to copy"
                continue
            verdict = parse_verdict(asked[-1]["content"], 0.5)
            assert verdict.success == row["success"]
            assert (verdict.refine_prompt == row["generator_prompt"]) or not row["success"]
        counts = record["filters"]["train"]
        assert len(rows) == counts["rows"][name] and 0 < counts["true"][name] < len(rows)


def test_hard_sequences_have_the_rejected_attempts_and_easy_ones_do_not(built):
    from datasets import Dataset
    from pyarrow import parquet

    out, _, _ = built
    easy, hard = (Dataset(parquet.read_table(set_file(out, f"sequences_{kind}", "train"))) for kind in ("easy", "hard"))
    assert len(easy) == len(hard) > 0
    kinds = [{segment["kind"] for row in rows for segment in row["segments"]} for rows in (easy, hard)]
    assert "goal" in kinds[0] and not kinds[0] & {"attempt", "critique"} and {"attempt", "critique"} <= kinds[1]
    for row in hard:
        numbers = [segment["image"] for segment in row["segments"] if segment["image"] >= 0]
        assert numbers == list(range(len(row["images"])))


def test_card_and_sheet_tell_what_is_there_and_a_second_run_changes_nothing(built, rollouts, capsys):
    out, record, style = built
    card = (out / "README.md").read_text()
    assert f"style `{style}`" in card and f"| critic_sft | {record['rows']['train']['critic_sft']} |" in card
    assert "steps dropped" in card and (out / "sheet.png").stat().st_size > 5000
    stamp = set_file(out, "critic_sft", "train").stat().st_mtime_ns
    assert build_sets(rollouts, out, SetSettings(style), progress=False) == json.loads((out / "sets.json").read_text())
    assert set_file(out, "critic_sft", "train").stat().st_mtime_ns == stamp and not list(out.glob(".parts*"))
    print_counts(record)
    assert "rows dropped" in capsys.readouterr().out


def test_unfiltered_sets_drop_no_step_and_say_so(built, rollouts, tmp_path):
    filtered = built[1]["filters"]["train"]
    record = build_sets(
        rollouts, tmp_path, SetSettings("plain", filters=FilterSettings(filtered=False)), progress=False
    )
    assert set(record["filters"]["train"]["steps_dropped"]) <= {NO_TRUTH}
    kept = [sum(counts["steps_kept"].values()) for counts in (record["filters"]["train"], filtered)]
    assert kept[0] > kept[1] and record["made"] != built[1]["made"]
    card, other = ((folder / "README.md").read_text() for folder in (tmp_path, built[0]))
    assert "critic's rows are not filtered" in card and "low 4" not in card
    assert "critic's rows are not filtered" not in other and "low 4" in other


def test_any_sample_is_a_page(built, rollouts, tmp_path):
    out, _, _ = built
    sources = [rollouts, *(set_file(out, name, "train") for name in (*SET_NAMES, "sequences_hard"))]
    for source in sources:
        page = write_page(source, 1, tmp_path / "page.html").read_text()
        assert page.startswith("<!doctype html>") and "data:image/png;base64," in page
    with pytest.raises(InputError, match="no sample 99"):
        write_page(rollouts, 99, tmp_path / "page.html")
    with pytest.raises(InputError, match="no pairs"):
        write_page(tmp_path, 0, tmp_path / "page.html")


def test_a_wrong_folder_or_style_is_said(rollouts, tmp_path):
    with pytest.raises(InputError, match="embedded, plain"):
        build_sets(rollouts, tmp_path, SetSettings("english"))
    with pytest.raises(InputError, match="train data rollouts"):
        build_sets(tmp_path, tmp_path, SetSettings())
    with pytest.raises(InputError, match="critic_sft"):
        load_set(tmp_path, "critic_stf")


def double(item: int) -> dict:
    import os

    return {"item": 2 * item, "process": os.getpid()}


def test_work_fans_out_to_processes():
    import os

    done = list(fan_out([1, 2, 3], double, workers=2))
    assert sorted(one["item"] for one in done) == [2, 4, 6] and os.getpid() not in {one["process"] for one in done}
    assert list(fan_out([], double)) == []
    with pytest.raises(InputError, match="workers is 0"):
        list(fan_out([1], double, workers=0))


def test_without_ray_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"itk-embodied\[ray\]"):
        list(fan_out([1], double, ray=True))


@pytest.mark.slow
def test_the_same_stages_run_on_a_local_ray(tmp_path):
    pytest.importorskip("ray", reason=f"needs Ray: {fanout.RAY_LINE}")
    settings = RolloutSettings("drawer", attempts=2, misled=0.0, shard_size=2, families=("open_drawer",))
    folders = {"here": tmp_path / "here", "ray": tmp_path / "ray"}
    with fanout.ray_session(1):
        for name, folder in folders.items():
            made = make_rollouts(folder, 2, settings, ray=name == "ray", roles=unknowing, progress=False)
            assert made == 1
            build_sets(folder, folder / "sets", SetSettings(), ray=name == "ray", progress=False)
    for name in ("trajectories.jsonl", "attempts.npy", "after.npy"):
        one, other = (folder / "shard-00000" / name for folder in folders.values())
        assert one.read_bytes() == other.read_bytes(), name
    sets = [load_set(folder / "sets", "planner_sft") for folder in folders.values()]
    assert sets[0].to_list() == sets[1].to_list() and len(sets[0]) == 2
    assert Path(folders["ray"] / "sets" / "README.md").is_file()
