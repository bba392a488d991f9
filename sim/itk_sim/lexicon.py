"""Words for the table: nouns, verbs and relations, as patterns (see `itk_sim.patterns`).

Each table has a ``train`` and a ``wording`` part. What is in ``wording`` is used only to measure how well unseen
wording is understood; ``train`` never has it. A choice repeated is likelier. ``wide`` is more of ``train``, from a file
(see `itk_sim.wide`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from itk_sim.wide import widened

Split: TypeAlias = Literal["train", "wide", "wording"]
Patterns: TypeAlias = tuple[str, ...]

# --- nouns: {c} is the colour ---

CUBE: Mapping[Split, Patterns] = widened(
    "CUBE",
    {
        "train": (
            *["the {c} cube"] * 12,
            *["the {c} block"] * 6,
            *["{c} cube", "the {c} one"] * 2,
            "the {c} box",
            "the {c} brick",
            "{c} block",
            "the (small|little|tiny|square|wooden) {c} (cube|block|box)",
            "the {c} (coloured|colored|toy|wooden|plastic) (cube|block)",
            "the (cube|block) that is {c}",
            "the (cube|block) which is {c}",
            "the (coloured|colored) cube that is {c}",
            "that {c} (cube|block|one)",
            "this {c} (cube|block)",
            "my {c} (cube|block)",
            "the {c} (piece|object|toy|thing)",
        ),
        "wording": (
            "the (cube|block) painted {c}",
            "the (cube|block) of {c} colour",
            "the {c} building block",
            "the cube, the {c} one,",
        ),
    },
)
BOWL: Mapping[Split, Patterns] = widened(
    "BOWL",
    {
        "train": (
            *["the {c} bowl"] * 12,
            *["the {c} dish", "{c} bowl"] * 2,
            "the {c} basin",
            "the {c} container",
            "{c} dish",
            "the (small|little|round|big|deep) {c} bowl",
            "the {c} (coloured|colored|round) (bowl|dish)",
            "the (bowl|dish) that is {c}",
            "the (bowl|dish) which is {c}",
            "that {c} (bowl|dish)",
            "my {c} bowl",
        ),
        "wording": ("the bowl painted {c}", "the (bowl|dish) of {c} colour", "the {c} serving bowl"),
    },
)
MAT: Mapping[Split, Patterns] = widened(
    "MAT",
    {
        "train": (
            *["the mat", "the {c} mat"] * 8,
            *["the pad", "the {c} pad", "the placemat", "the {c} placemat", "{c} mat"] * 2,
            "the (small|little|square|flat) [{c}] (mat|pad)",
            "the {c} (coloured|colored) mat",
            "the mat that is {c}",
            "that [{c}] mat",
            "the place mat",
            "the {c} square",
            "the table mat",
        ),
        "wording": ("the [{c}] (mat|pad) lying there", "the mat of {c} colour", "the {c} coaster mat"),
    },
)
DRAWER_NOUN: Mapping[Split, Patterns] = widened(
    "DRAWER_NOUN",
    {
        "train": (
            *["the drawer"] * 12,
            "drawer",
            "the (wooden|brown|little|small) drawer",
            "the drawer of the cabinet",
            "the cabinet drawer",
            "the drawer on the right",
            "that drawer",
            "the cabinet",
        ),
        "wording": ("the drawer unit", "the drawer over there", "the cupboard drawer"),
    },
)
TABLE_NOUN: Mapping[Split, Patterns] = widened(
    "TABLE_NOUN",
    {
        "train": (
            *["the table"] * 10,
            "the (table top|tabletop|table surface)",
            "the (bare|empty|wooden) table",
            "the table itself",
        ),
        "wording": ("the bare tabletop", "the surface of the table"),
    },
)
MATS_GREY = ("grey", "grey", "gray")

# --- verbs ---

_ANY = "put|put|put|put|place|place|place|move|move|set|bring|position|lay"
PUT: Mapping[str, Mapping[Split, str]] = widened(
    "PUT",
    {
        "in": {
            "train": f"({_ANY}|drop|drop|insert|stick|toss|get|throw|carry|lower|slide|shift|load)",
            "wording": "(transfer|deposit|relocate|pop|park|tuck|plonk)",
        },
        "on": {
            "train": f"({_ANY}|drop|rest|leave|stick|get|carry|lower|slide|shift)",
            "wording": "(transfer|deposit|relocate|pop|park|plonk)",
        },
        "stack": {
            "train": f"({_ANY}|stack|stack|stack|stack|stack|pile|balance|rest|drop|lower)",
            "wording": "(deposit|perch|pop|mount|plonk)",
        },
        "beside": {
            "train": f"({_ANY}|slide|shift|carry|push|arrange|leave|drop|get)",
            "wording": "(transfer|relocate|pop|park|deposit|plonk)",
        },
        "table": {
            "train": f"({_ANY}|drop|leave|rest|return|lower|get)",
            "wording": "(transfer|deposit|relocate|pop|park|plonk)",
        },
        "drawer": {
            "train": f"({_ANY}|store|store|stow|stash|drop|hide|insert|stick|get|keep)",
            "wording": "(transfer|deposit|relocate|pop|tuck|plonk)",
        },
    },
)
"""By the kind of place: in a bowl, on the mat, on a cube, in a direction, on the bare table, in the drawer."""
PICK: Mapping[Split, Patterns] = widened(
    "PICK",
    {
        "train": (
            *["pick up {obj}", "take {obj}", "grab {obj}"] * 3,
            "pick {obj} up",
            "lift [up] {obj}",
            "(get|fetch|grasp|find|collect|choose|reach for|go to) {obj}",
            "get hold of {obj}",
            "take hold of {obj}",
        ),
        "wording": ("seize {obj}", "snatch [up] {obj}", "scoop up {obj}", "retrieve {obj}"),
    },
)
REMOVE: Mapping[Split, str] = widened(
    "REMOVE",
    {
        "train": "(take|take|take|remove|remove|get|lift|move|pull|bring|pick)",
        "wording": "(extract|transfer|relocate|retrieve)",
    },
)

# --- where: {dst} is the thing. "motion": put it …; "rest": it should be …; "it": the thing was named ---


def _side(side: str) -> dict[str, dict[Split, str]]:
    fixed = f"(to the {side} of|{side} of|on the {side} [side ]of|to the {side} side of|at the {side} of)"
    where = (
        f"(to the {side} of {{dst}}|to the {side} of {{dst}}|to the {side} of {{dst}}|{side} of {{dst}}"
        f"|{fixed} {{dst}}|{fixed} {{dst}}|just {fixed} {{dst}}|(next to|beside|by) {{dst}}[,] (on|to) (the|its) {side}"
        f"|(next to|beside) {{dst}}, on (the|its) {side} side|at the {side} side of {{dst}}|directly {side} of {{dst}})"
    )
    held = f"(on the {side}-hand side of {{dst}}|immediately {fixed} {{dst}}|off to the {side} of {{dst}})"
    it = f"(to|on|at) (its|the) {side}[ side]|{side} of it|to the {side} of it"
    return {
        "motion": {"train": where, "wording": held},
        "rest": {"train": where, "wording": held},
        "it": {"train": f"({it})", "wording": f"(on its {side}-hand side|immediately {side} of it)"},
    }


_FRONT = (
    "(in front of {dst}|in front of {dst}|in front of {dst}|in front of {dst}|(just|right|directly) in front of {dst}"
    "|on the (near|front) side of {dst}|to the front of {dst}|(nearer|closer) to the camera than {dst})"
)
_BEHIND = (
    "(behind {dst}|behind {dst}|behind {dst}|behind {dst}|(just|right|directly) behind {dst}|in back of {dst}"
    "|on the (far|back) side of {dst}|at the back of {dst}|(farther|further) from the camera than {dst})"
)
WHERE: Mapping[str, Mapping[str, Mapping[Split, str]]] = widened(
    "WHERE",
    {
        "in": {
            "motion": {
                "train": "((in|in|in|into|into|into|inside|inside|inside of|in to) {dst})",
                "wording": "((within|down into|to the inside of) {dst})",
            },
            "rest": {
                "train": "((in|in|in|inside|inside|inside of) {dst})",
                "wording": "((within|at the bottom of) {dst})",
            },
            "it": {"train": "((in|into|inside) it|in|inside|in there)", "wording": "(within it|down into it)"},
        },
        "on": {
            "motion": {
                "train": "((on|on|on|on|onto|onto|on to|on top of|down on|over) {dst})",
                "wording": "((upon|down onto|to the top of) {dst})",
            },
            "rest": {"train": "((on|on|on|on top of) {dst})", "wording": "((upon|in the area of) {dst})"},
            "it": {"train": "((on|onto|on top of) it|on top|on there)", "wording": "(upon it|down onto it)"},
        },
        "stack": {
            "motion": {
                "train": "((on|on|onto|on top of|on top of|on top of|over|on to|above) {dst})",
                "wording": "((upon|atop|to the top of) {dst})",
            },
            "rest": {"train": "((on|on|on top of|on top of|above) {dst})", "wording": "((upon|atop) {dst})"},
            "it": {"train": "((on|onto|on top of) it|on top|on top of that)", "wording": "(upon it|atop it)"},
        },
        "table": {
            "motion": {
                "train": "((on|on|on|onto|down on|back on|back onto|down onto|directly on) {dst})",
                "wording": "((upon|over to) {dst})",
            },
            "rest": {"train": "((on|on|directly on|back on|flat on) {dst})", "wording": "((upon|straight on) {dst})"},
            "it": {"train": "(on it|down on it)", "wording": "(upon it)"},
        },
        "left_of": _side("left"),
        "right_of": _side("right"),
        "in_front_of": {
            "motion": {
                "train": _FRONT,
                "wording": "((straight|somewhere) in front of {dst}|on the camera side of {dst})",
            },
            "rest": {
                "train": _FRONT,
                "wording": "((straight|somewhere) in front of {dst}|on the camera side of {dst})",
            },
            "it": {"train": "(in front [of it]|just in front)", "wording": "(straight in front of it)"},
        },
        "behind": {
            "motion": {"train": _BEHIND, "wording": "(to the rear of {dst}|(straight|somewhere) behind {dst})"},
            "rest": {"train": _BEHIND, "wording": "(to the rear of {dst}|(straight|somewhere) behind {dst})"},
            "it": {
                "train": "(behind it|just behind|right behind it)",
                "wording": "(to the rear of it|straight behind it)",
            },
        },
    },
)
