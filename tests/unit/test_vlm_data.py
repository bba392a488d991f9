"""What the tiny models learn from: shards, packed questions, corruptions, thoughts. On pairs from the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")

from itk_embodied.agents.contracts import parse_verdict  # noqa: E402
from itk_embodied.agents.qwen3vl.tiny import PLACES, SKELETON, build_model, build_processor, build_tokenizer  # noqa: E402
from itk_embodied.errors import InputError  # noqa: E402
from itk_embodied.training.corruptions import CORRUPTIONS  # noqa: E402
from itk_embodied.training.critic_data import ask, critic_example, look_example, wrong_step  # noqa: E402
from itk_embodied.training.judge_batch import BatchJudge  # noqa: E402
from itk_embodied.training.planner_data import SHIFT_PX, moved_state, planner_example  # noqa: E402
from itk_embodied.training.shards import ShardSet, is_held_out, make_shards  # noqa: E402
from itk_embodied.training.vlm_batch import IGNORED, Packer  # noqa: E402
from itk_embodied.training.vlm_text import corpus, listing  # noqa: E402
from itk_sim.language import instruction  # noqa: E402
from itk_sim.symbols import DRAWER, TABLE, SceneState, Step  # noqa: E402


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> ShardSet:
    folder = tmp_path_factory.mktemp("pairs")
    make_shards(folder, 30, seed=5, shard_size=30)
    return ShardSet(folder)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(corpus())


def test_a_shard_is_the_same_whoever_makes_it_and_never_half_there(
    shards: ShardSet, tmp_path: Path, monkeypatch
) -> None:
    make_shards(tmp_path, 3, seed=5, shard_size=3)
    again = ShardSet(tmp_path)
    assert again[2].step == shards[2].step and np.array_equal(again[2].after, shards[2].after)
    monkeypatch.setattr(np, "save", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make_shards(tmp_path, 1, seed=5, shard_size=1, first=1)
    assert [p.name for p in tmp_path.iterdir()] == ["shard-00000"]


def test_held_out_shards_are_never_trained_on(shards: ShardSet) -> None:
    held_out = [n for n in range(100) if is_held_out(n)]
    assert held_out == [19, 39, 59, 79, 99]
    assert len(ShardSet(shards.folder, "held-out")) == 0
    with pytest.raises(InputError, match="allowed: train, held-out"):
        ShardSet(shards.folder, "test")


def test_the_tokenizer_loses_nothing_and_keeps_places_whole(tokenizer) -> None:
    for text in ("<think>red cube<x03><y31>on table</think>", *SKELETON, 'Ünïcode 漢字 \t "quoted" \\ banana'):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text
    for word in (*PLACES, "true", "false", *SKELETON, "red", "drawer"):
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1, word


def test_packed_questions_are_what_the_processor_makes_and_are_answered_as_if_alone(
    shards: ShardSet, tokenizer
) -> None:
    model, packer = build_model(tokenizer).eval(), Packer(tokenizer)
    processor = build_processor(tokenizer, pair_frames=True)
    rng = np.random.default_rng(1)
    example = next(e for e in (critic_example(r, rng) for r in shards) if len(e.questions) >= 3)
    packed = packer.pack([example])
    prefix = len(packer.opening) + packer.rows * packer.columns + len(packer.closing)
    with torch.no_grad():
        together = model(**packed.inputs).logits[0]
    for _, start, _, question in packed.spans:
        pictures = [{"type": "image", "image": PIL.Image.fromarray(image)} for image in (example.first, example.second)]
        chat = [{"role": "user", "content": [*pictures, {"type": "text", "text": question.text}]}]
        alone = processor.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        length = alone["input_ids"].shape[1]
        ids = packed.inputs["input_ids"][0]
        assert torch.equal(torch.cat([ids[:prefix], ids[start:]])[:length], alone["input_ids"][0])
        assert torch.equal(alone["pixel_values"], packed.inputs["pixel_values"])
        with torch.no_grad():
            separate = model(**alone).logits[0, -1]
        assert torch.allclose(separate, together[start + length - prefix - 1], atol=1e-4)


def test_only_what_is_to_be_learnt_has_labels(shards: ShardSet, tokenizer) -> None:
    packer, rng = Packer(tokenizer), np.random.default_rng(2)
    example = look_example(shards[0], rng)
    packed = packer.pack([example])
    learned = packed.labels[0] != IGNORED
    for _, start, end, question in packed.spans:
        wanted = "".join(text for text, learn in question.answer if learn)
        got = tokenizer.decode(packed.labels[0, start:end][learned[start:end]])
        assert got.removesuffix("<|im_end|>") == wanted


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_corruption_changes_the_goal_image_where_it_says(shards: ShardSet, kind: str) -> None:
    rng, made = np.random.default_rng(3), 0
    for record in shards:
        spoilt = CORRUPTIONS[kind](record, rng)
        if spoilt is None:
            continue
        made += 1
        assert spoilt.image.shape == record.after.shape and spoilt.image.dtype == np.uint8
        difference = np.abs(spoilt.image.astype(int) - record.after).sum(-1)
        assert (difference > 24).sum() >= 5, "a corruption that cannot be seen teaches nothing"
        if spoilt.damage is not None:
            assert (difference[spoilt.damage] > 0).any()
    assert made >= 3


def test_wrong_instructions_are_wrong(shards: ShardSet) -> None:
    """Nothing that the pair does show may be taught as false."""
    rng = np.random.default_rng(4)
    for record in list(shards) * 4:
        step = wrong_step(record, rng)
        if step is None or step.verb != "place" or step.obj != record.step.obj:
            continue
        support = record.after_state.support.get(str(step.obj))
        if step.relation in ("in", "on"):
            assert support != step.target, instruction(step)


def test_the_answer_is_the_contract_and_the_thought_says_where_things_are(shards: ShardSet) -> None:
    rng = np.random.default_rng(5)
    for record in shards:
        question = ask(record, record.step, True, None, rng, "right", refine_share=1.0, doubt_share=0.0)
        verdict = parse_verdict("".join(text for text, _ in question.answer), 0.9)
        assert verdict.success and verdict.refine_prompt == question.text.split(" | ")[1]
        assert verdict.reasoning.endswith("clean")
        if record.step.verb == "place" and record.step.target == TABLE:
            assert "on table" in verdict.reasoning


def test_a_listing_names_what_the_picture_shows_and_nothing_hidden(shards: ShardSet) -> None:
    for record in shards:
        said = listing(record.before_state)
        for cube in record.before_state.cubes:
            shut_in = record.before_state.support[cube] == DRAWER and record.before_state.drawer == "closed"
            if shut_in:
                assert f"{cube}<" not in said
            elif record.before_state.visible[cube] > 0.5:
                assert f"{cube}<" in said


def test_the_batch_judge_and_a_single_question_agree(shards: ShardSet, tokenizer) -> None:
    """Batched and padded, a verdict is what it is alone."""
    torch.manual_seed(0)
    judge = BatchJudge(build_model(tokenizer), tokenizer)
    pairs = [(record.before, record.after) for record in list(shards)[:5]]
    texts = [instruction(Step("open")), *(f"{instruction(r.step)} | now" for r in list(shards)[1:5])]
    together = judge(pairs, texts)
    alone = [judge([pair], [text])[0] for pair, text in zip(pairs, texts, strict=True)]
    assert [a.thought for a in together] == [a.thought for a in alone]
    assert [a.true_probability for a in together] == pytest.approx([a.true_probability for a in alone], abs=1e-4)


def test_a_planners_picture_is_moved_about_and_what_is_told_moves_along(shards: ShardSet) -> None:
    rng, shifts = np.random.default_rng(6), set()
    for record in shards:
        example = planner_example(record, rng, tasks=1, listing_share=0.0)
        (places, _), thought = example.places, example.questions[0].answer[0][0]
        both = [(record.before_state, record.before), (record.after_state, record.after)]
        moves = [(state, image, _moved_px(state, places)) for state, image in both]
        told = [m for m in moves if f"<think>{listing(moved_state(m[0], m[2] / 128))}" == thought]
        assert told, f"neither picture shows {thought!r}"
        state, image, (down, right) = told[0]
        shifts.add((down, right))
        for cube in (name for name in state.cubes if state.visible[name] > 0.95):
            column, row = (int(value) for value in places[cube])
            was, now = image[row - down, column - right].astype(float), example.first[row, column].astype(float)
            assert np.all(np.abs(now - was) <= 0.22 * was + 2), cube  # the same pixel in another light
    assert len(shifts) > 20 and np.abs(list(shifts)).max() == SHIFT_PX


def _moved_px(state: SceneState, places: dict[str, tuple[float, float] | None]) -> np.ndarray:
    """By how many pixels (down, right) things are away from where a state has them."""
    name = next(name for name in state.names if places[name] is not None)
    u, v = state.pixel[name]
    return np.round(np.subtract(places[name], (u * 128, v * 128))).astype(int)[::-1]
