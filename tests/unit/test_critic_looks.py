"""A refused picture is looked at again, moved sideways; the mean of the looks decides, and an accepted one is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, load_prompt
from itk_embodied.agents.qwen3vl.critic import Qwen3VLCritic
from itk_embodied.agents.qwen3vl.looks import moved
from itk_embodied.agents.settings import Qwen3VLCriticSettings
from itk_embodied.training.critic_eval import Case, _look_again
from itk_embodied.types import Image

PICTURE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)


class Model:
    """Answers each look with the next of the given probabilities; keeps what it was shown."""

    name, notes = "canned", {"accept_threshold": 0.5}

    def __init__(self, *probabilities: float) -> None:
        self.left, self.shown = list(probabilities), []

    def answer(self, messages: Any, pictures: list[Image], *rest: Any) -> Any:
        self.shown.append(pictures)
        probability = self.left.pop(0)
        said = str(probability >= 0.5).lower()
        text = (
            f"<think>look {len(self.shown)}</think>"
            f'<answer>{{"previous_step_success": {said}, "refine_prompt": "prompt {len(self.shown)}"}}</answer>'
        )
        return SimpleNamespace(text=text, true_probability=probability)


def judged(model: Model, looks: int) -> Any:
    settings = Qwen3VLCriticSettings(checkpoint="canned", looks=looks)
    critic = Qwen3VLCritic(model, load_prompt("critic", CRITIC_PLACEHOLDERS, None), settings)  # type: ignore[arg-type]
    return critic.judge(PICTURE, PICTURE[::-1].copy(), "put it there", "put it there", CallContext(seed=0))


def test_what_is_accepted_is_looked_at_once() -> None:
    model = Model(0.9)
    verdict = judged(model, 3)
    assert verdict.success and verdict.score == 0.9 and len(model.shown) == 1
    assert np.array_equal(model.shown[0][0], PICTURE)


def test_the_mean_of_three_looks_accepts_what_one_read_wrong() -> None:
    model = Model(0.01, 0.9, 0.95)
    verdict = judged(model, 3)
    assert verdict.success and verdict.score == pytest.approx(0.62)
    for number, (before, after) in enumerate(model.shown):
        assert np.array_equal(before, moved(PICTURE, number))
        assert np.array_equal(after, moved(PICTURE[::-1], number))


@pytest.mark.parametrize("probabilities", [(0.01, 0.99, 0.2), (0.1, 0.2, 0.3), (0.49, 0.4, 0.55)])
def test_one_kind_look_among_three_is_not_enough(probabilities: tuple[float, ...]) -> None:
    verdict = judged(Model(*probabilities), 3)
    assert not verdict.success and verdict.score == pytest.approx(np.mean(probabilities))
    assert verdict.refine_prompt == "prompt 1"  # its places are those of the pictures as they are


def test_one_look_is_all_where_no_more_are_asked_for() -> None:
    model = Model(0.1)
    assert not judged(model, 1).success and len(model.shown) == 1


def test_the_looks_move_to_either_side_and_repeat_the_edge() -> None:
    assert np.array_equal(moved(PICTURE, 0), PICTURE)
    right, left = moved(PICTURE, 1), moved(PICTURE, 2)
    assert np.array_equal(right[:, 2:], PICTURE[:, :-2]) and np.array_equal(right[:, 0], PICTURE[:, 0])
    assert np.array_equal(left[:, :-2], PICTURE[:, 2:]) and np.array_equal(left[:, -1], PICTURE[:, -1])
    assert right.shape == PICTURE.shape and right.dtype == np.uint8


def test_the_measure_of_a_critic_looks_as_the_critic_does() -> None:
    given = {0: [0.9, 0.1, 0.6], 1: [0.9, 0.9, 0.3], 2: [0.9, 0.6, 0.3]}  # by look, of three cases
    cases = [Case(np.roll(PICTURE, i, 0), np.roll(PICTURE, i, 1), f"case {i}", "kind", True) for i in range(3)]
    asked: list[str] = []

    def judge(pictures: Any, texts: Any) -> list[Any]:
        look = 1 + len(asked)
        asked.append(texts)
        assert texts == ["case 1"]  # only what the first look refused
        assert np.array_equal(pictures[0][0], moved(cases[1].before, look))
        assert np.array_equal(pictures[0][1], moved(cases[1].after, look))
        return [SimpleNamespace(true_probability=given[look][1])]

    seen = _look_again(judge, cases, given[0], 0.5, 3)  # type: ignore[arg-type]
    assert seen == pytest.approx([0.9, (0.1 + 0.9 + 0.6) / 3, 0.6]) and len(asked) == 2
