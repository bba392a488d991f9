"""The edit verifier: what it learns from, that it learns, goes on after a stop, and comes back as a critic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tiny_pairs import generator_folder, pairs_folder

torch = pytest.importorskip("torch")

from itk_embodied import cli  # noqa: E402
from itk_embodied.agents.base import CallContext  # noqa: E402
from itk_embodied.agents.conformance import check_critic, example_image  # noqa: E402
from itk_embodied.agents.registry import RoleSpec  # noqa: E402
from itk_embodied.agents.settings import EditVerifierSettings  # noqa: E402
from itk_embodied.agents.stacks import build_role  # noqa: E402
from itk_embodied.agents.verifier.critic import look  # noqa: E402
from itk_embodied.agents.verifier.model import EditVerifier, grain  # noqa: E402
from itk_embodied.errors import CheckpointError, ConfigError, InputError  # noqa: E402
from itk_embodied.training import verifier, verifier_data  # noqa: E402
from itk_embodied.training.critic_generated import Gallery, Painting, keep  # noqa: E402
from itk_embodied.training.rollouts.truth import Truth  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402
from itk_embodied.training.verifier import VerifierTraining, new_verifier, train_verifier  # noqa: E402
from itk_embodied.training.verifier_data import draw, likely_right, make_verifier_batch, odd_in  # noqa: E402
from itk_sim.language import instruction  # noqa: E402
from itk_sim.scene import SceneSpec  # noqa: E402
from itk_sim.symbols import Step  # noqa: E402
from itk_sim.table import Table  # noqa: E402

BAND, PATCH = (10, 26), 4


@pytest.fixture(scope="module")
def generator():
    return generator_folder()


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    """Right ones and wrong ones of the training split's pairs, judged."""
    folder, shards = tmp_path_factory.mktemp("painted"), ShardSet(pairs_folder())
    records = [shards[i] for i in range(len(shards))]
    made = [Painting.of(r, r.after) for r in records] + [Painting.of(r, r.before) for r in records]
    keep(folder / "train-000-00000.npz", [*shards.keys, *shards.keys], made)
    return folder


def settings(generator: Path, paintings: Path, out: Path, **changes) -> VerifierTraining:
    chosen = {"data": pairs_folder(), "samples": 24, "batch": 4, "rollouts": None, "walks": None} | changes
    return VerifierTraining(generator=generator, generated=paintings, out=out, **chosen)


def test_samples_say_what_is_wrong_and_where(paintings):
    shards = ShardSet(pairs_folder())
    gallery, rng = Gallery(shards, paintings), np.random.default_rng(5)
    samples = [draw(shards, gallery, rng) for _ in range(120)]
    told = Counter((s.good > 0.5, s.fault is None, s.sure_only) for s in samples)
    assert set(told) == {(True, False, False), (False, False, False), (False, True, False), (False, False, True)}
    for sample in samples:
        if sample.good > 0.5:
            assert not sample.fault.any()
        elif sample.fault is not None and not sample.sure_only:
            truths = [r.after for r in shards if np.array_equal(r.before, sample.before) and r.step == sample.step]
            off = [np.abs(sample.after.astype(int) - truth).max(-1) > verifier_data.FAULT for truth in truths]
            assert sample.fault.any() and any(np.array_equal(sample.fault, one) for one in off)


def test_a_painting_is_as_surely_right_as_the_judge_is(paintings):
    one = Gallery(ShardSet(pairs_folder()), paintings)[0].judged
    chances = [likely_right(replace(one, semantics=float(points), quality=9.0)) for points in range(10)]
    assert chances == sorted(chances) and chances[5] == 0.5 and chances[0] < 0.01 and chances[9] > 0.99
    assert chances[4] + chances[6] == pytest.approx(1)


def test_it_learns_from_paintings_at_the_judges_limit_too(paintings, tmp_path):
    """A critic that says yes or no is not taught those; this one is, with both sides of the limit told apart."""
    shards = ShardSet(pairs_folder())
    one = Gallery(shards, paintings)[0]
    limits = [replace(one.judged, semantics=s, quality=9.0, success=s >= 5) for s in (4.8, 5.0, 5.2)]
    keep(tmp_path / "train-000-00000.npz", shards.keys[:1] * 3, [Painting(one.record, one.image, j) for j in limits])
    sure = Gallery(shards, tmp_path)
    assert (sure.right, sure.wrong) == ([], [])
    run = verifier._Run(settings(generator_folder(), tmp_path, tmp_path / "run"), progress=False)
    assert (run.gallery.right, run.gallery.wrong) == ([1, 2], [0])


