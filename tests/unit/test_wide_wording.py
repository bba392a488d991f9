"""The wide wording says what the plain one says, and nothing that only the held-out wording says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

import numpy as np
import pytest
from task_scenes import random_state

from itk_sim import away_phrases, lexicon, people, phrases, strangers, task_phrases, wording
from itk_sim.errors import SimError
from itk_sim.patterns import expand
from itk_sim.people import people_task, utterances
from itk_sim.planning import plan_achieves
from itk_sim.tasks import FAMILIES, sample_task

_COMMON = """any been better chance done dropping enough feel finish going good great having here home instead kind
leaving long lot love lovely meant mind new nice once only placing rather ready seen setting something somewhere soon
stand target waiting way when whether whose wish wishes words"""
"""Words of held-out patterns that nobody can do without; what is made of them is not."""
FREE_SHARE = 0.8


class Anything(dict[str, str]):
    """Slots by any name."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> str:
        return "SLOT"


def _tables(value: object) -> Iterator[Mapping[str, str | tuple[str, ...]]]:
    if isinstance(value, dict) and "train" in value:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tables(inner)


TABLES = [
    table
    for module in (lexicon, phrases, task_phrases, away_phrases)
    for name, value in vars(module).items()
    if name.isupper()
    for table in _tables(value)
]

REFUSED = [table for name, value in vars(strangers).items() if name.isupper() for table in _tables(value)]


def _forms(patterns: str | Iterable[str], times: int) -> set[str]:
    rng = np.random.default_rng(0)
    if isinstance(patterns, str):  # one pattern of many choices
        patterns, times = [patterns], 30 * times
    return {expand(pattern.lstrip("~"), rng, Anything(any="")) for pattern in patterns for _ in range(times)}


def _words(text: str) -> list[str]:
    found = re.findall(r"[a-zà-ÿ]+(?:'[a-z]+)?", re.sub(r"\{\w+\}", "SLOT", text).lower())
    return ["#", *found, "#"]


def _threes(text: str) -> set[tuple[str, ...]]:
    """Three words in a row that say something: not only slots and a sentence's ends."""
    words = _words(text)
    rows = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
    return {row for row in rows if sum(w not in ("slot", "#") for w in row) > (1 if "#" in (row[0], row[2]) else 0)}


def _held_out() -> tuple[set[str], set[tuple[str, ...]]]:
    """Words and threes that the grammar has in its held-out part alone, and words for what is refused, likewise."""
    train = {form for table in TABLES for form in _forms(table["train"], 40)}
    train |= _forms((*sum(away_phrases.OFF_WORDS.values(), ()), *task_phrases.CLEAR_INTO, task_phrases.WARM), 40)
    held = {form for table in TABLES for form in _forms(table["wording"], 60)} | set(wording.STATEMENT_OPENERS)
    # Apart: what only refused tasks say ("park the car") makes no verb known.
    no, never = ({f for t in REFUSED for f in _forms(t[part], 20)} for part in ("train", "wording"))
    known = _all_words(train)
    words = (_all_words(held) - known) | (_all_words(never) - known - _all_words(no))
    threes = {t for form in held for t in _threes(form)} - {t for form in train for t in _threes(form)}
    return words - set(_COMMON.split()), threes


def _all_words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _words(text)}


def test_what_is_learnt_from_has_nothing_that_only_held_out_wording_has() -> None:
    words, threes = _held_out()
    assert {"interchange", "crown", "erect"} <= words and len(threes) > 200
    wide = {form for table in (*TABLES, *REFUSED) for form in _forms(table.get("wide", ()), 20)}
    said = {text for texts in utterances("train").values() for text in texts}
    assert len(wide) > 2000 and len(said) > 1000
    for text in wide | said:
        assert not words & set(_words(text)), text
        assert not threes & _threes(text), text


