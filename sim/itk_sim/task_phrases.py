"""Clauses of tasks about several placements, as patterns (see `itk_sim.patterns`); like `itk_sim.phrases`.

Slots besides those of `itk_sim.phrases`: {all} every cube; {a} {b} {c} cubes; {one} {two} groups of cubes; {in_one}
{in_two} where they go.
"""

from __future__ import annotations

from collections.abc import Mapping

from itk_sim.lexicon import Patterns, Split
from itk_sim.phrases import Phrases
from itk_sim.wide import widened

ALL_CUBES: Mapping[Split, Patterns] = widened(
    "ALL_CUBES",
    {
        "train": (
            *[
                "(every|each) (cube|block)",
                "all [of] the (cubes|blocks)",
                "all (cubes|blocks)",
                "every single (cube|block)",
            ]
            * 3,
            *[
                "the (cubes|blocks)",
                "each of the (cubes|blocks)",
                "every one of the (cubes|blocks)",
                "all (coloured|colored) cubes",
            ],
            *[
                "all the (cubes|blocks) [you see|on the table|there are]",
                "every (cube|block) [you see|on the table|there is]",
            ],
        ),
        "wording": (
            "the whole lot of (cubes|blocks)",
            "any (cube|block) you can find",
            "one (cube|block) after the other, all of them,",
        ),
    },
)
EVERY: Phrases = widened(
    "EVERY",
    {
        "do": {
            "train": (
                *["{put} {all} {where}"] * 8,
                *["(collect|gather|assemble) {all} {at}", "{where}[,] {put} {all}"],
                *["get {all} {where}", "(pick up|take|grab) {all} and {put} them {where}"] * 2,
                "(make sure|see to it) [that] {all} (end up|go|get placed) {at}",
                "go through {all} and {put} them {where}",
                "{put} {all} {where}, one (by one|after another|at a time)",
            ),
            "wording": ("round up {all} and {put} them {where}", "let there be no cube left that is not {at}"),
        },
        "say": {
            "train": (
                *["{all} (should|must|have to|need to|ought to) (go|be|end up|be put|be placed) {at}"] * 2,
                "I (want|need|would like|'d like) {all} [to be|to go|placed|put] {at}",
                "{all} {at}",
                "(can|could) {all} (go|be put|be placed) {where}?",
            ),
            "wording": ("I'd love to find {all} {at}", "{all} would look (good|better) {at}"),
        },
    },
)
EXCEPT: Mapping[Split, Patterns] = widened(
    "EXCEPT",
    {
        "train": (
            "{all} (but|except|except for|apart from|other than|besides) {obj}",
            "all the (other cubes but|cubes without) {obj}",
        ),
        "wording": ("{all} save {obj}", "{all}, {obj} excluded,"),
    },
)
CLEAR: Phrases = widened(
    "CLEAR",
    {
        "do": {
            "train": (
                *[
                    "(clear|clean|tidy) the table",
                    "(clear|clean|tidy) up the table",
                    "clear off the table",
                    "clear the table top",
                ]
                * 2,
                *[
                    "(clear|get|take|remove) everything (off|from) the table",
                    "put everything away",
                    "tidy up",
                    "clean up",
                    "clear up",
                ],
                *[
                    "put all [of] the (cubes|blocks) away",
                    "put away (all the cubes|the cubes|every cube)",
                    "clear the cubes away",
                ],
                "(remove|clear|get|take) all [the] (cubes|blocks) (from|off) the table",
                "make the table (tidy|clean|empty)",
                "(clear|clean) the (whole|entire) table",
                "make sure [that] (nothing|no cube|no block) is left on the table",
                "make sure the table is (empty|clear|clean|tidy)",
            ),
            "wording": (
                "rid the table of [its] cubes",
                "leave no cube lying about",
                "have the table cleared",
                "do the tidying up",
            ),
        },
        "say": {
            "train": (
                "the table (should|must|needs to|has to) be (cleared|clean|empty|tidy|tidied up)",
                "I (want|need|would like) the table [to be] (clear|cleared|clean|empty|tidy)",
                "no (cube|block) should be left on the table",
                "there should be no cubes on the table",
            ),
            "wording": ("I'd love a bare table", "not one cube may remain on the table"),
        },
    },
)
CLEAR_INTO = (
    "{do} (into|in) {dst}", "{do} by putting {all} {where}", "{do}: {put} {all} {where}", "{do}, using {dst}",
    "{do}: {all} {at}",
    "{do} and put everything {where}",
)  # fmt: skip
SORT: Phrases = widened(
    "SORT",
    {
        "do": {
            "train": (
                *["{put} {one} {in_one} and {two} {in_two}"] * 5,
                *["sort the (cubes|blocks) [by (colour|color)]: {one} {in_one}[,] [and] {two} {in_two}"] * 2,
                *[
                    "sort {one} {in_one} and {two} {in_two}",
                    "sort the (cubes|blocks) so that {one} are {in_one} and {two} {in_two}",
                ],
                "(separate|split|group|organise|organize) the (cubes|blocks): {one} go {in_one}, {two} {in_two}",
                "{put} {one} {in_one}, [and] [then] {put} {two} {in_two}",
                "sort by (colour|color), {one} {in_one}, {two} {in_two}",
            ),
            "wording": (
                "divide up the (cubes|blocks): {in_one} for {one}, {in_two} for {two}",
                "keep {one} apart from {two}: the former {in_one}, the latter {in_two}",
            ),
        },
        "say": {
            "train": (
                "{one} (go|belong|should be|should go|must go) {in_one}[,] [and] {two} {in_two}",
                "{in_one} (go|belong) {one}, {in_two} (go|belong) {two}",
                "I (want|need|would like) {one} {in_one} and {two} {in_two}",
                "{one} {in_one}, {two} {in_two}",
            ),
            "wording": ("I'd love to have {one} {in_one} with {two} {in_two}",),
        },
    },
)
WARM = (
    "the (warm (cubes|blocks|ones)|warm( |-)(coloured|colored) (cubes|blocks)|(cubes|blocks) in warm (colours|colors))"
)
COLD = WARM.replace("warm", "(cold|cool)")
SWAP: Phrases = widened(
    "SWAP",
    {
        "do": {
            "train": (
                *["(swap|exchange|switch) {a} and {b}", "(swap|exchange|switch) {a} with {b}"] * 4,
                *["(swap|exchange|switch) the (places|positions|locations) of {a} and {b}", "swap {a} for {b}"] * 2,
                "(make|let|have) {a} and {b} (swap|trade|change|exchange|switch) places",
                "swap around {a} and {b}",
                "put {a} where {b} is and {b} where {a} is",
                "move {a} to where {b} is and {b} to where {a} (is|was)",
                "swap the two cubes: {a} and {b}",
            ),
            "wording": (
                "interchange {a} and {b}",
                "reverse the positions of {a} and {b}",
                "put {a} and {b} the other way round",
            ),
        },
        "say": {
            "train": (
                "{a} and {b} (should|must) (swap|trade|change|exchange|switch) places",
                "I (want|need|would like) {a} and {b} (swapped|exchanged|switched)",
                "{a} should be where {b} is, and {b} where {a} is",
            ),
            "wording": ("{a} and {b} have each other's place: set that right",),
        },
    },
)
TOWER: Phrases = widened(
    "TOWER",
    {
        "do": {
            "train": (
                *["stack {b} on [top of] {c} and {a} on [top of] {b}"] * 3,
                *["(put|place|stack) {b} on [top of] {c}, then (put|place|stack) {a} on [top of] {b}"] * 3,
                *["(build|make|create) a (tower|stack|pile) with {c} at the bottom, {b} in the middle and {a} on top"]
                * 3,
                *["(build|make|create) a (tower|stack|pile): {a} on {b} on {c}"] * 2,
                "(build|make) a (tower|stack) of {a} on [top of] {b} on [top of] {c}",
                "(build|make) a [three (cube|block)] tower, from (bottom to top|the bottom up): {c}, {b}, {a}",
                "(build|make) a [three (cube|block)] tower, from (top to bottom|the top down): {a}, {b}, {c}",
                "stack {a} on {b} on {c}",
                "stack (three|3) (cubes|blocks): {c} at the bottom, then {b}, then {a} [on top]",
                "pile {b} on {c} and {a} on [top of] (that|it)",
                "put {b} on {c} and then {a} on top",
                "(build|make) a tower with {a} on top of {b} and {b} on top of {c}",
                "start with {c}, put {b} on it and {a} on top",
            ),
            "wording": (
                "erect a tower whose floors are, going up, {c}, {b} and {a}",
                "layer {b} over {c} and {a} over {b}",
                "have {c} carry {b} and {b} carry {a}",
            ),
        },
        "say": {
            "train": (
                "I (want|need|would like) a (tower|stack) [of three]: {a} on {b} on {c}",
                "I (want|need|would like) a tower with {c} at the bottom, {b} in the middle and {a} (on|at the) top",
                "{c} at the bottom, {b} in the middle, {a} on top",
                "{a} (goes|should be) on {b} and {b} on {c}",
                "{a} on {b}, {b} on {c}",
            ),
            "wording": ("picture a tower that ends in {a}, over {b}, with {c} as its foundation",),
        },
    },
)