def test_noise_shows_in_how_grainy_a_patch_is():
    flat = torch.full((1, 3, 16, 16), 0.3)
    edge = flat.clone()
    edge[..., 8:] = -0.3
    noisy = flat.clone()
    noisy[..., :4, :4] += torch.empty(3, 4, 4).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
    found = grain(torch.cat([flat, edge, noisy]), PATCH)
    assert found.shape == (3, 1, 4, 4) and torch.allclose(found[0], torch.full((1, 4, 4), -1.0))
    assert found[1, 0, 0, 0] == -1 and found[1, 0, 0, 1] == found[1, 0, 0, 2] > -0.5  # both sides of an edge, alike
    assert found[2, 0, 0, 0] > 0 and (found[2, 0, 2:, 2:] == -1).all()


def test_what_is_odd_in_a_painting_is_marked_wherever_its_cube_was_put():
    marked = 0
    for record in ShardSet(pairs_folder()):
        assert not odd_in(Painting.of(record, record.after)).any()
        stained = record.after.copy()
        stained[60:64, 60:64] = 255 - stained[60:64, 60:64]
        painting = Painting.of(record, stained)
        if not painting.has_a_truth:
            assert odd_in(painting) is None
            continue
        found = odd_in(painting)
        assert not found[:56].any() and not found[68:].any()
        marked += found[60:64, 60:64].mean() > 0.6
    assert marked >= 3


def test_of_the_drawer_the_truth_is_known_however_it_was_painted():
    with Table() as table:
        table.reset(SceneSpec(seed=3, cubes=("red", "blue"), bowls=("teal",), drawer=True, drawer_open=False))
        record = Truth(table, np.random.default_rng(0), 128).reach(Step("open"), table.render("front", 128), "open")
    left_shut = Painting.of(record, record.before)
    assert left_shut.judged.semantics < 1 and left_shut.has_a_truth and odd_in(left_shut).any()


def test_without_paintings_it_learns_from_pairs(tmp_path):
    shards = ShardSet(pairs_folder())
    gallery, rng = Gallery(shards, tmp_path), np.random.default_rng(0)
    goods = [draw(shards, gallery, rng).good for _ in range(60)]
    assert 5 < sum(goods) < 55


def test_pictures_and_faults_are_moved_alike(monkeypatch):
    shards, rng = ShardSet(pairs_folder()), np.random.default_rng(1)
    sample = next(s for s in iter(lambda: verifier_data._pair(shards, "corrupted", rng), 0) if s and s.fault.any())
    monkeypatch.setattr(verifier_data, "shade", lambda rng, *images: list(images))
    monkeypatch.setattr(verifier_data, "SHIFT_PX", 0)
    still = make_verifier_batch([sample], rng, BAND, PATCH)
    truth = torch.from_numpy(sample.after[40:104]).permute(2, 0, 1) / 127.5 - 1
    assert torch.allclose(still.after[0], truth.float())
    monkeypatch.setattr(verifier_data, "SHIFT_PX", 2)
    batch = make_verifier_batch([sample] * 30, rng, BAND, PATCH)
    for one in range(30):
        differs = (batch.after[one] - batch.before[one]).abs().amax(0) > 0.3
        seen = torch.nn.functional.max_pool2d(differs[None].float(), PATCH)[0] > 0
        fault = batch.fault[one] > 0
        assert not fault.any() or (seen | ~fault).float().mean() > 0.95
    assert len({tuple(image.flatten().tolist()) for image in batch.before}) > 5


def test_pictures_of_another_size_are_refused():
    shards, rng = ShardSet(pairs_folder()), np.random.default_rng(1)
    sample = verifier_data._pair(shards, "pair", rng)
    with pytest.raises(InputError, match="trained at 64 px"):
        make_verifier_batch([sample], rng, BAND, 2)


def test_it_starts_from_the_generator(generator):
    from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline

    made, other = new_verifier(generator), CompositeFlowEditPipeline.from_pretrained(generator)
    body = other.unet.state_dict()
    same = [name for name, value in made.unet.state_dict().items() if torch.equal(value, body.get(name, value + 1))]
    assert set(body) - set(same) == {"conv_out.weight", "conv_out.bias"}


def test_it_goes_on_from_another_verifier(generator, paintings, tmp_path):
    made = new_verifier(generator)
    torch.nn.init.normal_(made.detail.last.weight, std=0.02)
    made.save_pretrained(tmp_path / "first")
    config = settings(generator, paintings, tmp_path, samples=8, batch=8, lr=0.0, init=tmp_path / "first")
    checkpoint = train_verifier(config, progress=False)
    other = EditVerifier.from_pretrained(checkpoint)
    for name, value in made.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name].float(), value.half().float(), msg=name)


