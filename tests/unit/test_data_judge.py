"""The simulator's judge: ground truth scores 10, also at another right place; wrong pictures score low."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tiny_pairs import pairs_folder

from itk_embodied.errors import ConfigError, InputError
from itk_embodied.training.judge import Judgement, SimulatorJudge, Subject, load_judge
from itk_embodied.training.judge.battery import BATTERY, CONTROLS
from itk_embodied.training.judge.command import run_validation
from itk_embodied.training.judge.edit import check_edit
from itk_embodied.training.judge.measures import Measure, faults, points_of
from itk_embodied.training.judge.validate import area_under_curve
from itk_embodied.training.shards import Record, ShardSet
from itk_sim.pairs import sample_pair
from itk_sim.placing import Placement
from itk_sim.symbols import TABLE
from itk_sim.table import Table

JUDGE = SimulatorJudge()


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [*ShardSet(pairs_folder(), "train"), *ShardSet(pairs_folder(), "held-out")]


def score(record: Record, image: np.ndarray) -> Judgement:
    return JUDGE.judge(Subject.of(record), image)


def test_ground_truth_scores_ten(records):
    for record in records:
        one = score(record, record.after)
        assert one.overall == 10 and one.success and not one.reasons, (record.step, one)
        larger = score(record, record.after.repeat(2, 0).repeat(2, 1))
        assert larger.overall == 10, (record.step, larger)


def test_ground_truth_within_noise_is_right(records):
    for number, record in enumerate(records):
        image = CONTROLS["ground truth, resized and noisy"](record, np.random.default_rng(number))
        one = score(record, image)
        assert one.success and one.overall > 6, (record.step, one)


@pytest.mark.parametrize("kind", sorted(set(BATTERY) - {"half erased"}))
def test_wrong_pictures_score_low(records, kind):
    """Half erased cubes are left out: painted over from the cube's other half they are now and then whole again."""
    scores = []
    for number, record in enumerate(records):
        image = BATTERY[kind](record, np.random.default_rng(number))
        if image is not None:
            scores.append(score(record, image).overall)
    assert not scores or np.mean(np.array(scores) < 5) > 0.75, (kind, np.round(scores, 1))


def test_the_battery_reaches_every_kind():
    """Those that need a stack or a drawer step too, on a pair made for them."""
    wanted = {"stack": "wrong stack order", "close drawer": "drawer as it was", "put in bowl": "wrong object"}
    from itk_sim.kinds import KINDS

    rng = np.random.default_rng(5)
    names = {w: next((k for k in KINDS if k.replace("_", " ") == w), None) for w in wanted}
    with Table() as table:
        for kind in KINDS:
            for step_kind, spoil in wanted.items():
                if names[step_kind] != kind:
                    continue
                pair = sample_pair(table, rng, 128, kind=kind)
                record = _record(pair)
                image = BATTERY[spoil](record, rng)
                assert image is None or score(record, image).overall < 5, (kind, spoil)


def _record(pair) -> Record:
    camera = pair.camera
    return Record(
        pair.before, pair.after, pair.before_seg, pair.after_seg, pair.before_state, pair.after_state, pair.step,
        pair.kind, np.asarray(camera.K), np.asarray(camera.world_from_camera),
    )  # fmt: skip


def test_another_right_place_is_right_and_a_wrong_one_is_not():
    """Put on the table: anywhere free will do. The cube is really put there and rendered, so shadows are right too."""
    rng = np.random.default_rng(11)
    tried = 0
    with Table() as table:
        while tried < 3:
            pair = sample_pair(table, rng, 128)
            if pair.step.target != TABLE or pair.after_state.drawer is not None:
                continue
            table.reset(pair.scene)
            here = table.snapshot()
            assert table.teleport(pair.step, rng)
            x, y, z = table.position_m(pair.step.obj)
            for dx, dy in ((0.05, 0.0), (-0.05, 0.0), (0.0, 0.06), (0.0, -0.06)):
                table.put(pair.step.obj, Placement(x + dx, y + dy, z, 0.0))
                table.settle()
                state = table.state()
                free = all(
                    np.hypot(*(np.subtract(state.position_m[pair.step.obj][:2], state.position_m[name][:2]))) > 0.1
                    for name in state.names if name != pair.step.obj
                )  # fmt: skip
                if state.support[pair.step.obj] == TABLE and free and state.visible[pair.step.obj] > 0.9:
                    one = score(_record(pair), table.render("front", 128))
                    assert one.success and one.overall > 6, (pair.step, (dx, dy), one)
                    tried += 1
            table.restore(here)


