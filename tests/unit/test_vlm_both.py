"""One small model for both roles: it is taught both, and what its roles see in use is what they saw in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_pairs import pairs_folder
from transformers import PreTrainedTokenizerFast

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import plan_schema
from itk_embodied.agents.qwen3vl.tiny import build_model, build_processor, build_tokenizer
from itk_embodied.agents.stacks import build_role, read_stack
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.stages import example_of, train_stage
from itk_embodied.training.vlm_batch import Example, Packer, Question
from itk_embodied.training.vlm_text import corpus
from itk_embodied.training.vlm_train import save_checkpoint

STACK = """
[planner]
kind = "qwen3vl"
checkpoint = "{checkpoint}"
prompt = "embedded-planner"
max_new_tokens = 4
[generator]
kind = "composite-flow"
checkpoint = "package:checkpoints/generator"
[critic]
kind = "qwen3vl"
checkpoint = "{checkpoint}"
prompt = "embedded-critic"
"""


@pytest.fixture(scope="module")
def shards() -> ShardSet:
    return ShardSet(pairs_folder())


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(corpus())


def asked(processor, *chats: tuple[list[np.ndarray], str]):
    turns = []
    for pictures, text in chats:
        content = [{"type": "image", "image": PIL.Image.fromarray(picture)} for picture in pictures]
        turns.append([{"role": "user", "content": [*content, {"type": "text", "text": text}]}])
    return processor.apply_chat_template(
        turns, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


def test_each_role_has_half_of_the_pictures_and_the_planner_all_without(shards: ShardSet) -> None:
    rng = np.random.default_rng(0)
    drawn = [example_of("both", shards, rng) for _ in range(200)]
    critic = sum(any("|" in question.text for question in example.questions) for example in drawn)
    assert 70 < critic < 130
    assert all(np.array_equal(e.first, e.second) for e in drawn if not any("|" in q.text for q in e.questions))
    assert all(example_of("both", shards, rng, blind=True).first is None for _ in range(20))


def test_one_picture_fills_both_slots_and_two_have_one_each(shards: ShardSet, tokenizer) -> None:
    processor, packer = build_processor(tokenizer, pair_frames=True), Packer(tokenizer)
    before, after = shards[0].before, shards[0].after
    alone, pair = asked(processor, ([before], "a")), asked(processor, ([before, after], "a"))
    assert torch.equal(alone["pixel_values"], packer.patches([Example(before, before, ())]))
    assert torch.equal(pair["pixel_values"], packer.patches([Example(before, after, ())]))
    assert torch.equal(alone["input_ids"], pair["input_ids"])
    plain = asked(build_processor(tokenizer, pair_frames=False), ([before], "a"))
    assert torch.equal(alone["pixel_values"], plain["pixel_values"])

    mixed = asked(processor, ([before], "a"), ([before, after], "a"), ([after], "a"))
    expected = packer.patches([Example(before, before, ()), Example(before, after, ()), Example(after, after, ())])
    assert torch.equal(mixed["pixel_values"], expected)
    with pytest.raises(ValueError, match="one picture or two for every text"):
        asked(processor, ([before, after, after], "a"))


def test_a_model_trained_for_both_is_one_model_in_a_stack_and_sees_what_it_was_taught(
    shards: ShardSet, tokenizer, tmp_path: Path
) -> None:
    save_checkpoint(build_model(tokenizer), tokenizer, tmp_path / "look", True, {})
    folder = train_stage(
        "both", data=pairs_folder(), start=tmp_path / "look", out=tmp_path / "both", examples=4, batch=2, progress=False
    )
    path = tmp_path / "both.toml"
    path.write_text(STACK.format(checkpoint=folder.relative_to(tmp_path)))
    spec = read_stack(path)
    planner, critic = build_role(spec.planner), build_role(spec.critic)
    model = planner._model
    assert model is critic._model and model.model.config.text_config.num_hidden_layers == 6

    before, after, packer = shards[0].before, shards[0].after, Packer(model.processor.tokenizer)
    for role, pictures, filled, text in (
        (planner, [before], planner._prompt.fill(task="tidy up"), "tidy up"),
        (critic, [before, after], critic._prompt.fill(instruction="open", prompt="open it"), "open | open it"),
    ):
        used = role._model._inputs(filled, pictures, None)
        taught = packer.pack([Example(pictures[0], pictures[-1], (Question(text, ()),))]).inputs
        length = used["input_ids"].shape[1]
        assert torch.equal(used["input_ids"], taught["input_ids"][:, :length])
        assert torch.equal(used["pixel_values"], taught["pixel_values"])
    filled = planner._prompt.fill(task="tidy up")
    assert model.answer(filled, [before], plan_schema(1), spec.planner.settings, CallContext()).text
