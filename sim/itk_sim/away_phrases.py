"""Clauses about taking things off and out, uncovering, emptying, and using the drawer; like `itk_sim.phrases`.

Slots besides those of `itk_sim.phrases`: {src} what a cube is on or in; {off} away from it, {still} there; {back} onto
the table; {covered} a cube with something on it; {do} an imperative.
"""

from __future__ import annotations

from collections.abc import Mapping

from itk_sim.lexicon import Patterns, Split
from itk_sim.phrases import Phrases
from itk_sim.wide import widened

OFF: Phrases = widened(
    "OFF",
    {
        "do": {
            "train": (
                *["{remove} {obj} {off} {src}"] * 8,
                *["{remove} {obj} {off} {src} and (put|place|set|lay) it {back}"] * 4,
                "{remove} {obj} {off} {src}, then (put|place|set|lay) it {back}",
                "(pick up|lift|grab) {obj} {off} {src} [and (put|place|set) it {back}]",
                "(make sure|see to it) [that] {obj} is (not|no longer) {still} {src}",
                "(put|place|set|move) {obj} [from {src}] {back}",
                "(put|place|set|move) {obj}, which is {still} {src}, {back}",
            ),
            "wording": ("rid {src} of {obj}", "part {obj} from {src}", "~do not leave {obj} {still} {src}"),
        },
        "say": {
            "train": (
                "{obj} (should|must) (not|no longer) be {still} {src}",
                "{obj} (should|must|has to) (come|be taken|be removed|go) {off} {src}",
                "I (want|need|would like) {obj} {off} {src}",
            ),
            "wording": ("{obj} has no business {still} {src}",),
        },
    },
)
OFF_CUBE: Phrases = widened(
    "OFF_CUBE",
    {
        "do": {
            "train": (
                "unstack {obj}",
                "unstack {obj} [from {src}] and (put|place) it {back}",
                "take {obj} down [from {src}]",
            ),
            "wording": ("topple nothing but get {obj} down",),
        },
    },
)
UNCOVER: Phrases = widened("UNCOVER", {
    "do": {
        "train": (
            "(uncover|free|clear) {src}",
            "take (everything|whatever is|what is|the cubes) (on|on top of) {src} (away|off|down)",
            "(remove|clear) (whatever is|what is|everything) on [top of] {src}", "clear the top of {src}",
        ),
        "wording": ("relieve {src} of its load",),
    },
    "say": {"train": ("[there should be] nothing on [top of] {src}",
    "nothing should be on [top of] {src}"), "wording": ()},
})  # fmt: skip
EMPTY: Phrases = widened("EMPTY", {
    "do": {
        "train": (
            "empty {src}", "empty [out] {src}", "take (everything|all cubes|all the cubes|the cubes) {off} {src}",
            "clear [out] {src}",
            "remove (everything|all cubes|all the cubes|the cubes) {off} {src}", "make {src} empty",
            "take (everything|all the cubes) {off} {src} and put (it|them) {back}",
        ),
        "wording": ("unload {src}", "leave nothing {still} {src}"),
    },
    "say": {"train": ("{src} (should|must|needs to) be (empty|emptied)", "I want {src} [to be] empty"), "wording": ()},
})  # fmt: skip
OFF_WORDS: Mapping[str, tuple[str, str]] = {
    "stack": ("(off|off|off of|from|from the top of|down from)", "(on|on top of)"),
    "on": ("(off|off|off of|from)", "on"),
    "in": ("(out of|out of|from|from inside)", "(in|inside)"),
    "drawer": ("(out of|out of|from|from inside)", "(in|inside)"),
}
"""By the kind of place: away from it, and still there."""
IN_DRAWER: Mapping[str, Phrases] = widened(
    "IN_DRAWER",
    {
        "open put close": {
            "do": {
                "train": (
                    *["open {dst}, {put} {obj} {it}[,] and [then] (close|shut) it [again]"] * 3,
                    "open {dst}, {put} {obj} {it}, then (close|shut) (it|the drawer)",
                    "open {dst} and {put} {obj} {it}, then (close|shut) it",
                    "pull {dst} open, {put} {obj} {it} and push it shut",
                    "open {dst}. {put} {obj} {it}. (Close|Shut) it [again].",
                ),
                "wording": ("with {dst} opened, {put} {obj} {it}; it must be shut in the end",),
            },
        },
        "open put": {
            "do": {
                "train": (
                    *["open {dst} and {put} {obj} {it}", "open {dst}, then {put} {obj} {it}"] * 2,
                    "pull {dst} open and {put} {obj} {it}",
                    "open {dst}, {put} {obj} {it} and leave it open",
                ),
                "wording": ("with {dst} opened, {put} {obj} {it}, leaving it that way",),
            },
        },
        "put close": {
            "do": {
                "train": (
                    "{put} {obj} {where} and [then] (close|shut) it [again]",
                    "{put} {obj} {where}, then (close|shut) the drawer",
                    "{put} {obj} {where} and push it shut",
                ),
                "wording": ("{put} {obj} {where}, shutting it in",),
            },
        },
    },
)
TAKE_OUT: Phrases = widened(
    "TAKE_OUT",
    {
        "do": {
            "train": (
                *["{remove} {obj} (out of|out of|from|from inside) {src}"] * 4,
                *["{remove} {obj} (out of|from) {src} and (put|place|set|lay|drop) it {where}"] * 4,
                "{remove} {obj} (out of|from) {src}, then (put|place) it {where}",
                "(put|place|move|bring) {obj} from {src} {where}",
                "(put|place|move) {obj}, which is in {src}, {where}",
                "get {obj} out [of {src}] and (put|place) it {where}",
            ),
            "wording": ("free {obj} from {src} and place it {where}", "rescue {obj} out of {src} and set it {where}"),
        },
        "say": {
            "train": (
                "I (want|need|would like) {obj} out of {src} and {at}",
                "{obj} should come out of {src} and go {at}",
            ),
            "wording": ("{obj} has been in {src} long enough: it goes {where}",),
        },
    },
)
FREE_FIRST: Mapping[Split, Patterns] = widened("FREE_FIRST", {
    "train": (
        "first (clear|free|uncover) {covered}, then {do}", "{do}, but first (take away|remove) what is on {covered}",
        "(move|take) (away what is on {covered}|what is on {covered} away) and {do}", "free {covered} and {do}",
    ),
    "wording": ("{covered} carries something: see to that, and {do}",),
})  # fmt: skip