def test_what_lay_in_a_closed_drawer_does_not_count():
    rng = np.random.default_rng(2)
    with Table() as table:
        for _ in range(40):
            pair = sample_pair(table, rng, 128, kind="open_drawer" if "open_drawer" in _kinds() else None)
            inside = [cube for cube, holder in pair.before_state.support.items() if holder == "drawer"]
            if pair.step.verb == "open" and inside:
                break
        else:
            pytest.skip("no pair opens a drawer with something in it")
        record = _record(pair)
        image = record.after.copy()
        from itk_embodied.training.judge.edit import SEGMENT_ID

        image[record.after_seg == SEGMENT_ID[inside[0]]] = (120, 90, 60)
        assert score(record, image).success


def _kinds():
    from itk_sim.kinds import KINDS

    return KINDS


def test_the_check_is_what_the_judge_measures(records):
    """One set of measurements: where the check refuses, so does the judge, and with the same words."""
    for record in records:
        for kind in ("missing", "doubled", "bystander moved"):
            image = BATTERY[kind](record, np.random.default_rng(3))
            if image is not None and not check_edit(image, record).ok:
                one = score(record, image)
                assert not one.success
                assert set(check_edit(image, record).reasons) <= set(one.reasons)


def test_points_fall_from_ten_over_five_at_the_limit_to_nothing():
    def points(value):
        return Measure("change", "x", value, 2.0, "x is wrong").points

    assert points(0) == points(1.2) == 10
    assert points(2.0) == pytest.approx(5)
    assert points(3.0) == pytest.approx(2.5)
    assert points(4.0) == points(100.0) == 0
    worst = [Measure("else", "a", 1, 1, "a"), Measure("else", "b", 3, 2, "b"), Measure("natural", "c", 9, 1, "c")]
    assert points_of(worst, "else") == pytest.approx(2.5)
    assert points_of(worst, "artefact") == 10
    assert faults(worst) == ("b", "c")


def test_scores_combine_as_viescore_does():
    one = Judgement(9, 4, 8, 10)
    assert (one.semantics, one.quality, one.overall) == (4, 8, pytest.approx(np.sqrt(32)))
    assert not one.success and dataclasses.replace(one, nothing_else=5).success
    with pytest.raises(ValueError, match=r"0\.\.10"):
        Judgement(11, 1, 1, 1)
    with pytest.raises(ValueError, match=r"0\.\.10"):
        Judgement(float("nan"), 1, 1, 1)


def test_a_picture_without_ground_truth_is_refused(records):
    with pytest.raises(InputError, match="no ground truth"):
        JUDGE.judge(Subject(records[0].before, "put the red cube on the table"), records[0].after)


def test_the_judge_is_one_line_of_toml(tmp_path):
    path = tmp_path / "judge.toml"
    path.write_text('judge = { kind = "openai", base_url = "http://127.0.0.1:1/v1", model = "m" }\n')
    assert load_judge(str(path)).name == "openai:m@127.0.0.1:1"
    path.write_text('judge = "simulator"\n')
    assert load_judge(str(path)).name == "simulator"
    path.write_text('judge = { kind = "openai", base_url = "http://h/v1", model = "m", tires = 2 }\n')
    with pytest.raises(ConfigError, match=r"tires.*tries"):
        load_judge(str(path))
    path.write_text("other = 1\n")
    with pytest.raises(ConfigError, match="sets no judge"):
        load_judge(str(path))
    with pytest.raises(ConfigError, match="simulator"):
        load_judge("simulater")


def test_the_table_of_agreement(tmp_path):
    record = run_validation(
        pairs_folder(), cases=2, split="train", sheet=tmp_path / "sheet.png", json_file=tmp_path / "out.json"
    )
    assert json.loads((tmp_path / "out.json").read_text()) == record
    kinds = {one["kind"]: one for one in record["kinds"]}
    assert set(kinds) == {*CONTROLS, *BATTERY} and len(BATTERY) >= 12
    assert kinds["ground truth"]["mean"] == 10 and kinds["ground truth"]["auc"] is None
    assert kinds["no change"]["below_5"] == 1 and kinds["no change"]["auc"] == 1
    assert (tmp_path / "sheet.png").stat().st_size > 5000
    assert area_under_curve(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(0.875)
