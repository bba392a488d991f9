"""Training runs, resumes exactly, carries over between resolutions, and writes a pipeline that loads."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_pairs import pairs_folder

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from itk_embodied import cli  # noqa: E402
from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline  # noqa: E402
from itk_embodied.agents.generators.words import places  # noqa: E402
from itk_embodied.errors import ConfigError  # noqa: E402
from itk_embodied.training.generator import edit_loss, share_kept, train_generator  # noqa: E402
from itk_embodied.training.generator_batches import make_batch  # noqa: E402
from itk_embodied.training.generator_model import GeneratorTraining, new_reader  # noqa: E402
from itk_embodied.training.generator_reader import random_state, train_reader  # noqa: E402
from itk_embodied.training.generator_report import by_kind, paint, sheet  # noqa: E402
from itk_embodied.training.generator_text import SLOTS, named_cells, slot_values  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402
from itk_sim.language import grounded, instruction  # noqa: E402
from itk_sim.symbols import DIRECTIONS, Step  # noqa: E402


def config(out, **changes) -> GeneratorTraining:
    tiny = GeneratorTraining(
        data=pairs_folder(), out=out, samples=12, batch=2, channels=(16, 16, 32), words_width=32, reader_steps=2,
        stages=((64, 0.5), (128, 0.5)),
    )  # fmt: skip
    return dataclasses.replace(tiny, **changes)


def weights(out):
    return load_file(out / "state.safetensors")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, monkeypatch, workers):
    train_generator(config(tmp_path / "whole"), progress=False)
    from itk_embodied.training import generator

    real, steps = generator._Run._step, []

    def step(run, batch):
        if len(steps) == 4:
            raise KeyboardInterrupt
        steps.append(1)
        return real(run, batch)

    monkeypatch.setattr(generator._Run, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_generator(config(tmp_path / "broken", workers=workers), progress=False)
    monkeypatch.undo()
    folder = train_generator(config(tmp_path / "broken", workers=workers), progress=False)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[k], broken[k]) for k in whole)
    pipeline = CompositeFlowEditPipeline.from_pretrained(folder)
    assert pipeline.config.patch == 4


def test_the_weights_move_and_the_first_guess_is_no_change(tmp_path):
    train_generator(config(tmp_path / "a", samples=2, stages=((64, 1.0),)), progress=False)
    train_generator(config(tmp_path / "b", samples=6, stages=((64, 1.0),)), progress=False)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert any(not torch.equal(a[k], b[k]) for k in a if k.startswith("model.unet.conv_out"))


def test_content_must_be_right_around_a_change_whatever_the_mask_is():
    frame, edited, changed = torch.zeros(1, 3, 32, 64), torch.zeros(1, 3, 32, 64), torch.zeros(1, 1, 32, 64)
    edited[..., 10:14, 20:24], changed[..., 10:14, 20:24] = 0.5, 1.0

    def loss(content, mask=changed):
        return float(edit_loss(content, mask, frame, edited, changed, GeneratorTraining()))

    right, beside, far = edited.clone(), edited.clone(), edited.clone()
    beside[..., 12, 26], far[..., 12, 40] = 0.8, 0.8  # neither is seen: the mask is shut there
    assert (
        loss(right) < 1e-3 and loss(far) == pytest.approx(loss(right), abs=1e-6) and loss(beside) > loss(right) + 1e-3
    )
    assert loss(right, torch.zeros_like(changed)) > loss(right)
    spoilt = edited.clone()
    spoilt[..., 12, 22] = -0.5
    assert loss(spoilt) > loss(beside), "what is seen counts more"


def test_every_step_of_the_drawer_and_of_a_crowd_is_trained_on_and_easy_ones_seldom():
    shards = ShardSet(pairs_folder())
    assert {share_kept(replace(record, kind="into a crowd")) for record in shards} == {1.0}
    for record in shards:
        step = record.step
        drawer = step.verb != "place" or step.target == "drawer" or record.before_state.support[step.obj] == "drawer"
        usual = 0.3 if record.kind == "at" else 0.55 if record.kind in DIRECTIONS else 0.6
        assert share_kept(record) == (1.0 if drawer else usual)


def test_another_run_can_start_from_a_pipeline(tmp_path):
    first = train_generator(config(tmp_path / "first", samples=2), progress=False)
    train_generator(config(tmp_path / "second", samples=2, lr=0.0, init=first, stages=((64, 1.0),)), progress=False)
    one, two = (
        CompositeFlowEditPipeline.from_pretrained(tmp_path / name / "pipeline").unet.state_dict()
        for name in ("first", "second")
    )
    key = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(one[key], two[key])


def test_batches_are_bands_and_both_pictures_get_the_same_light():
    shards = ShardSet(pairs_folder())
    records = [shards[i] for i in range(6)]
    batch = make_batch(records, np.random.default_rng(0), 64, (10, 26), soften=1.0)
    assert batch.frame.shape == batch.edited.shape == (6, 3, 32, 64) and batch.changed.shape == (6, 1, 32, 64)
    assert batch.frame.min() >= -1 and batch.frame.max() <= 1
    assert 0.002 < batch.changed.mean() < 0.3
    calm = batch.changed.expand(-1, 3, -1, -1) == 0
    assert (batch.frame - batch.edited)[calm].abs().mean() < 0.02
    assert batch.maps.shape == (6, 2, 16, 32) and batch.slots.shape == (6, 3)


def test_the_reader_learns_to_read():
    torch.manual_seed(0)
    reader = new_reader(32)
    first, later = train_reader(reader, 3), train_reader(reader, 120)
    assert later < 0.7 * first


def test_slots_say_what_a_step_does():
    assert [SLOTS[i][v] for i, v in enumerate(slot_values(Step("place", "red cube", "in", "teal bowl")))] == [
        "in", "red cube", "teal bowl",
    ]  # fmt: skip
    assert [SLOTS[i][v] for i, v in enumerate(slot_values(Step("open")))] == ["open", "none", "drawer"]
    state = random_state(np.random.default_rng(0))
    at = Step("place", "red cube", "at", None, (4, 20))
    assert named_cells(at, state, False) == [(4, 20)] == places(instruction(at))
    for step in (at, Step("place", "red cube", "on", "table"), Step("place", "blue cube", "behind", "pink bowl")):
        assert named_cells(step, state, True) == places(grounded(step, state)), "maps in training are those of the text"


def test_the_report_counts_and_shows(tmp_path):
    pipeline = CompositeFlowEditPipeline.from_pretrained(train_generator(config(tmp_path, samples=2), progress=False))
    shards = ShardSet(pairs_folder(), "held-out")
    painted = paint(pipeline, [shards[i] for i in range(3)], "grounded", steps=2)
    rates = by_kind(painted)
    assert rates["all"].episodes == 3 and rates["all"].successes == 0, "an untrained model does nothing right"
    sheet(painted, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_settings_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="add up to 1"):
        GeneratorTraining(stages=((64, 0.5),))
    with pytest.raises(ConfigError, match="multiples"):
        GeneratorTraining(stages=((70, 1.0),))
    with pytest.raises(ConfigError, match="train data"):
        train_generator(config(tmp_path / "run", data=tmp_path), progress=False)


def test_the_command_goes_on_from_a_pipeline_at_full_size(tmp_path, monkeypatch):
    from itk_embodied.training import generator

    asked = []
    monkeypatch.setattr(generator, "train_generator", asked.append)
    given = ["--walks", "data/w", "--start", str(tmp_path), "--lr", "0.0004", "--samples", "7"]
    cli.app(args=["train", "generator", *given], standalone_mode=False)
    cli.app(args=["train", "generator"], standalone_mode=False)
    start, plain = asked
    assert (start.walks, start.init, start.lr, start.samples) == (Path("data/w"), tmp_path, 4e-4, 7)
    assert start.stages == ((128, 1.0),) and start.reader_steps == 0
    assert plain == GeneratorTraining()
