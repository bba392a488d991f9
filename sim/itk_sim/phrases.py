"""Clauses and sentence frames, as patterns (see `itk_sim.patterns`), for ``train`` and for held-out ``wording``.

``do`` clauses are imperatives ("put the red cube in the bowl"); ``say`` clauses state what should be so.
A "do" pattern that begins with ~ takes no frame in front of it.
Slots: {obj} {dst} {src} things; {put} {pick} {remove} verbs; {where} motion to dst, {at} rest there, {it} there, dst
being named already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from itk_sim.lexicon import Patterns, Split
from itk_sim.symbols import DIRECTIONS
from itk_sim.wide import widened

Phrases: TypeAlias = Mapping[str, Mapping[Split, Patterns]]
"""By "do" and "say"; "say" may be missing."""

PLACE: Phrases = widened(
    "PLACE",
    {
        "do": {
            "train": (
                *["{put} {obj} {where}"] * 18,
                *["{pick} and {put} it {where}"] * 6,
                *["{pick}[,] [and] then {put} it {where}"] * 2,
                *["get {obj} {where}", "~{where}[,] {put} {obj}", "{put} {where} {obj}"],
                "(make sure|see to it|see|check|be sure) [that] {obj} (is|ends up|goes|gets placed|lands|sits) {at}",
                "(move|shift|bring|arrange) {obj} so [that] it (is|sits|lies|stands|ends up|comes to rest) {at}",
                "(make|let) {obj} (go|end up|sit|be) {at}",
                "use (the|your) (arm|gripper|robot arm|hand) to {put} {obj} {where}",
                "~with (the|your) (arm|gripper|hand), {put} {obj} {where}",
                "(go to|look at|find|look for|locate) {dst} and {put} {obj} {it}",
                "{pick}, (carry|move|bring|take) it [over] to {dst}[,] and {put} it {it}",
                "have {obj} (placed|put|moved) {where}",
                "{pick} and {put} it down {where}",
                "move {obj} over (and|to) {put} it {where}",
            ),
            "wording": (
                "{pick} before (putting|placing|setting|dropping) it {where}",
                "find a (home|place) for {obj} {at}",
                "have {obj} wind up {at}",
                "(ensure|guarantee) [that] {obj} winds up {at}",
                "~change where {obj} is: it should be {at}",
                "~do not leave {obj} where it is but {put} it {where}",
            ),
        },
        "say": {
            "train": (
                *["{obj} (goes|belongs) {at}"] * 3,
                *["{obj} (should|must|needs to|has to|ought to|can) (go|be|end up|be put|be placed|be moved|sit) {at}"]
                * 4,
                *["I (want|need|would like|'d like) {obj} [to be|to go|placed|put] {at}"] * 4,
                *["{obj} {at}"] * 3,
                "{obj} {where}",
                "{obj} goes {where}",
                "we (want|need) {obj} [to be] {at}",
                "{at} (goes|belongs) {obj}",
                "{at} is where {obj} (goes|belongs|should be|should go|has to be|must be)",
                "(there should be|I want to see|I would like to see|I'd like to see) {obj} {at}",
                "the (right|best|correct|proper) (place|spot) for {obj} is {at}",
                "{obj}: {at}",
                "(can|could) {obj} (go|be put|be placed|be moved) {where}?",
                "(can|could|may) (I|we) (have|get) {obj} {at}?",
                "how about {obj} {at}",
                "(what I want is|the goal is|the aim is) {obj} {at}",
                "(the result|the end|in the end[,] it) should be {obj} {at}",
            ),
            "wording": (
                "I'd love [for] {obj} to (be|sit) {at}",
                "the new home of {obj} is {at}",
                "{obj} would look (good|better|nice) {at}",
                "instead of where it is now, {obj} (should|ought to) be {at}",
                "nothing but {obj} has to move: it goes {where}",
                "by the time you are done {obj} should be {at}",
                "{obj} has its place {at}",
            ),
        },
    },
)
EXTRA_PLACE: Mapping[str, Phrases] = widened(
    "EXTRA_PLACE",
    {
        "in": {
            "do": {
                "train": ("(fill|load) {dst} with {obj}", "let {dst} (hold|contain) {obj}", "add {obj} to {dst}"),
                "wording": (),
            },
            "say": {
                "train": (
                    "{dst} (should|must|needs to) (hold|contain|have) {obj}",
                    "I want {dst} to (hold|contain) {obj}",
                ),
                "wording": ("{dst} is (waiting|meant) for {obj}",),
            },
        },
        "stack": {
            "do": {
                "train": (
                    "(make|build|create|form) a (stack|pile|tower) with {obj} on [top of] {dst}",
                    "(make|build) a (stack|tower|pile) by putting {obj} on [top of] {dst}",
                    "(make|build) a (stack|tower|pile): {obj} on [top of] {dst}",
                    "(cover|top) {dst} with {obj}",
                    "use {dst} as [a|the] base [and] {put} {obj} on [top of] it",
                    "stack {obj} on {dst}",
                    "stack {obj} on top of {dst}",
                    "pile {obj} on {dst}",
                ),
                "wording": ("crown {dst} with {obj}", "have {dst} carry {obj}"),
            },
            "say": {
                "train": (
                    "{dst} (should|must) be (under|below|underneath|beneath) {obj}",
                    "{obj} (should|must) be [directly] above {dst}",
                    "{dst} at the bottom, {obj} on top",
                    "{obj} on top, {dst} (below|underneath|at the bottom)",
                    "I (want|need|would like) a (stack|tower) with {obj} on [top of] {dst}",
                ),
                "wording": ("{dst} will be the foundation for {obj}",),
            },
        },
        "drawer": {
            "do": {"train": ("put {obj} away {where}", "put away {obj} {where}", "add {obj} to {dst}"), "wording": ()},
            "say": {"train": ("{dst} (should|must|needs to) (hold|contain) {obj}",), "wording": ()},
        },
    },
)
SIDE_PLACE: Mapping[str, Phrases] = widened(
    "SIDE_PLACE",
    {
        side: {
            "do": {"train": ("{put} {obj} {where}",), "wording": ()},
            "say": {"train": ("{obj} (should|must) be {at}",), "wording": ()},
        }
        for side in DIRECTIONS
    },
)
"""Whole clauses about a side ("so that the mat is then seen on its right"), for the wide split alone: the others
draw as they did before there were any."""
CELL: Mapping[Split, Patterns] = {
    "train": (
        *["{put} {obj} at {cell}"] * 6,
        "{put} {obj} [over] to {cell}",
        "{pick} and {put} it [down] at {cell}",
        "{put} {obj} [on the table] at [the] (position|place|spot|location) {cell}",
        "(make sure|see to it) [that] {obj} (is|ends up) at {cell}",
    ),
    "wording": (
        "{cell} is the new home of {obj}",
        "the target place of {obj} is {cell}",
        "at {cell} there should be {obj}",
    ),
}
DRAWER: Mapping[str, Phrases] = widened(
    "DRAWER",
    {
        "open": {
            "do": {
                "train": (
                    *["open {dst}"] * 5,
                    *["pull {dst} open", "pull open {dst}", "pull out {dst}", "slide {dst} open", "slide open {dst}"],
                    *[
                        "open up {dst}",
                        "get {dst} open",
                        "pull {dst} out",
                        "draw {dst} out",
                        "make {dst} open",
                        "open {dst} up",
                    ],
                    "(pull|grab and pull|use) the handle (of|on) {dst} to open it",
                    "(make sure|see to it) [that] {dst} is open",
                    "leave {dst} open",
                    "pull on {dst} [until it is open]",
                ),
                "wording": (
                    "ease {dst} open",
                    "tug {dst} open",
                    "(bring|put) {dst} into its open position",
                    "~do not keep {dst} closed",
                ),
            },
            "say": {
                "train": (
                    "{dst} (should|must|needs to|has to) be (opened|open|pulled out)",
                    "I (want|need|would like) {dst} [to be] open",
                    "{dst} open",
                    "(can|could) {dst} be opened?",
                    "{dst} is closed but should be open",
                ),
                "wording": ("I'd like to look into {dst}", "{dst} ought to stand open"),
            },
        },
        "close": {
            "do": {
                "train": (
                    *["close {dst}"] * 5,
                    *[
                        "shut {dst}",
                        "push {dst} shut",
                        "push {dst} closed",
                        "push {dst} in",
                        "slide {dst} shut",
                        "slide {dst} closed",
                    ],
                    *[
                        "close up {dst}",
                        "get {dst} closed",
                        "push in {dst}",
                        "push {dst} back in",
                        "make {dst} shut",
                        "shut up {dst}",
                    ],
                    "(push|use) the handle (of|on) {dst} to close it",
                    "(make sure|see to it) [that] {dst} is (closed|shut)",
                    "leave {dst} closed",
                    "push {dst} [until it is closed|back into the cabinet]",
                ),
                "wording": (
                    "ease {dst} shut",
                    "nudge {dst} shut",
                    "(bring|put) {dst} into its closed position",
                    "~do not keep {dst} open",
                ),
            },
            "say": {
                "train": (
                    "{dst} (should|must|needs to|has to) be (closed|shut|pushed in)",
                    "I (want|need|would like) {dst} [to be] (closed|shut)",
                    "{dst} closed",
                    "(can|could) {dst} be closed?",
                    "{dst} is open but should be closed",
                ),
                "wording": ("I'd rather not look into {dst}", "{dst} ought not to stand open"),
            },
        },
    },
)
FRAMES: Mapping[Split, Patterns] = widened(
    "FRAMES",
    {
        "train": (
            *["{do}"] * 24,
            *["please {do}", "{do}[,] please", "(can|could) you [please] {do}?"] * 3,
            *["(will|would) you [please] {do}?", "I (want|need|would like|'d like) you to {do}", "let's {do}"] * 2,
            "could you {do} for me[, please]?",
            "{do} for me[, please]",
            "let us {do}",
            "now[,] [please] {do}",
            "next[,] [please] {do}",
            "(your|the) (task|job|goal|aim|mission) is to {do}",
            "go ahead and {do}",
            "try to {do}",
            "robot, [please] {do}",
            "(hey|hi|hello|ok|okay|alright)[ robot][,] [please] {do}",
            "we (need|want|have) to {do}",
            "I want to {do}",
            "(you|you now) (should|need to|have to|must|can|may) {do}",
            "(kindly|just|simply) {do}",
            "{do}, (thanks|thank you)",
            "it is time to {do}",
            "[please] help me [to] {do}",
            "(do this|task|instruction|command|goal|to do): {do}",
            "what I (want|need) is for you to {do}",
            "(I think|maybe) you should {do}",
            "all you (have|need) to do is {do}",
            "{do} now",
            "{do}, will you?",
            "{do} if you can",
            "{do} and nothing else",
            "{do} carefully",
            "carefully {do}",
            "without touching anything else, {do}",
        ),
        "wording": (
            "would you be so kind as to {do}?",
            "it would be (great|nice|lovely) if you could {do}",
            "I was hoping you could {do}",
            "{do} when you get (a chance|round to it)",
            "any chance you could {do}?",
            "I'd be grateful if you could {do}",
            "see whether you can {do}",
            "you are asked to {do}",
            "(proceed|get ready|prepare) to {do}",
            "how about you {do}?",
            "do me a favour and {do}",
            "time for you to {do}, I suppose",
            "feel free to {do}",
            "your next assignment: {do}",
            "the operator wishes you to {do}",
        ),
    },
)
JOINS: Mapping[Split, Patterns] = widened(
    "JOINS",
    {
        "train": (
            *[", then ", " and then ", ", and then ", " and "] * 3,
            *["; then ", " then ", ", and ", ", ", "; ", ". Then ", ". ", ". Next, ", ". After that, "],
            *[
                ", after that ",
                ", next ",
                ", afterwards ",
                ". Now ",
                ", and after that ",
                ", and next ",
                "; after that ",
                " & ",
            ],
        ),
        "wording": (
            "; once that is done, ",
            ", whereupon ",
            ", subsequently ",
            ", as soon as that is done, ",
            "; to finish, ",
        ),
    },
)
TURNED: Mapping[Split, Patterns] = widened(
    "TURNED",
    {
        "train": (
            "before you {b}, {a}",
            "after you {a}, {b}",
            "{b}, but first {a}",
            "{b}, but before that {a}",
            "{b} after you {a}",
        ),
        "wording": ("{b} only once you {a}", "{b}, having seen to it that you first {a}"),
    },
)
"""Two clauses said in another order than ``a`` then ``b``."""
