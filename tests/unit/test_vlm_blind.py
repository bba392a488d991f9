"""Learning to plan without pictures: the words are right, the batch is right, and the faster arithmetic is the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pairs import pairs_folder
from transformers import PreTrainedTokenizerFast

from itk_embodied.agents.contracts import format_plan, parse_plan
from itk_embodied.agents.qwen3vl.tiny import TinySize, build_model, build_tokenizer, deepened
from itk_embodied.errors import ConfigError, InputError
from itk_embodied.training import planner_eval, planner_text
from itk_embodied.training.planner_data import blind_example, plan_question, planner_example
from itk_embodied.training.planner_eval import evaluate, evaluate_suite, judge_plan
from itk_embodied.training.planner_text import drawn_task, recoloured, retelling, roughened
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.stages import Stage, train_stage
from itk_embodied.training.vlm_batch import IGNORED, Packer
from itk_embodied.training.vlm_fast import speed_up
from itk_embodied.training.vlm_text import corpus, listing
from itk_embodied.training.vlm_train import TinyTrainer, TinyTraining
from itk_embodied.types import PlanStep
from itk_sim.errors import SimError
from itk_sim.language import instruction
from itk_sim.suites import build
from itk_sim.symbols import Step
from itk_sim.tasks import sample_task

SIZE = TinySize(vision_width=32, vision_layers=2, width=48, layers=2, heads=6, mlp=64)


@pytest.fixture(scope="module")
def shards() -> ShardSet:
    return ShardSet(pairs_folder())


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(corpus())


def test_a_recoloured_scene_is_the_same_scene(shards: ShardSet) -> None:
    rng = np.random.default_rng(0)
    for record in shards:
        state = record.before_state
        other = recoloured(state, rng)
        assert sorted(other.support.values()) != [] and len(other.cubes) == len(state.cubes)
        assert set(other.position_m) == set(other.pixel) == set(other.names)
        places = sorted(re.findall(r"<x\d\d><y\d\d>", listing(state)))
        assert sorted(re.findall(r"<x\d\d><y\d\d>", listing(other))) == places
        stacks = sum(below in state.cubes for below in state.support.values())
        assert sum(below in other.cubes for below in other.support.values()) == stacks


def test_rough_text_keeps_its_colours_whole_or_is_one_slip_away(shards: ShardSet) -> None:
    rng = np.random.default_rng(2)
    changed = 0
    for _ in range(200):
        task = drawn_task(shards[int(rng.integers(len(shards)))].before_state, rng)
        text = roughened(task, rng)
        changed += text != task.text
        said, left = (re.findall(r"\b(?:red|blue|teal)\b", t.lower()) for t in (task.text, text))
        assert left == said or len(left) == len(said) - 1, "more than one colour was lost"
    assert 20 < changed < 150


def test_only_words_that_a_text_can_do_without_are_left_out_or_coined(shards: ShardSet, monkeypatch) -> None:
    for share in ("SLIP_SHARE", "STRAY_SHARE", "COINED_SHARE", "THING_SHARE", "LOUD_SHARE", "OWN_SHARE", "WITH_SHARE"):
        monkeypatch.setattr(planner_text, share, 0.0)
    monkeypatch.setattr(planner_text, "SMALL_SHARE", 1.0)
    monkeypatch.setattr(planner_text, "INTO_SHARE", 1.0)
    rng = np.random.default_rng(4)
    telling = re.compile(
        r"\b(?:red|green|blue|yellow|orange|purple|cube|block|bowl|dish|mat|drawer|table|left|right|behind|front|top|of"
        r"|open|close|swap|sort|under|middle|bottom|out|off|from|all|every|but|except|before|after|then|no|nothing)\b"
    )
    into = 0
    for _ in range(150):
        task = drawn_task(shards[int(rng.integers(len(shards)))].before_state, rng)
        text = roughened(task, rng)
        said = task.text.lower().replace("on top of", "on").replace("inside of", "in")
        kept = text.lower().replace("on top of", "on").replace("inside of", "in")
        assert telling.findall(kept) == telling.findall(said)
        into += len(re.findall(r"\b(?:in|into|on|onto)\b", said)) > len(re.findall(r"\b(?:in|into|on|onto)\b", kept))
    assert into > 20


def test_a_familys_own_words_are_coined_and_nothing_else(shards: ShardSet, monkeypatch) -> None:
    for share in (
        "SLIP_SHARE",
        "STRAY_SHARE",
        "COINED_SHARE",
        "THING_SHARE",
        "LOUD_SHARE",
        "SMALL_SHARE",
        "INTO_SHARE",
        "WITH_SHARE",
    ):
        monkeypatch.setattr(planner_text, share, 0.0)
    monkeypatch.setattr(planner_text, "OWN_SHARE", 1.0)
    own = {"swap": r"\b(?:swap|exchange|switch|trade)\b", "chain": r"\b(?:then|afterwards)\b", "sort": r"\bsort\b"}
    rng, coined = np.random.default_rng(5), set()
    for _ in range(300):
        task = drawn_task(shards[int(rng.integers(len(shards)))].before_state, rng)
        text = roughened(task, rng)
        if not task.feasible or task.family not in planner_text._OWN_WORDS:
            assert text == task.text
            continue
        colours = r"\b(?:red|green|blue|yellow|orange|purple|teal|pink|white)\b"
        assert re.findall(colours, text, re.I) == re.findall(colours, task.text, re.I)
        if task.family in own:
            assert not re.search(own[task.family], text, re.I)
            coined |= {task.family} if text != task.text else set()
    assert coined == set(own)


def test_what_is_done_with_a_thing_is_said_by_any_word(shards: ShardSet, monkeypatch) -> None:
    for share in ("SLIP", "STRAY", "COINED", "THING", "LOUD", "SMALL", "INTO", "OWN"):
        monkeypatch.setattr(planner_text, f"{share}_SHARE", 0.0)
    monkeypatch.setattr(planner_text, "WITH_SHARE", 1.0)
    state = shards[0].before_state
    task = replace(sample_task(state, np.random.default_rng(0), "stack"), text="Cap the red cube with the blue one.")
    said = re.fullmatch(r"(\w+) the red cube with the blue one\.", roughened(task, np.random.default_rng(0)))
    assert said and said[1] != "Cap"
    asked = replace(task, text="Swap the red cube with the blue one.")
    assert roughened(asked, np.random.default_rng(0)) == asked.text


def test_a_blind_answer_is_a_right_plan_and_its_listing_is_not_learnt(shards: ShardSet, tokenizer) -> None:
    rng, packer = np.random.default_rng(3), Packer(tokenizer, SIZE)
    for _ in range(20):
        example = blind_example(shards[int(rng.integers(len(shards)))], rng)
        (question,) = example.questions
        (seen, learn_seen), (rest, learn_rest) = question.answer
        assert (learn_seen, learn_rest) == (False, True) and rest.startswith(";goal ")
        assert parse_plan(seen + rest).steps
        packed = packer.pack([example])
        learnt = packed.labels[packed.labels != IGNORED].tolist()
        assert learnt == [*packer.ids(rest), *packer.end] and "pixel_values" not in packed.inputs


def retold(state, rng):
    """A told task before and after: its text, its answer, and both retold; None where it cannot be."""
    state = recoloured(state, rng)
    task = drawn_task(state, rng)
    question = plan_question(state, task, listing_given=True)
    retell = retelling(task.text, question.answer[-1][0], rng)
    return None if retell is None else (task, "".join(text for text, _ in question.answer), retell)


def test_colours_are_exchanged_alike_in_all_that_is_said(shards: ShardSet) -> None:
    rng, made = np.random.default_rng(6), 0
    for _ in range(150):
        found = retold(shards[int(rng.integers(len(shards)))].before_state, rng)
        if found is None:
            continue
        task, answer, retell = found
        made += 1
        pattern = r"\b(?:red|green|blue|yellow|orange|purple|white|teal|pink|gr[ea]y)\b"
        for text in (task.text, answer):
            said = [word.lower().replace("gray", "grey") for word in re.findall(pattern, text, re.I)]
            words = re.split(pattern, text, flags=re.I)
            new = retell(text)
            at, names = 0, []
            for one, other in pairwise(words):  # everything but the colours stays
                at += len(one)
                end = new.index(other, at) if other else len(new)
                names.append(new[at:end].lower())
                at = end
            assert new.startswith(words[0]) and new.endswith(words[-1]) and len(names) == len(said)
            pairs = set(zip(said, names, strict=True))
            assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
        assert parse_plan(retell(answer)).steps
    assert made > 90


def test_retelling_names_nothing_that_is_held_out_and_leaves_warm_and_cold_alone() -> None:
    rng = np.random.default_rng(7)
    plan = "put the orange cube on the grey mat"
    for _ in range(300):
        retell = retelling("now put the red cube on the mat", "put the red cube on the blue mat", rng)
        assert retell is None or retell("put the red cube on the blue mat") != plan
        assert retelling("put all warm cubes on the mat", "put the red cube on the blue mat", rng) is None
    kept = [retelling("red on the yellow mat", "", rng) for _ in range(2000)]
    said = [retell("red on the yellow mat") for retell in kept if retell is not None]
    assert len(said) > 1500 and not any("orange on the grey" in text for text in said)
    loud = next(retell for retell in kept if retell is not None)
    assert loud("RED Red red") == f"{loud('red').upper()} {loud('red').title()} {loud('red')}"


def test_a_blind_row_is_what_the_chat_template_makes(shards: ShardSet, tokenizer) -> None:
    example = blind_example(shards[0], np.random.default_rng(4))
    (question,) = example.questions
    answer = "".join(text for text, _ in question.answer)
    turns = [{"role": "user", "content": question.text}, {"role": "assistant", "content": answer}]
    text = tokenizer.apply_chat_template(turns, tokenize=False).rstrip("\n")
    row = Packer(tokenizer, SIZE).pack([example]).inputs["input_ids"][0].tolist()
    assert tokenizer.decode(row, skip_special_tokens=False).rstrip("!").startswith(text)


def test_new_layers_change_nothing_at_first(tokenizer) -> None:
    model = build_model(tokenizer, SIZE).eval()
    grown = deepened(model, 4).eval()
    ids = torch.arange(40)[None] + 300
    assert grown.config.text_config.num_hidden_layers == 4 and deepened(grown, 3) is grown
    with torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, grown(input_ids=ids).logits, atol=1e-5)


def test_the_faster_arithmetic_is_the_same(shards: ShardSet, tokenizer) -> None:
    rng, packer = np.random.default_rng(5), Packer(tokenizer, TinySize())
    model = build_model(tokenizer, replace(TinySize(), layers=1, vision_layers=2)).eval()
    packed = packer.pack([planner_example(shards[0], rng), planner_example(shards[1], rng)])
    inputs = dict(packed.inputs)
    with torch.no_grad():
        plain = model.model(**inputs).last_hidden_state
        speed_up(model)
        inputs["attention_mask"] = torch.where(inputs["attention_mask"], 0.0, -1e4)
        quick = model.model(**inputs).last_hidden_state
    asked = packed.labels != IGNORED
    assert torch.allclose(plain[asked], quick[asked], atol=1e-4)


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(shards: ShardSet, tmp_path: Path) -> None:
    def source(rng: np.random.Generator, blind: bool):
        record = shards[int(rng.integers(len(shards)))]
        return blind_example(record, rng) if blind else planner_example(record, rng)

    def trainer(out: str, examples: int, workers: int = 0) -> TinyTrainer:
        config = TinyTraining(
            out=tmp_path / out, examples=examples, batch=2, blind_share=0.5, save_every_s=1e9, workers=workers
        )
        return TinyTrainer(config, source)

    whole, cut = trainer("whole", 8), trainer("cut", 8)
    whole.train(progress=False)
    for _ in range(2):
        cut._step(cut._parts(cut.seen))
    cut.save()
    again = trainer("cut", 8, workers=2)
    assert again.seen == 4
    again.train(progress=False)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_refused_task_is_right_only_without_pictures_to_paint(shards: ShardSet) -> None:
    rng = np.random.default_rng(6)
    state = shards[0].before_state
    task = next(task for task in (drawn_task(state, rng) for _ in range(400)) if not task.feasible)
    assert judge_plan(parse_plan(_answer(state, task)), task.goal, state)


def _answer(state, task) -> str:
    from itk_embodied.training.planner_data import plan_question

    return "".join(text for text, _ in plan_question(state, task).answer)


def test_a_split_that_no_scene_has_is_an_error(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(images: object, texts: list[str]) -> list[str]:
        return ["" for _ in texts]

    assert len(evaluate(nothing, shards, 3, "train")) == 3

    def none(*args: object, **kwargs: object) -> None:
        assert kwargs["combinations"] == "held-out"
        raise SimError("not here")

    monkeypatch.setattr(planner_eval, "sample_task", none)
    with pytest.raises(InputError, match="make more pairs"):
        evaluate(nothing, shards, 3, "combinations")


def test_a_suite_is_asked_about_in_its_own_scenes() -> None:
    """Goals of one step make right plans, a refusal is right where nothing can be done; all else is wrong."""
    goals = {line["text"]: line["goal"] for name in ("single", "impossible") for line in build(name, 3, 3)}
    seen: list[np.ndarray] = []

    def perfect(images: Sequence[np.ndarray], texts: Sequence[str]) -> list[str]:
        seen.extend(images)
        said = [[instruction(Step("place", obj, rel, to)) for rel, obj, to in goals[text]] for text in texts]
        refused = (PlanStep(1, "refuse", None, None, "No."),)
        plans = [tuple(PlanStep(1, "put", one, one) for one in steps) or refused for steps in said]
        return [format_plan(plan, thought="seen") for plan in plans]

    for name in ("single", "impossible"):
        answered = evaluate_suite(perfect, name, 3, 3)
        assert [a.text in goals and a.right for a in answered] == [True] * 3, answered
        assert not any(a.right for a in evaluate_suite(lambda images, texts: ["{}"] * len(texts), name, 2, 3))
    assert len(seen) == 6 and all(image.shape == (256, 256, 3) for image in seen)
    assert len({image.tobytes() for image in seen}) == 6


@pytest.mark.parametrize("stage", ["look", "critic"])
def test_stages_that_always_have_pictures_refuse_a_blind_share(tmp_path: Path, stage: Stage) -> None:
    with pytest.raises(ConfigError, match="only planner and both"):
        train_stage(stage, data=tmp_path, blind_share=0.3)
