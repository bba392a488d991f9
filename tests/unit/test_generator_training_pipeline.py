"""The composite-flow pipeline: saved and loaded alike, seeds differ, and what is not painted stays bit for bit."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from scripted import gradient_image

torch = pytest.importorskip("torch")

from itk_embodied.agents.generators import composite_flow  # noqa: E402
from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline, _spots  # noqa: E402
from itk_embodied.agents.generators.detail import DetailHead  # noqa: E402
from itk_embodied.agents.generators.words import StepReader, place_maps, places, split_words  # noqa: E402
from itk_embodied.errors import InputError  # noqa: E402
from itk_embodied.training.generator_model import Editor, GeneratorTraining  # noqa: E402

PATCH = 2
TEXT = "put the red cube at <x03> <y17>"


@pytest.fixture(scope="module")
def pipeline() -> CompositeFlowEditPipeline:
    torch.manual_seed(0)
    editor = Editor(64, GeneratorTraining(channels=(16, 16, 32), words_width=32))
    # Random content, and a mask that is open in some places and shut in others.
    torch.nn.init.normal_(editor.unet.conv_out.weight, std=0.5)
    made = editor.eval().pipeline()
    made.set_progress_bar_config(disable=True)
    return made


def paint(pipeline, image, text=TEXT, seed=0, **arguments):
    source = torch.Generator().manual_seed(seed)
    return np.asarray(pipeline(image, text, num_inference_steps=3, generator=source, **arguments).images[0])


def picture(width=200, height=200):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(noise)


def test_saved_and_loaded_it_paints_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    loaded = CompositeFlowEditPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(paint(pipeline, picture()), paint(loaded, picture()))
    assert list(loaded.config.band) == [10, 26]


def test_a_seed_fixes_the_picture_and_another_changes_it(pipeline):
    one, again, other = paint(pipeline, picture()), paint(pipeline, picture()), paint(pipeline, picture(), seed=1)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_the_prompt_matters(pipeline):
    assert (paint(pipeline, picture()) != paint(pipeline, picture(), "open the drawer")).any()


def test_what_is_not_painted_stays_bit_for_bit(pipeline):
    before = np.asarray(picture(256, 256))
    after = paint(pipeline, PIL.Image.fromarray(before))
    same = (before == after).all(-1)
    assert same[: 256 * 10 // 32].all() and same[256 * 26 // 32 :].all()
    assert 0.01 < (~same).mean() < 0.5
    settings = {key: pipeline.config[key] for key in ("patch", "band")}
    shut = CompositeFlowEditPipeline(**pipeline.components, **settings)
    bias = pipeline.unet.conv_out.bias
    kept = bias.detach().clone()
    try:
        with torch.no_grad():
            bias.fill_(-30.0)  # content and mask alike: nothing is to change
        image = PIL.Image.fromarray(before)
        for _ in range(3):
            image = shut(image, TEXT, num_inference_steps=2).images[0]
        np.testing.assert_array_equal(np.asarray(image), before)
    finally:
        with torch.no_grad():
            bias.copy_(kept)


def test_frames_keep_their_size_and_batches_equal_single_calls(pipeline):
    pictures = [picture(), picture(320, 240)]
    sources = [torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)]
    both = pipeline(pictures, [TEXT, TEXT], 3, sources).images
    assert [p.size for p in both] == [(200, 200), (320, 240)]
    alone = paint(pipeline, pictures[1], seed=6)
    assert np.abs(np.asarray(both[1]).astype(int) - alone).max() <= 2


def test_a_larger_frame_shows_what_was_painted_at_the_models_size(pipeline, monkeypatch):
    """Scaled up and seen small again, as critics see it, it is as sharp as it was painted."""
    small = picture(64, 64)
    large = small.resize((128, 128), PIL.Image.Resampling.NEAREST)
    wanted = [paint(pipeline, small, seed=seed).astype(int) for seed in range(6)]

    def off() -> list[float]:
        apart = []
        for seed, picture_wanted in enumerate(wanted):
            seen = PIL.Image.fromarray(paint(pipeline, large, seed=seed)).resize((64, 64), PIL.Image.Resampling.BOX)
            moved = (picture_wanted != np.asarray(small)).any(-1)
            apart += np.abs(np.asarray(seen) - picture_wanted)[moved].mean(-1).tolist()
        return apart

    sharp = off()
    monkeypatch.setattr(composite_flow, "SHARPENED", 0)
    blurred = off()
    assert len(sharp) > 60 and np.mean(sharp) < 0.5 * np.mean(blurred)


def test_of_many_candidates_one_is_kept(pipeline):
    many = pipeline([picture(), picture()], [TEXT, TEXT], 2, torch.Generator().manual_seed(0), candidates=3).images
    assert len(many) == 2 and many[0].size == (200, 200)
    assert (np.asarray(many[0]) != np.asarray(many[1])).any()
    with pytest.raises(InputError, match="candidates"):
        pipeline(picture(), TEXT, candidates=0)


def test_the_callback_can_stop_the_painting(pipeline):
    seen = []

    def watch(pipe, step, instant, arguments):
        seen.append(step)
        if step == 1:
            raise InterruptedError
        return arguments

    with pytest.raises(InterruptedError):
        pipeline(picture(), TEXT, num_inference_steps=5, callback_on_step_end=watch)
    assert seen == [0, 1]


def test_wrong_calls_are_refused(pipeline):
    for arguments in (
        {"image": [picture()], "prompt": [TEXT, TEXT]},
        {"image": picture(), "prompt": TEXT, "num_inference_steps": 0},
        {"image": picture(), "prompt": TEXT, "output_type": "latent"},
    ):
        with pytest.raises(InputError):
            pipeline(**arguments)


def test_a_place_in_the_sentence_changes_the_picture(pipeline):
    here, there = (paint(pipeline, picture(), f"put the red cube at <x{x}> <y17>") for x in ("03", "28"))
    assert (here != there).any()


def test_any_text_has_words():
    slots = [["none", "put"], ["none", "red"]]
    reader = StepReader(["put", "<x03>"], slots, width=16, layers=1, max_words=4, buckets=8)
    assert split_words("Put it AT <x03>, now!") == ["put", "it", "at", "<x03>", "now"]
    rows = reader.tokens(["put zebra", "zebra put <x03> a b c d", ""])
    assert rows.shape == (3, 4) and rows[0, 1] == rows[1, 0] >= 4 and (rows[2] == 0).all()
    assert reader(rows).shape == (3, 2, 16) and torch.isfinite(reader(rows)).all()


def test_places_become_spots():
    assert places("put it at <x03> <y11> by <X30><y25>, not <x99> <y01> or <x04>") == [(3, 11), (30, 25)]
    maps = place_maps([[(3, 11), (30, 25)], []], (10, 26))
    assert maps.shape == (2, 2, 16, 32) and (maps[1] == 0).all()
    assert maps[0, 0].argmax() == (11 - 10) * 32 + 3 and maps[0, 1].argmax() == (25 - 10) * 32 + 30


def test_a_real_frame_of_one_colour_is_no_problem(pipeline):
    assert paint(pipeline, PIL.Image.fromarray(gradient_image())).shape == gradient_image().shape


def test_what_is_painted_keeps_to_so_many_spots(pipeline):
    before = np.asarray(picture(64, 64))  # the model's own size: nothing is scaled
    changed = {}
    for spots in (0, 1, 2, None):
        limited = CompositeFlowEditPipeline(**pipeline.components, **{**_settings(pipeline), "spots": spots})
        limited.set_progress_bar_config(disable=True)
        changed[spots] = (paint(limited, PIL.Image.fromarray(before)) != before).any(-1)
    assert not changed[0].any() and changed[1].any()
    for fewer, more in ((1, 2), (2, None)):
        assert not (changed[fewer] & ~changed[more]).any() and changed[fewer].sum() < changed[more].sum()


def _settings(pipeline) -> dict:
    return {key: pipeline.config[key] for key in ("patch", "band", "sigma", "candidates", "decision", "reluctance")}


def test_a_mask_half_open_is_taken_to_the_side_it_is_on():
    torch.manual_seed(0)
    editor = Editor(64, GeneratorTraining(channels=(16, 16, 32), words_width=32))
    with torch.no_grad():
        # White content everywhere and a mask of every strength: over black, a pixel's value is the mask.
        editor.unet.conv_out.weight.normal_(std=0.5)
        editor.unet.conv_out.weight[: 3 * PATCH * PATCH] = 0
        editor.unet.conv_out.bias[: 3 * PATCH * PATCH] = 30
        editor.unet.conv_out.bias[3 * PATCH * PATCH :] = 3
    made = editor.eval().pipeline()
    made.set_progress_bar_config(disable=True)
    black = PIL.Image.fromarray(np.zeros((64, 64, 3), np.uint8))
    masks = {}
    for decision in (1.0, 3.0):
        made.register_to_config(decision=decision, reluctance=0.0, spots=None)
        masks[decision] = paint(made, black)[20:52, :, 0] / 255
    mild, firm = masks[1.0], masks[3.0]
    undecided = (mild > 0.2) & (mild < 0.8)
    assert undecided.mean() > 0.1
    assert (firm * (1 - firm)).mean() < 0.7 * (mild * (1 - mild)).mean()
    clear = np.abs(mild - 0.5) > 0.02
    np.testing.assert_array_equal((firm > 0.5)[clear], (mild > 0.5)[clear])
    made.register_to_config(decision=1.0, reluctance=1.0)
    reluctant = paint(made, black)[20:52, :, 0] / 255
    assert (reluctant <= mild + 0.01).all() and (reluctant[undecided] < mild[undecided] - 0.1).mean() > 0.9


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_a_picture_changes_in_so_many_spots_those_of_the_largest_change(most: int) -> None:
    mask, change = torch.full((1, 64, 64), 0.02), torch.zeros(3, 64, 64)
    corners = [(4, 4), (4, 40), (40, 4), (40, 40)]
    for (y, x), side, strength in zip(corners, (8, 14, 8, 8), (0.9, 0.2, 0.5, 0.1), strict=True):
        mask[0, y : y + side, x : x + side] = 0.95
        change[:, y : y + side, x : x + side] = strength  # of change in all: 58, 39, 32, 6
    kept = _spots(change, mask, most)
    assert [bool(kept[0, y, x]) for y, x in corners] == [i < most for i in range(4)]
    assert kept.shape == mask.shape and set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept[0, 2, 2] == 1 and kept[0, 0, 0] == 0, "what is around a spot belongs to it, three pixels wide"
    assert not _spots(change, torch.full_like(mask, 0.6), most).any(), "nothing is open enough"


def test_the_detail_head_adds_nothing_untrained_and_sees_single_pixels():
    torch.manual_seed(0)
    head = DetailHead(made=16, seen=28, width=16, layers=1)
    made, seen, time = torch.randn(2, 16, 4, 8), torch.zeros(2, 28, 4, 8), torch.tensor([0.0, 1.0])
    torch.testing.assert_close(head(made, seen, time), made)
    torch.nn.init.normal_(head.last.weight, std=0.1)
    one_pixel = seen.clone()
    one_pixel[:, 5, 2, 3] = 1.0
    changed = (head(made, one_pixel, time) - head(made, seen, time)).abs().amax(1)
    assert changed[:, 2, 3].min() > 1e-3
    assert (head(made, seen, time.flip(0)) - head(made, seen, time)).abs().max() > 1e-4