def test_every_pattern_of_the_file_belongs_to_a_table() -> None:
    def count(part: Any) -> int:
        return len(part) if isinstance(part, list) else sum(map(count, part.values()))

    text = resources.files("itk_sim").joinpath("wide_wording.toml").read_text(encoding="utf-8")
    assert sum(len(table.get("wide", ())) for table in (*TABLES, *REFUSED)) == count(tomllib.loads(text)) > 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_wide_texts_say_more_about_the_same_tasks(family: str) -> None:
    texts: dict[str, set[str]] = {"train": set(), "wide": set()}
    for seed in range(40):
        state = random_state(seed, drawer=True, min_bowls=2, mat=True)
        for split, said in texts.items():
            try:
                task = sample_task(state, np.random.default_rng(seed), family, split)  # type: ignore[arg-type]
            except SimError:
                continue
            said.add(task.text)
            assert not set("{}|[]") & set(task.text)
            assert not task.feasible or plan_achieves(task.steps, state, task.goal)
    assert len(texts["wide"]) >= FREE_SHARE * len(texts["train"]) > 0
    assert texts["wide"] != texts["train"]


@pytest.mark.parametrize("name", ["THINGS", "PLACES_IN", "PLACES_ON", "DEEDS", "ITSELF", "NONSENSE"])
def test_what_is_refused_has_wide_words_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(getattr(strangers, name), "wide", ("zorgle",))

    def said(split: wording.Split) -> str:
        drawn = (
            sample_task(random_state(seed), np.random.default_rng(seed), "impossible", split) for seed in range(400)
        )
        return " ".join(task.text.lower() for task in drawn)

    assert "zorgle" in said("wide")
    assert "zorgle" not in said("train") + said("wording")


def test_a_split_that_is_none_is_refused() -> None:
    with pytest.raises(SimError, match="wide"):
        sample_task(random_state(0), np.random.default_rng(0), split="broad")  # type: ignore[arg-type]


@pytest.mark.parametrize("book", ["examination", "train"])
def test_people_say_tasks_of_the_scene(book: people.Book) -> None:
    said = utterances(book)
    families = set()
    for seed in range(250):
        state = random_state(seed, drawer=True, min_bowls=1, mat=True)
        task = people_task(state, np.random.default_rng(seed), book)
        families.add(task.family)
        assert task.feasible and plan_achieves(task.steps, state, task.goal)
        assert not set("{}") & set(task.text)
        named = {name.split()[0] for intent in task.intents for name in intent[1:]} - {"table", "drawer", "grey"}
        whole = task.family.startswith(("every", "clear"))
        assert whole or book == "train" or all(colour in task.text.lower() for colour in named), task.text
    assert families == set(said)


def test_a_family_can_be_asked_for() -> None:
    state = random_state(0, drawer=True, min_bowls=1, mat=True)
    assert people_task(state, np.random.default_rng(0), family="put_in").family == "put_in"
    with pytest.raises(SimError, match="allowed: behind"):
        people_task(state, np.random.default_rng(0), family="juggle")


def test_every_utterance_can_be_filled() -> None:
    slots = {"tower": "abc", "swap": "ab", "chain_in_stack": ("obj", "dst", "a", "b"), "unstack": ("obj", "src")}
    for book in people.FILES:
        for family, texts in utterances(book).items():
            some = slots.get(family, ("obj", "dst"))
            allowed = {*some, *(f"{slot}_c" for slot in some)}
            assert len(set(texts)) == len(texts) >= 30
            for text in texts:
                assert set(re.findall(r"\{(\w+)\}", text)) <= allowed, text


def test_nothing_of_the_examination_is_learnt() -> None:
    one, other = (
        {" ".join(_words(text)) for texts in utterances(book).values() for text in texts} for book in people.FILES
    )
    assert one and other and not one & other


def test_a_scene_without_any_such_task_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: object, **kwargs: object) -> None:
        raise SimError("no such family here")

    monkeypatch.setattr(people, "sample_task", none)
    with pytest.raises(SimError, match="draw another scene"):
        people_task(random_state(0), np.random.default_rng(0))
