"""The critic's reward against numbers worked out by hand, and the book-keeping of paintings and failures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scripted import gradient_image

from itk_embodied.agents.contracts import format_verdict
from itk_embodied.errors import ConfigError, ItkError
from itk_embodied.training.judge.base import Judgement, Subject
from itk_embodied.training.tuning.cases import Case
from itk_embodied.training.tuning.critic_reward import CriticReward
from itk_embodied.training.tuning.presets import RewardSettings, load_preset
from itk_embodied.training.tuning.refinement import Refinery
from itk_embodied.training.tuning.rewards import Gain, Scores, reward
from itk_embodied.training.tuning.runs import claim, is_done, last_whole_checkpoint, note_done, write_curves

# Overall scores: sqrt(4 * 9) = 6 and sqrt(9 * 9) = 9, so the paper's gain is (9 - 6) / 10 = 0.3.
BETTER = Gain(Scores(4, 9), Scores(9, 9))
WORSE = Gain(Scores(9, 9), Scores(4, 9))
RUINED = Gain(Scores(10, 10), Scores(0, 0))


@pytest.mark.parametrize(
    ("said", "truth", "gain", "total"),
    [
        (False, False, BETTER, 0.62),  # 0.5 + 0.5 (0.2 * 0 + 0.8 * 0.3)
        (False, False, WORSE, 0.38),  # 0.5 + 0.5 (0 - 0.24)
        (False, False, None, 0.5),  # scorer failed: neutral
        (True, True, None, 0.5),  # had succeeded already: neutral
        (False, True, None, 0.4),  # 0.5 + 0.5 * 0.2 * -1
        (True, False, None, 0.4),
        (False, False, RUINED, 0.1),  # 0.5 + 0.5 * 0.8 * -1
        (None, False, None, -0.1),  # not readable: 0 + 0.5 * 0.2 * -1
    ],
)
def test_the_papers_form(said, truth, gain, total) -> None:
    assert reward("paper", said=said, truth=truth, gain=gain).total == pytest.approx(total)


@pytest.mark.parametrize(
    ("said", "truth", "gain", "total"),
    [
        (False, False, BETTER, 0.875),  # S = (0.5 + 1) / 2 = 0.75, Q = 0.5: 0.5 + 0.5 (0.2 + 0.45 + 0.1)
        (False, False, WORSE, 0.725),  # S = 0.25: 0.5 + 0.5 (0.2 + 0.15 + 0.1)
        (False, False, None, 0.8),  # neutral: 0.5 + 0.5 (0.2 + 0.3 + 0.1)
        (True, True, None, 0.8),
        (False, True, None, 0.7),
        (True, False, None, 0.7),
        (False, False, RUINED, 0.6),  # S = Q = 0: 0.5 + 0.5 * 0.2
        (None, False, None, 0.0),
    ],
)
def test_the_released_codes_form(said, truth, gain, total) -> None:
    assert reward("released-code", said=said, truth=truth, gain=gain).total == pytest.approx(total)


def test_alpha_weighs_accuracy_against_the_step() -> None:
    assert reward("paper", said=False, truth=False, gain=BETTER, alpha=0.0).total == pytest.approx(0.65)
    assert reward("paper", said=False, truth=False, gain=BETTER, alpha=1.0).total == pytest.approx(0.5)
    assert load_preset("critic-rl-8b", "critic-rl").reward == RewardSettings(form="paper", alpha=0.2)
    with pytest.raises(ValueError, match=r"0\.\.10"):
        Scores(float("nan"), 5)


@dataclass
class Painter:
    """Paints a brightness that the prompt says; fails on "broken"."""

    name: str = "painter"
    seen: list[tuple[str, int]] = field(default_factory=list)

    def generate(self, image, prompt, context):
        self.seen.append((prompt, context.seed))
        if "broken" in prompt:
            raise RuntimeError("out of paint")
        return np.full_like(image, int(prompt.split()[-1]))


@dataclass
class Judge:
    """Semantics: a tenth of the brightness; fails where there is none. Keeps what it was asked."""

    name: str = "scripted"
    asked: list[str] = field(default_factory=list)

    def judge(self, subject: Subject, image, context=None) -> Judgement:
        self.asked.append(subject.instruction)
        if image.max() == 0:
            raise TimeoutError("judge timed out")
        return Judgement(float(image.max()) / 10, 10, 10, 10)


def case(number: int, success: bool = False, brightness: int = 40) -> Case:
    after = np.full((32, 32, 3), brightness, np.uint8)
    return Case(f"case {number}", gradient_image(32, 32), after, "make it 90", "make it 40", success)


def answers(*texts: str):
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_only_failed_steps_that_were_refused_are_painted_again_and_equal_prompts_once() -> None:
    painter = Painter()
    cases = [case(0), case(1, brightness=80), case(2)]  # from a score of 5 on a step has succeeded
    refinery = Refinery(painter, judge := Judge())
    function = CriticReward(cases, refinery, RewardSettings())
    texts = answers(
        format_verdict(False, "make it 90"),  # better: overall sqrt(4 * 10) -> sqrt(9 * 10)
        format_verdict(False, "make it 90"),
        format_verdict(True, "make it 40"),  # accepted a failure: nothing is painted
        format_verdict(False, "make it 10"),  # refused a success: nothing is painted
        "no answer at all",
        format_verdict(False, "make it 10"),
    )
    metrics: dict[str, float] = {}
    totals = function(
        prompts=[None] * 6, completions=texts, case=[0, 0, 0, 1, 2, 2],
        trainer_state=SimpleNamespace(global_step=3), log_metric=metrics.__setitem__,
    )  # fmt: skip
    gain = (90**0.5 - 40**0.5) / 10
    loss = (10**0.5 - 40**0.5) / 10
    assert totals == pytest.approx([0.5 + 0.4 * gain, 0.5 + 0.4 * gain, 0.4, 0.4, -0.1, 0.5 + 0.4 * loss])
    assert sorted(prompt for prompt, _ in painter.seen) == ["make it 10", "make it 90"]
    assert judge.asked == ["make it 90"] * 5, "three paintings and two refined ones, by the original instruction"
    assert metrics["regenerated"] == 3 and metrics["scorer_failures"] == metrics["generator_failures"] == 0
    assert metrics["readable"] == pytest.approx(5 / 6) and metrics["accuracy"] == pytest.approx(3 / 6)
    assert metrics["false_accepts"] == pytest.approx(1 / 5) and metrics["false_rejects"] == 1
    assert metrics["step_gain"] == pytest.approx((2 * gain + loss) / 3)


def test_a_group_gets_the_same_noise_and_another_step_another() -> None:
    painter, low = Painter(), Scores(4, 10)
    refinery = Refinery(painter, Judge())
    refinery.gains([(case(0), low, "make it 90"), (case(0), low, "make it 80"), (case(1), low, "make it 80")], step=1)
    refinery.gains([(case(0), low, "make it 90")], step=2)
    (_, first), (_, second), (_, other), (_, later) = painter.seen
    assert first == second and len({first, other, later}) == 3


def test_failures_are_neutral_counted_logged_and_named(caplog) -> None:
    refinery = Refinery(Painter(), Judge())
    function = CriticReward([case(0), case(1, brightness=0)], refinery, RewardSettings(form="released-code"))
    metrics: dict[str, float] = {}
    texts = answers(
        format_verdict(False, "broken"), format_verdict(False, "make it 0"), format_verdict(False, "make it 90")
    )
    totals = function(prompts=[None] * 3, completions=texts, case=[0, 0, 1], log_metric=metrics.__setitem__)
    assert totals == pytest.approx([0.8, 0.8, 0.8]), "neutral, the verdict being right"
    assert metrics["generator_failures"] == 1 and metrics["scorer_failures"] == 2
    assert "the generator failed on case 0" in caplog.text and "judge timed out" in caplog.text
    assert "step_gain" not in metrics, "a mean of nothing is left out, not zero"


def test_a_judge_that_mostly_fails_stops_the_run() -> None:
    refinery = Refinery(Painter(), Judge())
    with pytest.raises(ItkError, match=r"the judge failed 32 of 32 times .*judge timed out.*goes on from its last"):
        for number in range(40):
            refinery.standing(case(number, brightness=0))


def test_curves_keep_gaps_and_checkpoints_must_be_whole(tmp_path) -> None:
    history = [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.6, "kl": 0.1}, {"step": 2, "train_runtime": 3.0}]
    write_curves(tmp_path, history, {"reward": "reward", "KL": "kl", "never": "never"})
    assert (tmp_path / "curves.csv").read_text().splitlines() == ["step,reward,KL", "1,0.5,", "2,0.6,0.1"]
    assert last_whole_checkpoint(tmp_path) is None
    for number, text in ((9, json.dumps({"global_step": 9})), (10, '{"global_step": 1'), (11, None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if text:
            (folder / "trainer_state.json").write_text(text)
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-9"


def test_a_run_is_done_when_all_its_steps_are_and_the_outcome_is_saved(tmp_path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2/trainer_state.json").write_text(json.dumps({"global_step": 2}))
    assert not is_done(tmp_path, 2) and not is_done(tmp_path, -1), "its outcome is not saved"
    note_done(tmp_path, 2)
    assert is_done(tmp_path, 2) and is_done(tmp_path, -1)
    assert not is_done(tmp_path, 3), "it may become longer"
    claim(tmp_path, {"preset": {}})
    assert is_done(tmp_path, 2)
    (tmp_path / "checkpoint-2/trainer_state.json").unlink()
    claim(tmp_path, {"preset": {}})
    assert not is_done(tmp_path, 2), "who clears its checkpoints away starts anew"


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        ({"max_steps": 2, "lr_scheduler_type": "constant"}, {"max_steps": 3, "lr_scheduler_type": "constant"}, True),
        ({"max_steps": 3, "lr_scheduler_type": "constant"}, {"max_steps": 2, "lr_scheduler_type": "constant"}, False),
        ({"max_steps": 2, "lr_scheduler_type": "cosine"}, {"max_steps": 3, "lr_scheduler_type": "cosine"}, False),
        ({"max_steps": 2}, {"max_steps": 3}, False),
        ({"max_steps": 2, "lr_scheduler_type": "constant"},
         {"max_steps": 3, "lr_scheduler_type": "constant", "beta": 1.0}, False),
    ],
)  # fmt: skip
def test_only_a_run_at_a_constant_rate_may_become_longer(tmp_path, before, after, allowed) -> None:
    claim(tmp_path, {"preset": before})
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1/trainer_state.json").write_text(json.dumps({"global_step": 1}))
    if allowed:
        assert claim(tmp_path, {"preset": after}).name == "checkpoint-1"
        assert json.loads((tmp_path / "settings.json").read_text())["preset"] == after
    else:
        with pytest.raises(ConfigError, match="another preset"):
            claim(tmp_path, {"preset": after})