def test_a_folder_without_a_verifier_is_refused(generator, paintings, tmp_path):
    with pytest.raises(ConfigError, match="holds no verifier"):
        settings(generator, paintings, tmp_path, init=tmp_path / "nothing")


def test_it_learns_what_it_is_shown(generator, paintings, tmp_path, monkeypatch):
    monkeypatch.setattr(verifier_data, "SHARES", {"painted": 1.0})
    monkeypatch.setattr(verifier_data, "PAINTED_ASKED_WRONG", 0.0)
    config = settings(generator, paintings, tmp_path, samples=4800, batch=16, lr=1e-3, part="whole")
    checkpoint = train_verifier(config, progress=False)
    log = [line for line in _log(tmp_path) if "accuracy" in line]
    assert log[-1]["accuracy"] > 0.75 and log[-1]["loss"] < log[0]["loss"] - 0.1
    critic = build_role(RoleSpec("critic", "edit-verifier", EditVerifierSettings(checkpoint=str(checkpoint))))
    shards = ShardSet(pairs_folder())
    right = [_score(critic, r, r.after) for r in shards]
    same = [_score(critic, r, r.before) for r in shards]
    assert np.mean(right) > np.mean(same) + 0.3


def _log(folder):
    from itk_embodied.training.journal import Journal

    return Journal(folder).lines()


def _score(critic, record, image):
    said = instruction(record.step)
    return critic.judge(record.before, image, said, said, CallContext()).score


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(generator, paintings, tmp_path, monkeypatch):
    whole = train_verifier(settings(generator, paintings, tmp_path / "whole"), progress=False)
    step = verifier._Run._step

    def stop_once(run, batch):
        if run.course.seen == 12:
            raise KeyboardInterrupt
        return step(run, batch)

    parts = settings(generator, paintings, tmp_path / "parts")
    monkeypatch.setattr(verifier._Run, "_step", stop_once)
    with pytest.raises(KeyboardInterrupt):
        train_verifier(parts, progress=False)
    monkeypatch.setattr(verifier._Run, "_step", step)
    resumed = train_verifier(parts, progress=False)
    name = "diffusion_pytorch_model.safetensors"
    assert (whole / name).read_bytes() == (resumed / name).read_bytes()
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))


def test_as_a_critic_it_conforms(generator, paintings, tmp_path):
    checkpoint = train_verifier(settings(generator, paintings, tmp_path, samples=4), progress=False)
    critic = build_role(RoleSpec("critic", "edit-verifier", EditVerifierSettings(checkpoint=str(checkpoint))))
    assert check_critic(critic, known_bad=()).passed
    picture = example_image()
    verdict = critic.judge(picture, picture, "put the red cube in the white bowl", "other words", CallContext())
    assert verdict.refine_prompt == "put the red cube in the white bowl" and 0 <= verdict.score <= 1
    # Pictures of any size; many at once say what each says alone.
    both = [picture, np.ascontiguousarray(picture[:, ::-1])]
    texts = ["open the drawer", "put the red cube at <x05> <y20>"]
    together, _ = look(critic._model, both, both[::-1], texts)
    alone = [float(look(critic._model, [both[i]], [both[1 - i]], [texts[i]])[0]) for i in range(2)]
    assert together.tolist() == pytest.approx(alone, abs=1e-4)


def test_the_command_passes_on_what_it_is_given(generator, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(verifier, "train_verifier", asked.append)
    given = ["--generator", str(generator), "--walks", "data/w", "--minutes", "3", "--out", str(tmp_path)]
    cli.app(args=["train", "verifier", *given], standalone_mode=False)
    assert asked == [VerifierTraining(generator=generator, walks=Path("data/w"), minutes=3.0, out=tmp_path)]


def test_errors_say_what_to_do(generator, paintings, tmp_path):
    with pytest.raises(ConfigError, match="pipeline folder of a trained generator"):
        settings(tmp_path, paintings, tmp_path)
    with pytest.raises(ConfigError, match="samples is 0"):
        settings(generator, paintings, tmp_path, samples=0)
    with pytest.raises(ConfigError, match="train data pairs"):
        train_verifier(settings(generator, paintings, tmp_path / "run", data=tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="takes no adapter"):
        build_role(RoleSpec("critic", "edit-verifier", EditVerifierSettings(checkpoint=str(tmp_path), lora="x")))
    with pytest.raises(CheckpointError, match="empty"):
        build_role(RoleSpec("critic", "edit-verifier", EditVerifierSettings(checkpoint=str(tmp_path / "empty"))))
