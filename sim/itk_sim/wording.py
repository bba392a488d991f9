"""Free wording: clauses about the table, and sentences made of them, as a person might write them.

``Wording(rng, "train")`` is the wording that models learn from, ``"wide"`` more of it (see `itk_sim.wide`).
``Wording(rng, "wording")`` says the same things with at least one noun, verb, relation, clause or frame that neither
ever uses: what it measures is unseen wording, not unseen scenes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from itk_sim import lexicon, phrases
from itk_sim.errors import SimError
from itk_sim.lexicon import Split
from itk_sim.patterns import expand
from itk_sim.symbols import DRAWER, TABLE, is_bowl, is_cube, is_mat

__all__ = ["Clause", "Mode", "Split", "Wording"]

Mode: TypeAlias = Literal["do", "say"]
_NEW_WORD, _NEW_PATTERN = 0.15, 0.3
"""How often the wording split takes an unseen word, clause or frame where there is a choice."""
_WIDE, _SIDE = 0.5, 0.5
"""How often the wide wording takes what the plain one has not, and for a side a clause that only sides have."""
_REFERENCE = 0.35
"""How often something is called by where it is ("the cube on the mat"), where that is possible."""
_QUESTION = re.compile(r"\?$")


@dataclass(frozen=True)
class Clause:
    """``do``: an imperative, to be framed ("please …"); ``say``: a statement of what should be so."""

    text: str
    mode: Mode = "do"


class Wording:
    """Says things in random words.

    Args:
        rng: all choices come from it.
        split: "train", "wide" for more of it, or "wording" for held-out wording.
        references: for some names, other ways to refer to them in this scene: ``{"red cube": ("the leftmost cube",)}``.
        mode: whether clauses are imperatives or statements; None: as it comes, imperatives four times in five.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        split: Split = "train",
        references: Mapping[str, Sequence[str]] | None = None,
        mode: Mode | None = None,
    ) -> None:
        if split not in ("train", "wide", "wording"):
            raise SimError(f"split {split!r} was given; allowed: train, wide, wording")
        self.rng = rng
        self.split: Split = split
        self.references = references or {}
        self.mode: Mode = mode or ("say" if rng.random() < 0.2 else "do")
        self.novel = False
        """Whether something that train never says has been said."""

    # --- choices ---

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def pick(self, table: Mapping[Split, Sequence[str] | str], share: float = _NEW_WORD) -> str:
        """A pattern of train, or (in the wording split, sometimes) a held-out one, or (in the wide one) a wide one."""
        held = self.split == "wording" and bool(table["wording"]) and self.chance(share)
        self.novel |= held
        wide = self.split == "wide" and bool(table.get("wide")) and self.chance(_WIDE)
        options = table["wording" if held else "wide" if wide else "train"]
        return options if isinstance(options, str) else self.one(options)

    def word(self, table: Mapping[Split, Sequence[str]]) -> str:
        """A word of the split's own list; in the wide one, of train's or of its own."""
        if self.split == "wide":
            return self.pick(table)
        return self.one(table[self.split])

    def expand(self, pattern: str, **slots: str | Callable[[], str]) -> str:
        return expand(pattern, self.rng, slots)

    # --- nouns ---

    def noun(self, name: str) -> str:
        """A thing by a name of its own. What is not of this table is called by its plain name."""
        if name in self.references and self.chance(_REFERENCE):
            return self.expand(self.one(self.references[name]))
        colour = name.split()[0]
        if name == DRAWER:
            return self.expand(self.pick(lexicon.DRAWER_NOUN))
        if name == TABLE:
            return self.expand(self.pick(lexicon.TABLE_NOUN))
        if is_mat(name):
            return self.expand(self.pick(lexicon.MAT), c=self.one(lexicon.MATS_GREY))
        if is_cube(name) or name.endswith(" cube"):
            return self.expand(self.pick(lexicon.CUBE), c=colour)
        if is_bowl(name) or name.endswith(" bowl"):
            return self.expand(self.pick(lexicon.BOWL), c=colour)
        return f"the {name}"

    # --- clauses ---

    def clause(self, table: phrases.Phrases, **slots: str | Callable[[], str]) -> Clause:
        """A clause of the current mode where the table has one."""
        mode: Mode = self.mode if self.mode in table else "do"
        pattern = self.pick(table[mode], _NEW_PATTERN)
        if pattern.startswith("~"):
            pattern, mode = pattern[1:], "say"
        return Clause(self.expand(pattern, **slots), mode)

    def place_clause(self, obj: str, relation: str, target: str) -> Clause:
        """Put a cube in / on / left_of / … a target. Names that are not of this table are taken as they come."""
        kind = place_kind(relation, target)
        return self.clause(self._place_phrases(kind), **self.place_slots(obj, relation, target))

    def _place_phrases(self, kind: str) -> phrases.Phrases:
        if self.split == "wide" and kind in phrases.SIDE_PLACE and self.chance(_SIDE):
            return phrases.SIDE_PLACE[kind]
        special = kind in phrases.EXTRA_PLACE and self.chance(0.4 if kind == "stack" else 0.1)
        return phrases.EXTRA_PLACE[kind] if special else phrases.PLACE

    def place_slots(self, obj: str, relation: str, target: str) -> dict[str, str | Callable[[], str]]:
        """Slots for patterns about one placement: {obj} {dst} {put} {pick} {where} {at} {it}."""
        kind = place_kind(relation, target)

        def where(form: str) -> Callable[[], str]:
            return lambda: self._relation(form, relation, target, dst)

        # Named once: "the mat … it" must be about one thing said one way.
        item, dst = self.noun(obj), self.noun(target)
        return {
            "obj": item,
            "dst": dst,
            "put": lambda: self.expand(self.pick(lexicon.PUT[kind])),
            "pick": lambda: self.expand(self.pick(lexicon.PICK), obj=item),
            "where": where("motion"),
            "at": where("rest"),
            "it": where("it"),
        }

    def where(self, relation: str, target: str) -> str:
        """Motion to a place: "into the teal bowl", "back on the table"."""
        return self._relation("motion", relation, target, self.noun(target))

    def _relation(self, form: str, relation: str, target: str, dst: str) -> str:
        kind = place_kind(relation, target)
        words = lexicon.WHERE[{"drawer": "in", "beside": relation}.get(kind, kind)]
        return self.expand(self.pick(words[form]), dst=dst)

    def remove(self) -> str:
        """A verb for taking something away."""
        return self.expand(self.pick(lexicon.REMOVE))

    def cell_clause(self, obj: str, cell: str) -> Clause:
        """Put a cube at a cell of the picture, given as ``<x12> <y07>``."""
        pattern = self.pick(phrases.CELL, _NEW_PATTERN)
        imperative = "{put}" in pattern or "{pick}" in pattern or "make sure" in pattern
        slots = self.place_slots(obj, "on", TABLE)
        return Clause(self.expand(pattern, cell=cell, **slots), "do" if imperative else "say")

    def drawer_clause(self, verb: str) -> Clause:
        """Open or close the drawer."""
        return self.clause(phrases.DRAWER[verb], dst=self.noun(DRAWER))

    # --- sentences ---

    def sentence(self, clauses: Sequence[Clause | str]) -> str:
        """Clauses said in turn, with politeness, case and punctuation. Strings are taken as imperatives."""
        parts = [Clause(part) if isinstance(part, str) else part for part in clauses]
        if not parts:
            raise SimError("a sentence of no clauses was asked for; give at least one")
        text, framed = self._joined(parts), all(part.mode == "do" for part in parts)
        must = self.split == "wording" and not self.novel
        if framed and not (". " in text or "\n" in text):
            text = self.expand(self.pick(phrases.FRAMES, 1.0 if must else 0.4), do=text)
        elif must:
            text = f"{self.one(STATEMENT_OPENERS)} {text}"
        elif self.chance(0.1) and not _QUESTION.search(text):
            text = self.one((f"{text}, please", f"{text}, thanks", f"ok, {text}"))
        return self._finish(text)

    def _joined(self, parts: Sequence[Clause]) -> str:
        texts = [part.text.rstrip("?") if len(parts) > 1 else part.text for part in parts]
        imperative = all(part.mode == "do" for part in parts)
        if len(texts) == 2 and imperative and self.chance(0.1):
            return self.expand(self.pick(phrases.TURNED, _NEW_PATTERN), a=texts[0], b=texts[1])
        if len(texts) > 1 and self.chance(0.06):
            mark = self.one(("{n}. ", "{n}) ", "({n}) ", "step {n}: "))
            glue = self.one((" ", "; ", ", ", "\n"))
            return glue.join(mark.format(n=n) + text for n, text in enumerate(texts, start=1))
        first = "first " if len(texts) > 1 and imperative and self.chance(0.12) else ""
        text = first + texts[0]
        for following in texts[1:]:
            # Not expanded as a pattern: its spaces are part of it.
            text += self.pick(phrases.JOINS, 0.25) + following
        return text

    def _finish(self, text: str) -> str:
        question = text.endswith("?") or re.match(r"(can|could|will|would|any chance) ", text)
        text = text.rstrip("?.! ")
        text += "?" if question and self.chance(0.85) else self.one((".", ".", ".", "!", "", "", "", ""))
        style = self.rng.random()
        if style < 0.55:
            return re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)
        if style < 0.57:
            return text.upper()
        return text.lower() if style < 0.9 else text


STATEMENT_OPENERS = (
    "to be precise,",
    "in other words,",
    "as discussed,",
    "here is what I have in mind:",
    "my wish for you:",
    "the desired outcome:",
)
"""Before a statement, in the wording split only."""


def place_kind(relation: str, target: str) -> str:
    """Which verbs and relation words a placement takes: in, drawer, on, table, stack or beside."""
    if relation == "in":
        return "drawer" if target == DRAWER else "in"
    if relation == "on":
        return "table" if target == TABLE else "stack" if target.endswith("cube") else "on"
    return "beside"
