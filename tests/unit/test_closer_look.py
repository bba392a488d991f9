"""Windows around what changed, and the verifier's closer look at them: what it sees, learns and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from tiny_pairs import generator_folder, pairs_folder

torch = pytest.importorskip("torch")

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline  # noqa: E402
from itk_embodied.agents.generators.refiner import Refiner  # noqa: E402
from itk_embodied.agents.verifier.closer import MEASURES, CloserLook  # noqa: E402
from itk_embodied.agents.verifier.model import EditVerifier  # noqa: E402
from itk_embodied.agents.windows import SIDE_PX, spots_of  # noqa: E402
from itk_embodied.errors import ConfigError  # noqa: E402
from itk_embodied.training import verifier_closer  # noqa: E402
from itk_embodied.training.critic_generated import Gallery, Painting, keep  # noqa: E402
from itk_embodied.training.generator_text import SLOTS  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402
from itk_embodied.training.verifier import VerifierTraining, load_verifier, new_verifier, train_verifier  # noqa: E402
from itk_embodied.training.verifier_closer import closer_loss, make_closer_batch, start_from  # noqa: E402
from itk_embodied.training.verifier_data import draw, make_verifier_batch  # noqa: E402

BAND, PATCH, TOP = (10, 26), 4, 40
VALUES = [len(values) for values in SLOTS]
SMALL = {"channels": (16, 16, 16), "blocks": 1, "width": 16}


def pictures():
    """Three bands: two spots, none, one."""
    torch.manual_seed(0)
    before = torch.rand(3, 3, 64, 128) - 0.5
    after = before.clone()
    after[0, :, 4:20, 6:20] += 0.3
    after[0, :, 40:52, 100:110] += 0.3
    after[2, :, 30:44, 60:70] -= 0.3
    return before, after


def test_windows_of_several_pictures_are_told_apart():
    before, after = pictures()
    spots = spots_of(before, after, TOP)
    assert spots.picture.tolist() == [0, 0, 2] and spots.partner.tolist() == [1, 0, 2]
    for window, (number, (row, left)) in enumerate(zip(spots.picture.tolist(), spots.place, strict=True)):
        where = slice(row, row + SIDE_PX), slice(left, left + SIDE_PX)
        assert torch.equal(spots.painted[window], after[number][:, where[0], where[1]])
        assert torch.equal(spots.frame[window], before[number][:, where[0], where[1]])
        differs = (spots.painted[window] != spots.frame[window]).any(0)
        assert spots.inside[window, 0][differs].all() or number == 0  # the other spot may look in
        assert spots.corner[window].tolist() == pytest.approx([left / 128, (TOP + row) / 128])
    assert spots_of(before, before, TOP) is None
    assert spots_of(before[..., :32, :], after[..., :32, :], TOP) is None  # no window fits


def test_windows_that_are_moved_about_stay_inside_and_keep_their_spots():
    before, after = pictures()
    still = spots_of(before, after, TOP)
    moved = [spots_of(before, after, TOP, np.random.default_rng(seed)) for seed in range(12)]
    places = {spots.place for spots in moved}
    assert len(places) > 6
    for spots in moved:
        for (row, left), (own_row, own_left) in zip(spots.place, still.place, strict=True):
            assert 0 <= row <= 64 - SIDE_PX and 0 <= left <= 128 - SIDE_PX
            assert abs(row - own_row) <= 4 and abs(left - own_left) <= 4
        assert (spots.inside.sum((1, 2, 3)) > 0.6 * still.inside.sum((1, 2, 3))).all()


def random_look():
    torch.manual_seed(1)
    look = CloserLook(sum(VALUES), **SMALL).eval()
    torch.nn.init.normal_(look.asked.weight)
    return look


def test_every_picture_has_its_own_verdict_whatever_it_is_looked_at_with():
    before, after = pictures()
    look, asked = random_look(), torch.rand(3, sum(VALUES))
    told, faults = look(spots_of(before, after, TOP), asked)
    assert told.shape == (3, 1 + MEASURES) and faults.shape == (3, SIDE_PX, SIDE_PX)
    for one in range(3):
        alone, _ = look(spots_of(before[one : one + 1], after[one : one + 1], TOP), asked[one : one + 1])
        torch.testing.assert_close(alone[0], told[one])
    # A single pixel counts, and what is asked for.
    stained = after.clone()
    stained[2, :, 36, 64] += 0.4
    other, _ = look(spots_of(before, stained, TOP), asked)
    assert not torch.allclose(other[2], told[2]) and torch.equal(other[0], told[0])
    asked[0] += 0.5
    assert not torch.allclose(look(spots_of(before, after, TOP), asked)[0][0], told[0])


def test_both_looks_have_a_say():
    made = new_verifier(generator_folder())
    made.add_closer(**SMALL)
    before, after = pictures()
    maps = torch.zeros(3, 2, 16, 32)
    shares = [torch.nn.functional.one_hot(torch.tensor([1, 0, 1]), many).float() for many in VALUES]
    with torch.no_grad():
        both, _ = made.eval()(before, after, maps, shares)
        whole, _ = made.whole(before, after, maps, shares)
        closer, _ = made.closer(spots_of(before, after, TOP), torch.cat(shares, 1))
    torch.testing.assert_close(both, 0.5 * whole + 0.5 * closer[:, 0])


def test_it_is_saved_and_loaded_with_the_verifier(tmp_path):
    made = new_verifier(generator_folder())
    made.save_pretrained(tmp_path / "without")
    assert EditVerifier.from_pretrained(tmp_path / "without").closer is None
    made.add_closer(**SMALL)
    made.save_pretrained(tmp_path / "with")
    loaded = EditVerifier.from_pretrained(tmp_path / "with")
    for name, value in made.closer.state_dict().items():
        assert torch.equal(loaded.closer.state_dict()[name], value), name


def test_it_starts_from_what_a_refiner_knows():
    refiner = Refiner((16, 16, 16), 1)
    torch.nn.init.normal_(refiner.last.weight)
    for block in refiner.coarse:
        torch.nn.init.normal_(block.two.weight)
    look = CloserLook(sum(VALUES), **SMALL)
    start_from(look, refiner)
    assert torch.equal(look.first.weight[:, :48], refiner.first.weight)
    assert torch.equal(look.coarse[0].two.weight, refiner.coarse[0].two.weight)
    assert not torch.equal(look.coarse[0].one.weight, CloserLook(sum(VALUES), **SMALL).coarse[0].one.weight)


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    """Right ones, and ones that have a stain of a few pixels where the cube went."""
    folder, shards = tmp_path_factory.mktemp("painted"), ShardSet(pairs_folder())
    records = [shards[i] for i in range(len(shards))]
    made = [Painting.of(r, r.after) for r in records] + [Painting.of(r, stained(r)) for r in records]
    keep(folder / "train-000-00000.npz", [*shards.keys, *shards.keys], made)
    return folder


def stained(record):
    image = record.after.copy()
    rows, columns = np.nonzero(np.abs(image.astype(int) - record.before).max(-1) > 60)
    row, column = int(rows.mean()), int(columns.mean())
    image[row - 3 : row + 3, column - 3 : column + 3] = 255 - image[row - 3 : row + 3, column - 3 : column + 3]
    return image


def batch_of(paintings, count=24, seed=0):
    shards, rng = ShardSet(pairs_folder()), np.random.default_rng(seed)
    gallery = Gallery(shards, paintings, doubtful=0.0)
    samples = [draw(shards, gallery, rng) for _ in range(count)]
    return make_verifier_batch(samples, rng, BAND, PATCH), rng


def test_windows_and_what_is_wrong_in_them_are_mirrored_alike(paintings, monkeypatch):
    monkeypatch.setattr(verifier_closer, "RECOLOURED", 0.0)
    batch, rng = batch_of(paintings)
    closer = make_closer_batch(batch, VALUES, TOP, 128, rng)
    assert closer.fault.shape == closer.known.shape == (len(closer.spots.place), SIDE_PX, SIDE_PX)
    mirrored = 0
    for window, (number, (row, left)) in enumerate(zip(closer.spots.picture.tolist(), closer.spots.place, strict=True)):
        where = slice(row, row + SIDE_PX), slice(left, left + SIDE_PX)
        plain, fault = batch.after[number][:, where[0], where[1]], batch.fault_px[number][where]
        flipped = not torch.equal(closer.spots.painted[window], plain)
        assert torch.equal(closer.spots.painted[window], plain.flip(-1) if flipped else plain)
        assert torch.equal(closer.fault[window], fault.flip(-1) if flipped else fault)
        across = 1 - left / 128 - SIDE_PX / 128 if flipped else left / 128
        assert float(closer.spots.corner[window, 0]) == pytest.approx(across, abs=1e-6)
        assert not (flipped and batch.sided[number])
        mirrored += flipped
    assert 0 < mirrored < len(closer.spots.place)
    assert float(closer.asked.sum()) == len(VALUES) * len(batch.good)


def test_in_other_colours_it_is_not_told_which_thing_is_asked_for(paintings, monkeypatch):
    monkeypatch.setattr(verifier_closer, "MIRRORED", 0.0)
    monkeypatch.setattr(verifier_closer, "RECOLOURED", 1.0)
    batch, rng = batch_of(paintings)
    closer = make_closer_batch(batch, VALUES, TOP, 128, rng)
    shown = batch.points[:, 0] >= verifier_closer.SHOWN
    assert shown.any() and not shown.all()
    assert (
        torch.equal(closer.asked[:, VALUES[0] :].sum(1) == 0, shown)
        and (closer.asked[:, : VALUES[0]].sum(1) == 1).all()
    )
    orders = set()
    for window, (number, (row, left)) in enumerate(zip(closer.spots.picture.tolist(), closer.spots.place, strict=True)):
        where = slice(row, row + SIDE_PX), slice(left, left + SIDE_PX)
        plain = [picture[number][:, where[0], where[1]] for picture in (batch.before, batch.after)]
        seen = [closer.spots.frame[window], closer.spots.painted[window]]
        found = [
            order
            for order in permutations(range(3))
            if all(torch.equal(a[list(order)], b) for a, b in zip(plain, seen, strict=True))
        ]
        assert found and (shown[number] or found[0] == (0, 1, 2))
        orders |= {found[0]}
    assert len(orders) > 3


def test_it_learns_without_any_change_and_without_the_judges_word(paintings):
    batch, rng = batch_of(paintings)
    nothing = replace(batch, after=batch.before, points=torch.full_like(batch.points, float("nan")))
    loss, right = closer_loss(random_look(), make_closer_batch(nothing, VALUES, TOP, 128, rng))
    assert torch.isfinite(loss) and 0 <= float(right) <= 1
    known = make_closer_batch(batch, VALUES, TOP, 128, rng)
    assert torch.isfinite(closer_loss(random_look(), known)[0])
    # Where nobody knows what is right, what it says of pixels does not count.
    look = random_look()
    unknown = replace(known, known=torch.zeros_like(known.known))
    both = [closer_loss(look, replace(unknown, fault=fault))[0] for fault in (unknown.fault, 1 - unknown.fault)]
    assert torch.equal(*both)


def settings(paintings, out, **changes):
    chosen = {"data": pairs_folder(), "samples": 16, "batch": 8, "rollouts": None, "walks": None} | changes
    return VerifierTraining(generator=generator_folder(), generated=paintings, out=out, **chosen)


def test_it_learns_alone_and_the_whole_stays_as_it_was(paintings, tmp_path):
    first = train_verifier(settings(paintings, tmp_path / "whole", part="whole"), progress=False)
    assert load_verifier(first).closer is None
    still, learnt = (
        load_verifier(train_verifier(settings(paintings, tmp_path / name, **changes), progress=False))
        for name, changes in (
            ("still", {"part": "closer", "init": first, "lr": 0.0}),
            ("closer", {"part": "closer", "init": first, "samples": 160}),
        )
    )
    for name, value in load_verifier(first).state_dict().items():
        assert torch.equal(learnt.state_dict()[name], value), name
    assert not torch.equal(learnt.closer.first.weight, still.closer.first.weight)
    assert (tmp_path / "closer" / "curve.png").is_file()


def test_it_finds_a_stain_of_a_few_pixels(paintings, tmp_path):
    config = settings(paintings, tmp_path, samples=1600, batch=16, lr=2e-3, part="closer")
    made = load_verifier(train_verifier(config, progress=False)).eval()
    shards = ShardSet(pairs_folder())
    told = []
    for record in shards:
        slots = batch_slots(record)
        frames = [torch.from_numpy(image[40:104]).permute(2, 0, 1)[None] / 127.5 - 1 for image in
                  (record.before, record.after, stained(record))]  # fmt: skip
        with torch.no_grad():
            told.append([float(made.closer(spots_of(frames[0], after, TOP), slots)[0][0, 0]) for after in frames[1:]])
    right, wrong = np.array(told).T
    assert (right > wrong).mean() > 0.8


def batch_slots(record):
    from itk_embodied.training.generator_text import slot_values

    values = slot_values(record.step)
    return torch.cat([torch.nn.functional.one_hot(torch.tensor([v]), n).float() for v, n in zip(values, VALUES)], 1)  # noqa: B905


def test_a_part_that_is_not_known_is_refused(paintings, tmp_path):
    with pytest.raises(ConfigError, match="allowed: both, whole, closer"):
        settings(paintings, tmp_path, part="nearer")


def test_a_pipeline_without_a_refiner_will_do(paintings, tmp_path):
    assert CompositeFlowEditPipeline.from_pretrained(generator_folder()).refiner is None
    made = train_verifier(settings(paintings, tmp_path, samples=8, part="both"), progress=False)
    assert load_verifier(made).closer is not None
