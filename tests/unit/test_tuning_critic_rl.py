"""GRPO on the embedded critic with the embedded generator: it runs, survives a kill, and is the same run afterwards."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tiny_pairs import pairs_folder

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from safetensors.torch import load_file  # noqa: E402

from itk_embodied.agents.base import CallContext  # noqa: E402
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, load_prompt  # noqa: E402
from itk_embodied.agents.qwen3vl.critic import Qwen3VLCritic  # noqa: E402
from itk_embodied.agents.qwen3vl.processor import ImageOnlyQwen3VLProcessor  # noqa: E402
from itk_embodied.agents.settings import Qwen3VLCriticSettings  # noqa: E402
from itk_embodied.errors import ConfigError, InputError  # noqa: E402
from itk_embodied.training.critic_generated import Painting, keep  # noqa: E402
from itk_embodied.training.judge import load_judge  # noqa: E402
from itk_embodied.training.sets.schema import features, set_file  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402
from itk_embodied.training.tuning.critic_rl import conversations  # noqa: E402
from itk_embodied.training.tuning.refinement import Refinery  # noqa: E402
from itk_embodied.training.tuning.rewards import Scores  # noqa: E402
from itk_embodied.training.tuning.rl_run import train_critic_rl  # noqa: E402
from itk_embodied.training.tuning.runs import last_whole_checkpoint  # noqa: E402
from itk_embodied.training.tuning.set_cases import SetCases  # noqa: E402
from itk_sim.language import instruction  # noqa: E402

EMBEDDED = Path(__file__).parents[2] / "itk_embodied/checkpoints/critic"
SMALL = (
    "per_device_train_batch_size=8",
    "num_generations=4",
    "max_completion_length=72",
    "save_steps=1",
    "warmup_steps=0",
    "learning_rate=1e-3",
    "temperature=1.2",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    """Two paintings of each pair, as `critic_generated` keeps them: the right one, and one where nothing happened."""
    folder = tmp_path_factory.mktemp("painted")
    shards = ShardSet(pairs_folder())
    keys, paintings = [], []
    for number, record in enumerate(shards):
        for image in (record.after, record.before):
            keys.append(shards.keys[number])
            paintings.append(Painting.of(record, image))
    keep(folder / "train-000-00000.npz", keys, paintings)
    return folder


def train(painted: Path, out: Path, *, steps: int = 2, **options) -> Path:
    options = {"cases": 6} | options
    return train_critic_rl(
        "package:checkpoints/critic", pairs_folder(), painted, out, preset="critic-rl-tiny", steps=steps,
        changes=SMALL, progress=False, **options,
    )  # fmt: skip


@pytest.mark.timeout(900)  # three runs; a busy machine is no failure
def test_it_survives_a_kill_and_goes_on_as_the_same_run_that_may_become_longer(painted: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    words = [
        sys.executable, "-m", "itk_embodied", "train", "critic-rl", "--data", pairs_folder(), "--painted", painted,
        "--out", broken, "--steps", 2, "--cases", 6, "--threads", 1, *[w for c in SMALL for w in ("--set", c)],
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{root}/nodes:{root}/sim"}
    process = subprocess.Popen([str(word) for word in words], env=environment, stderr=subprocess.PIPE, text=True)
    whole = load_file(train(painted, tmp_path / "whole", steps=3) / "model.safetensors")  # meanwhile
    deadline = time.monotonic() + 500
    while last_whole_checkpoint(broken) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL and last_whole_checkpoint(broken) is not None, said[-2000:]
    assert not (broken / "summary.json").exists(), "it was not done yet"
    resumed = load_file(train(painted, broken, steps=3) / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    before = load_file(EMBEDDED / "model.safetensors")
    assert any(not torch.equal(before[name], whole[name]) for name in whole), "it learnt"
    rows = [list(csv.DictReader((tmp_path / name / "curves.csv").open())) for name in ("whole", "broken")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == ["1", "2", "3"]
    for name in ("reward", "accuracy", "length, tokens", "KL", "scorer failures"):
        assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]
    curves = (broken / "curves.csv").read_text()
    train(painted, broken, steps=3)  # there is nothing left to do
    assert (broken / "curves.csv").read_text() == curves and not (broken / "checkpoint-4").exists()
    summary = json.loads((tmp_path / "whole/summary.json").read_text())
    assert summary["steps"] == 3 and summary["scorer_failures"] == summary["generator_failures"] == 0
    assert (tmp_path / "whole/curves.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="other cases"):
        train(painted, broken, steps=3, cases=4)
    with pytest.raises(ConfigError, match="another reward"):
        train(painted, broken, steps=3, form="released-code")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    """A critic_rl set of pictures where nothing happened."""
    from datasets import Dataset

    folder, shards = tmp_path_factory.mktemp("sets"), ShardSet(pairs_folder())
    rows = []
    for (shard, row), record in zip(shards.keys, shards, strict=True):
        stream = io.BytesIO()
        PIL.Image.fromarray(record.before).save(stream, "PNG")
        said = instruction(record.step)
        rows.append(
            {
                "images": [{"bytes": stream.getvalue(), "path": None}] * 2, "instruction": said,
                "generator_prompt": "as told", "success": False, "semantics": 0.0, "quality": 10.0, "overall": 0.0,
                "task": said, "family": "put in", "seed": 1, "shard": shard, "row": row, "attempt": 1,
                "prompt": [{"role": "user", "content": f"{said} | as told"}],
            }
        )  # fmt: skip
    path = set_file(folder, "critic_rl", "train")
    path.parent.mkdir()
    Dataset.from_list(rows, features=features("critic_rl")).to_parquet(str(path))
    return folder


def test_a_set_brings_its_words_its_scores_and_its_ground_truth(sets: Path) -> None:
    cases = SetCases.load(sets, pairs_folder(), 4, seed=0)
    assert len(cases) == 4 and len({cases[i].key for i in range(4)}) == 4
    case = cases[0]
    assert np.array_equal(case.before, case.after) and case.record is not None
    assert np.array_equal(case.record.before, case.before) and case.instruction == instruction(case.record.step)
    template = load_prompt("embedded-critic", CRITIC_PLACEHOLDERS)
    row = conversations(cases, template)[0]
    assert row["prompt"] == [{"role": "user", "content": f"{case.instruction} | as told"}]
    assert row["case"] == 0 and [picture.size for picture in row["images"]] == [(128, 128)] * 2
    painter = PaintRight(case.record.after)
    refinery = Refinery(painter, load_judge("simulator"))
    assert refinery.standing(case) == Scores(0.0, 10.0) and refinery.tally.scored == 0, "it was judged before"
    (gain,) = refinery.gains([(case, Scores(0.0, 10.0), "better")], step=0)
    assert gain is not None and gain.overall > 0.7, "the simulator's own picture is right"


@dataclass
class PaintRight:
    right: np.ndarray
    name: str = "right"

    def generate(self, image, prompt, context):
        return self.right


def test_lora_and_the_other_form_and_the_result_judges(painted: Path, sets: Path, tmp_path: Path) -> None:
    folder = train(painted, tmp_path / "lora", steps=1, lora=True, form="released-code", sets=sets)
    settings = Qwen3VLCriticSettings(
        checkpoint="package:checkpoints/critic", lora=str(folder), prompt="embedded-critic", device="cpu",
        max_think_chars=600, max_new_tokens=512,
    )  # fmt: skip
    critic = Qwen3VLCritic.from_settings(settings)
    record = ShardSet(pairs_folder())[0]
    verdict = critic.judge(record.before, record.after, "open the drawer", "open the drawer", CallContext())
    assert 0 <= verdict.score <= 1 and verdict.refine_prompt
    assert critic.accept_threshold == json.loads((EMBEDDED / "itk.json").read_text()).get("accept_threshold", 0.5)


def test_a_pair_shares_one_place_however_it_is_handed_over() -> None:
    processor = ImageOnlyQwen3VLProcessor.from_pretrained(EMBEDDED)
    pictures = [PIL.Image.fromarray(np.full((128, 128, 3), value, np.uint8)) for value in (10, 60, 110, 160)]
    text = ["<|vision_start|><|image_pad|><|vision_end|>" * 2 + "x"] * 2
    flat, paired = (
        processor(images=images, text=text, return_tensors="pt")
        for images in (pictures, [[tuple(pictures[:2])], [tuple(pictures[2:])]])
    )
    assert torch.equal(flat["pixel_values"], paired["pixel_values"]) and len(flat["image_grid_thw"]) == 2
    plain = processor(images=pictures, text=text)
    assert torch.equal(torch.as_tensor(plain["pixel_values"]), flat["pixel_values"]), "without tensors too"


def test_paintings_that_are_not_there_are_named(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="paint some: python -m"):
        train(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="train data"):
        train_critic_rl(
            "package:checkpoints/critic", tmp_path, painted, tmp_path / "out", preset="critic-rl-tiny", steps=1
        )
    with pytest.raises(ConfigError, match=r"form: Invalid enum value 'papers'"):
        train(painted, tmp_path / "out", form="papers")
