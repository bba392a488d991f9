"""The generator's second look: it changes nothing but spots, learns the right truth, and comes back in a pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from tiny_pairs import generator_folder, pairs_folder

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from itk_embodied import cli  # noqa: E402
from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline  # noqa: E402
from itk_embodied.agents.generators.refiner import Refiner, correction  # noqa: E402
from itk_embodied.agents.windows import SIDE_PX, changed_spots, partner, window_corner  # noqa: E402
from itk_embodied.errors import ConfigError, InputError  # noqa: E402
from itk_embodied.training import refiner, refiner_windows  # noqa: E402
from itk_embodied.training.critic_generated import Gallery, Painting, keep  # noqa: E402
from itk_embodied.training.judge.appearance import with_cube_moved, without_cube  # noqa: E402
from itk_embodied.training.judge.edit import SEGMENT_ID, unseen_content  # noqa: E402
from itk_embodied.training.refiner import (  # noqa: E402
    RefinerBatch,
    RefinerTraining,
    beyond,
    detail,
    load_refiner,
    make_refiner_batch,
    refine_loss,
    train_refiner,
)
from itk_embodied.training.refiner_windows import CORE, best_fit, cut_windows, truth_of  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402

BAND = (10, 26)
SMALL = {"channels": (16, 16, 16), "blocks": 1}


def spoilt(record):
    """A right picture whose changed places are blurred and too dark."""
    moved = cv2.dilate(
        (np.abs(record.after.astype(int) - record.before).max(-1) > 12).astype(np.uint8), np.ones((3, 3))
    )
    worse = (cv2.blur(record.after, (3, 3)) * 0.8).astype(np.uint8)
    return np.where(moved[..., None] > 0, worse, record.after)


@pytest.fixture(scope="module")
def paintings(tmp_path_factory) -> Path:
    """Right and spoilt pictures of both splits."""
    folder = tmp_path_factory.mktemp("painted")
    for split in ("train", "held-out"):
        shards = ShardSet(pairs_folder(), split)
        records = list(shards)
        made = [Painting.of(r, r.after) for r in records] + [Painting.of(r, spoilt(r)) for r in records]
        keep(folder / f"{split}-000-00000.npz", [*shards.keys, *shards.keys], made)
    return folder


def settings(paintings: Path, out: Path, **changes) -> RefinerTraining:
    chosen = {"data": pairs_folder(), "samples": 48, "batch": 8, "rollouts": None, "walks": None} | SMALL | changes
    return RefinerTraining(generator=generator_folder(), generated=paintings, out=out, **chosen)


@pytest.fixture
def painter():
    """A pipeline that paints anything in some places, and a refiner that corrects it at random."""
    torch.manual_seed(0)
    made = CompositeFlowEditPipeline.from_pretrained(generator_folder())
    torch.nn.init.normal_(made.unet.conv_out.weight, std=0.5)
    made.set_progress_bar_config(disable=True)
    return made


def paint(pipeline, size=128):
    frame = PIL.Image.fromarray(np.random.default_rng(0).integers(60, 190, (size, size, 3), np.uint8))
    source = torch.Generator().manual_seed(1)
    return np.asarray(frame), np.asarray(pipeline(frame, "open the drawer", 2, source, candidates=1).images[0])


@pytest.mark.parametrize("size", [128, 200])
def test_it_corrects_in_spots_and_nowhere_else(painter, size):
    before, plain = paint(painter, size)
    painter.register_modules(refiner=Refiner((16, 16, 16), 1).eval())
    _, untrained = paint(painter, size)
    np.testing.assert_array_equal(untrained, plain)
    torch.nn.init.normal_(painter.refiner.last.weight, std=0.3)
    _, refined = paint(painter, size)
    changed, moved = (plain != before).any(-1), (refined != plain).any(-1)
    assert moved.sum() > 50
    # The margin, the finest detail being scaled up, and what bicubic scaling reaches.
    reach = np.ones((2 * round(4 * size / 128) + 3,) * 2, np.uint8)
    assert not moved[cv2.dilate(changed.astype(np.uint8), reach) == 0].any()
    assert (refined[: size * 10 // 32] == before[: size * 10 // 32]).all()


def test_a_pipeline_with_a_refiner_is_saved_and_loaded(painter, tmp_path):
    torch.manual_seed(0)
    painter.register_modules(refiner=Refiner((16, 16, 16), 1).eval())
    torch.nn.init.normal_(painter.refiner.last.weight, std=0.3)
    painter.save_pretrained(tmp_path)
    loaded = CompositeFlowEditPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(paint(painter)[1], paint(loaded)[1])
    assert load_refiner(tmp_path).config.channels == [16, 16, 16]


def test_spots_belong_in_pairs_and_windows_stay_inside():
    change = np.zeros((64, 128))
    change[2:14, 2:12], change[40:60, 110:128], change[30, 60] = 1, 1, 1
    spots = changed_spots(change)
    assert [window_corner(spot, SIDE_PX) for spot in spots] == [(24, 88), (0, 0)]  # one pixel is no spot
    assert [partner(i, 2) for i in range(2)] == [1, 0] and partner(0, 1) == 0 and partner(2, 3) == 0
    torch.manual_seed(0)
    model, frame = Refiner((16, 16, 16), 1), torch.zeros(3, 64, 128)
    torch.nn.init.normal_(model.last.weight, std=0.3)
    assert (correction(model, frame, frame, 40) == 0).all()  # nothing was painted
    small = frame[:, :32, :64]
    assert (correction(model, small, small + 1, 20) == 0).all()  # and no window fits
    added = correction(model, frame, torch.from_numpy(change).float().expand(3, -1, -1), 40)
    apart = (added != 0).any(0).numpy()
    assert apart[5, 5] and apart[50, 120] and not apart[30, 60] and not apart[:, 30:90].any()


def test_the_truth_has_the_cube_where_it_was_painted():
    tried = 0
    for record in ShardSet(pairs_folder()):
        if record.step.obj is None or not (record.after_seg == SEGMENT_ID[record.step.obj]).any():
            continue
        for down, right in ((0, 0), (2, -3)):
            image, thing = with_cube_moved(record, without_cube(record), down, right)
            painting = Painting.of(record, image)
            if painting.place_px is None:
                continue
            fitting, found = best_fit(painting)
            np.testing.assert_array_equal(found, thing)
            np.testing.assert_array_equal(fitting, image)
            truth = truth_of(painting)
            assert (truth.weight[thing] == CORE).all() and (truth.weight == 1).any()
            assert truth.loose[thing].all() and truth.loose.mean() < 0.1
            tried += 1
    assert tried >= 4


def test_what_no_camera_saw_does_not_count():
    for record in (*ShardSet(pairs_folder()), *ShardSet(pairs_folder(), "held-out")):
        weight = truth_of(Painting.of(record, record.after)).weight
        assert (weight[unseen_content(record)] == 0).all()
        assert (weight == 0).any() == unseen_content(record).any()


def test_windows_are_cut_once_and_anew_for_other_paintings(paintings, tmp_path, monkeypatch):
    monkeypatch.setattr(refiner_windows, "CHUNK", 5)
    gallery = Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0)
    chunks = cut_windows(gallery, tmp_path / "windows", BAND, progress=False)
    assert len(chunks) > 1 and any((chunk.about[:, 3] == 0).any() for chunk in chunks)
    for chunk in chunks:
        for row, left, other, _ in chunk.about.tolist():
            assert 40 <= row <= 104 - 48 and 0 <= left <= 80 and 0 <= other < len(chunk.about)
        assert chunk.spot.any((1, 2)).all()
        outside = ~chunk.spot & (np.abs(chunk.painted.astype(int) - chunk.frame).max(-1) > 60)
        assert outside.mean() < 0.1
    made = sorted((tmp_path / "windows").glob("chunk-*/frame.npy"))
    times = [path.stat().st_mtime_ns for path in made]
    made[1].parent.rename(tmp_path / "taken")  # as if it had been stopped there
    again = cut_windows(gallery, tmp_path / "windows", BAND, progress=False)
    assert made[0].stat().st_mtime_ns == times[0]
    np.testing.assert_array_equal(again[1].truth, chunks[1].truth)
    fewer = Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0)
    fewer._items = fewer._items[:3]
    assert sum(len(chunk.about) for chunk in cut_windows(fewer, tmp_path / "windows", BAND, progress=False)) < 9


def test_a_shift_of_a_pixel_is_no_fault_and_a_stain_is():
    truth = torch.zeros(1, 3, 12, 12)
    truth[..., 6:] = 0.8
    assert float(beyond(torch.roll(truth, 1, -1), truth)[..., 1:-1].max()) == 0
    stain = truth.clone()
    stain[..., 4:6, 2] += 0.3
    assert float(beyond(stain, truth).max()) == pytest.approx(0.3)


def test_detail_is_what_blur_takes_away_wherever_it_is():
    torch.manual_seed(0)
    sharp = torch.kron(torch.rand(1, 3, 6, 6), torch.ones(4, 4))
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    inner = (..., slice(6, -6), slice(6, -6))
    assert float(detail(torch.roll(sharp, 1, -1))[inner].mean()) == pytest.approx(
        float(detail(sharp)[inner].mean()), rel=0.1
    )
    assert float(detail(blurred)[inner].mean()) < 0.7 * float(detail(sharp)[inner].mean())
    assert float(detail(torch.full((1, 3, 12, 12), 0.4)).max()) < 1e-6


@pytest.mark.parametrize("loose", [0.0, 1.0])
def test_where_every_pixel_has_one_right_value_stripes_are_no_detail(loose):
    edge = torch.full((1, 3, SIDE_PX, SIDE_PX), -0.3)
    edge[..., 20:] = 0.3  # an edge that the painting has blurred
    softer = torch.linspace(-0.3, 0.3, 9)[None].expand(SIDE_PX, -1)
    blurred, striped = edge.clone(), edge.clone()
    blurred[..., 16:25] = softer
    striped[..., ::2, 16:25], striped[..., 1::2, 16:25] = -0.3, 0.3
    one = torch.ones(1, 1, SIDE_PX, SIDE_PX)
    batch = RefinerBatch(edge, blurred, edge, edge, one, loose * one, one, torch.zeros(1, 2))
    costs = [float(refine_loss(made, batch)) for made in (edge, blurred, striped)]
    assert costs[0] == 0 < costs[1]
    assert loose or costs[1] < 0.5 * costs[2]
    # A pixel's shift costs next to nothing where the truth is loose, and as much as it differs elsewhere.
    moved = edge.clone()
    moved[..., 19] = 0.3
    shifted = float(refine_loss(moved, batch))
    assert shifted < 0.2 * costs[1] if loose else shifted > 0.2 * costs[1]


def test_a_mirrored_batch_is_the_same_picture_seen_in_a_mirror(paintings, tmp_path, monkeypatch):
    gallery = Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0)
    (chunk,) = cut_windows(gallery, tmp_path, BAND, progress=False)
    monkeypatch.setattr(refiner, "STORED_PX", SIDE_PX)  # no room to move about
    rng, drawn = np.random.default_rng(0), [(chunk, 0)] * 40
    plain, varied = make_refiner_batch(drawn[:1], 128), make_refiner_batch(drawn, 128, rng)
    flipped = [i for i in range(40) if not torch.equal(varied.spot[i], plain.spot[0])]
    for i in range(40):
        spot = varied.spot[i].flip(-1) if i in flipped else varied.spot[i]
        assert torch.equal(spot, plain.spot[0])
        across = 1 - varied.corner[i, 0] - SIDE_PX / 128 if i in flipped else varied.corner[i, 0]
        assert float(across) == pytest.approx(float(plain.corner[0, 0]), abs=1e-6)
    assert plain.spot[0].equal(plain.spot[0].flip(-1)) or 4 < len(flipped) < 24


def test_a_recoloured_batch_is_the_same_window_with_its_channels_in_another_order(paintings, tmp_path, monkeypatch):
    gallery = Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0)
    (chunk,) = cut_windows(gallery, tmp_path, BAND, progress=False)
    monkeypatch.setattr(refiner, "STORED_PX", SIDE_PX)  # no room to move about
    monkeypatch.setattr(refiner, "MIRRORED", 0.0)
    rng, drawn = np.random.default_rng(0), [(chunk, 0)] * 60
    plain, varied = make_refiner_batch(drawn[:1], 128), make_refiner_batch(drawn, 128, rng)

    def order(name: str, i: int) -> tuple[int, ...]:
        """Which of the plain window's channels each of this one's is; light and gain change neither."""
        images = [((getattr(batch, name)[k] + 1) / 2).flatten(1).numpy() for batch, k in ((plain, 0), (varied, i))]
        likeness = np.corrcoef(*images)[3:, :3]
        assert (likeness.max(1) > 0.98).all()
        return tuple(likeness.argmax(1))

    orders = [order("frame", i) for i in range(60)]
    for name in ("painted", "truth", "other"):
        assert [order(name, i) for i in range(60)] == orders
    assert 6 < sum(told != (0, 1, 2) for told in orders) < 30
    assert len(set(orders)) > 3


def test_it_learns_to_mend_what_is_spoilt(paintings, tmp_path):
    folder = train_refiner(settings(paintings, tmp_path, samples=6400, batch=16, lr=2e-3), progress=False)
    lines = refiner.Journal(tmp_path).lines()
    errors = [line for line in lines if "odd" in line]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.6 * losses[0]
    # These scenes it never saw.
    assert errors[-1]["beyond"] < 0.85
    assert (tmp_path / "curve.png").is_file()
    loaded = load_refiner(folder)
    chunks = cut_windows(
        Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0), tmp_path / "w", BAND, progress=False
    )
    batch = make_refiner_batch([(chunks[0], i) for i in range(len(chunks[0].about))], 128)
    made = batch.painted + loaded(batch.frame, batch.painted, batch.spot, batch.other, batch.corner)
    weight = batch.spot * batch.weight
    left = [float((beyond(image, batch.truth) * weight).sum()) for image in (made.detach(), batch.painted)]
    assert left[0] < 0.7 * left[1]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(paintings, tmp_path, monkeypatch):
    whole = train_refiner(settings(paintings, tmp_path / "whole"), progress=False)
    step = refiner._Run._step

    def stop_once(run, batch):
        if run.course.seen == 24:
            raise KeyboardInterrupt
        return step(run, batch)

    monkeypatch.setattr(refiner._Run, "_step", stop_once)
    with pytest.raises(KeyboardInterrupt):
        train_refiner(settings(paintings, tmp_path / "parts"), progress=False)
    monkeypatch.setattr(refiner._Run, "_step", step)
    resumed = train_refiner(settings(paintings, tmp_path / "parts"), progress=False)
    name = "refiner/diffusion_pytorch_model.safetensors"
    assert (whole / name).read_bytes() == (resumed / name).read_bytes()
    body = "unet/diffusion_pytorch_model.safetensors"
    given, kept = load_file(generator_folder() / body), load_file(whole / body)
    assert all(torch.equal(given[key].half(), kept[key]) for key in given)


def test_it_goes_on_from_another_refiner(paintings, tmp_path):
    first = train_refiner(settings(paintings, tmp_path / "first", lr=1e-3), progress=False)
    same = train_refiner(settings(paintings, tmp_path / "same", lr=0.0, samples=8, init=first), progress=False)
    one, other = load_refiner(first).state_dict(), load_refiner(same).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(value.abs().max() > 0 for name, value in one.items() if name.startswith("last."))


def test_the_command_passes_on_what_it_is_given(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(refiner, "train_refiner", asked.append)
    given = ["--generator", str(generator_folder()), "--walks", "data/w", "--minutes", "3", "--out", str(tmp_path)]
    cli.app(args=["train", "refiner", *given], standalone_mode=False)
    walks = Path("data/w")
    assert asked == [RefinerTraining(generator=generator_folder(), walks=walks, minutes=3.0, out=tmp_path)]


def test_errors_say_what_to_do(paintings, tmp_path):
    with pytest.raises(ConfigError, match="pipeline folder of a trained generator"):
        replace(settings(paintings, tmp_path), generator=tmp_path)
    with pytest.raises(ConfigError, match="samples is 0"):
        settings(paintings, tmp_path, samples=0)
    with pytest.raises(ConfigError, match="critic_generated"):
        train_refiner(settings(tmp_path, tmp_path / "run"), progress=False)
    with pytest.raises(ConfigError, match="has no refiner"):
        train_refiner(settings(paintings, tmp_path / "run", init=generator_folder()), progress=False)
    train_refiner(settings(paintings, tmp_path / "small", samples=8), progress=False)
    with pytest.raises(ConfigError, match="another model"):
        train_refiner(settings(paintings, tmp_path / "small", channels=(24, 24, 24)), progress=False)
    gallery = Gallery(ShardSet(pairs_folder()), paintings, doubtful=0.0)
    with pytest.raises(InputError, match="too small"):
        cut_windows(gallery, tmp_path / "windows", (10, 20), progress=False)
