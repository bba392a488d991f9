"""Does a long chain of edits drift? Each picture is painted from the one before, 25 or 50 times, and judged each time.

The simulator's table follows the chain: after every edit that the judge calls right, the cube is put where the picture
has it, and turned as there: the truth that the next picture is compared with has no drift of its own, and the pictures
keep all of theirs. An edit that stays wrong over several seeds is not taken into the chain; how often that happens is
reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from itk_embodied.agents.base import CallContext, Generator
from itk_embodied.anchoring import anchored
from itk_embodied.errors import InputError
from itk_embodied.evaluation.stats import Rate
from itk_embodied.pipeline import derive_seed
from itk_embodied.training.judge import Judge, Subject
from itk_embodied.training.judge.edit import check_edit
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.goals import goal_image
from itk_sim.kinds import candidates
from itk_sim.language import instruction, parse_instruction
from itk_sim.placing import Placement
from itk_sim.scene import sample_scene
from itk_sim.splits import scene_seed
from itk_sim.symbols import CUBES, Step
from itk_sim.table import Snapshot, Table

KINDS = ("in bowl", "on mat", "stack", "unstack", "at", "at")
SEEDS, DRAWS = 4, 12
SIZE_PX = 128
UNCHANGED = 3
"""Two renderings of what stays as it is differ by no more than this in any channel."""
TURNS_RAD = tuple(np.deg2rad(range(0, 90, 15)).tolist())
"""A cube's turns that look different, and..."""
AROUND_PX = 9
"""...how far around its middle they are compared with the picture."""


@dataclass(frozen=True, eq=False)
class Link:
    """One edit of a chain. ``overall`` 0..10 and ``picture`` of the edit that was taken; ``first_right``: whether the
    first seed's was right; ``dropped``: edits tried at this place that stayed wrong."""

    chain: int
    place: int
    step: Step
    overall: float
    first_right: bool
    dropped: int
    picture: Image
    truth: Image


@dataclass(frozen=True)
class TruthEditor:
    """Paints as well as can be: the simulator's goal image of a step, over the picture before where that step changes
    the table. What its chains lose is the measure's own loss: the truth follows a picture to a pixel, not better."""

    table: Table
    name: str = "ground-truth"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        """See `itk_embodied.agents.base.Generator`. A step that cannot be done changes nothing."""
        side = image.shape[0]
        goal = goal_image(self.table, parse_instruction(prompt), np.random.default_rng(context.seed), side)
        if goal is None:
            return image
        changed = np.abs(goal.astype(np.int16) - self.table.render("front", side)).max(-1) > UNCHANGED
        return np.where(changed[..., None], goal, image)


def follow_chain(
    table: Table, generator: Generator, judge: Judge, chain: int, steps: int, seed: int = 0, *, anchor: bool = False
) -> Iterator[Link]:
    """Paint one chain on a held-out scene of six cubes, bowls and a mat; ends early where no edit comes right.

    ``anchor``: as `itk_embodied.pipeline.PipelineConfig` has it; the camera frame is the chain's first picture.
    """
    rng = np.random.default_rng([seed, 61, chain])
    scene = sample_scene(rng, min_cubes=6, max_cubes=6, drawer=False, min_bowls=1, mat=True)
    table.reset(replace(scene, seed=scene_seed(rng, "held-out")))
    frame = picture = table.render("front", SIZE_PX)
    for place in range(steps):
        dropped, first_right = 0, None
        for draw in range(DRAWS):
            drawn = _draw(table, picture, rng)
            if drawn is None:
                continue
            record, done = drawn
            seeded = derive_seed(seed, "drift", chain, place, draw)
            made, seeds = _paint(generator, judge, record, seeded, frame if anchor else None)
            first_right = seeds == 1 if first_right is None else first_right
            if made is None:
                dropped += 1
                continue
            picture, overall = made
            truth = _put_where_painted(table, done, record, picture)
            yield Link(chain, place, record.step, overall, bool(first_right), dropped, picture, truth)
            break
        else:
            return


def _draw(table: Table, picture: Image, rng: np.random.Generator) -> tuple[Record, Snapshot] | None:
    """A random step that can be done now, with its truth, and the table once it is done; it is left as it was."""
    state, here = table.state(), table.snapshot()
    kind = KINDS[int(rng.integers(len(KINDS)))]
    steps = candidates(rng, state, kind)
    if not steps:
        return None
    step = steps[int(rng.integers(len(steps)))]
    before_seg, camera = table.segmentation("front", SIZE_PX), table.camera("front", SIZE_PX)
    try:
        if not table.teleport(step, rng):
            return None
        after_state = table.state()
        assert step.obj is not None
        moved_m = np.linalg.norm(np.subtract(after_state.position_m[step.obj], state.position_m[step.obj]))
        if moved_m < 0.045 or min(s.visible[step.obj] for s in (state, after_state)) < 0.2:
            return None
        record = Record(
            before=picture, after=table.render("front", SIZE_PX), before_seg=before_seg,
            after_seg=table.segmentation("front", SIZE_PX), before_state=state, after_state=after_state, step=step,
            kind=kind, k=np.asarray(camera.K), world_from_camera=np.asarray(camera.world_from_camera),
        )  # fmt: skip
        return record, table.snapshot()
    finally:
        table.restore(here)


def _paint(
    generator: Generator, judge: Judge, record: Record, seed: int, frame: Image | None
) -> tuple[tuple[Image, float] | None, int]:
    """The first picture that the judge calls right, with its score, and how many seeds that took."""
    for number in range(1, SEEDS + 1):
        context = CallContext(seed=derive_seed(seed, "attempt", number))
        picture = generator.generate(record.before, instruction(record.step), context)
        picture = picture if frame is None else anchored(picture, frame)
        judged = judge.judge(Subject.of(record), picture)
        if judged.success:
            return (picture, judged.overall), number
    return None, SEEDS


def _put_where_painted(table: Table, done: Snapshot, record: Record, picture: Image) -> Image:
    """Do the step on the table, move the cube to where the picture has it, turned as there, and show that."""
    name, found = str(record.step.obj), check_edit(picture, record).place_px
    pixels = np.argwhere(record.after_seg == CUBES.index(name) + 1)
    table.restore(done)
    if found is None or not len(pixels):
        return table.render("front", SIZE_PX)
    x, y, z = table.position_m(name)
    camera = table.camera("front", SIZE_PX)
    wanted, real = (camera.unproject(np.array(px), z) for px in (found, pixels.mean(0)[::-1] + 0.5))
    dx, dy = (float(value) for value in np.subtract(wanted, real)[:2])
    start = table.index.qpos[name]
    w, *_, k = table.data.qpos[start + 3 : start + 7]
    there = Placement(x + dx, y + dy, z + 0.001, 2 * float(np.arctan2(k, w)))
    around = tuple(slice(max(int(px) - AROUND_PX, 0), int(px) + AROUND_PX + 1) for px in found[::-1])

    def unlike(turned: Placement) -> float:
        table.restore(done)
        table.put(name, turned)
        return float(cv2.absdiff(table.render("front", SIZE_PX)[around], picture[around]).mean())

    # No instruction says how a cube is to be turned; one turned otherwise would be held against every later picture.
    there = min((replace(there, yaw_rad=there.yaw_rad + turn) for turn in TURNS_RAD), key=unlike)
    table.restore(done)
    table.put(name, there)
    table.settle()
    stayed_m = float(np.hypot(*np.subtract(table.position_m(name)[:2], (there.x_m, there.y_m))))
    if stayed_m > 0.012 or abs(table.position_m(name)[2] - z) > 0.01:
        table.restore(done)  # it would not stay there: half off a cube, say; so as the simulator had put it
    return table.render("front", SIZE_PX)


def summarise(links: Sequence[Link], steps: int, chains: int) -> dict[str, Any]:
    """Scores of the first and last fifth of the chains, their ratio with a bootstrap interval, and per place."""
    if not links:
        raise InputError("no edit of any chain came right: there is nothing to measure; look at the generator first.")
    fifth = max(1, steps // 5)
    ends = [chain for chain in range(chains) if any(link.chain == chain and link.place == steps - 1 for link in links)]

    def part(low: int, high: int, among: Sequence[int]) -> list[float]:
        return [x.overall for c in among for x in links if x.chain == c and low <= x.place < high]

    def ratio(among: Sequence[int]) -> float:
        first, last = part(0, fifth, among), part(steps - fifth, steps, among)
        return float(np.mean(last) / np.mean(first)) if first and last else float("nan")

    rng = np.random.default_rng(0)
    resampled = [ratio([ends[i] for i in rng.integers(len(ends), size=len(ends))]) for _ in range(400)] if ends else []
    firsts = [[link.first_right for link in links if low <= link.place < high] for low, high in
              ((0, fifth), (steps - fifth, steps))]  # fmt: skip
    return {
        "chains": chains,
        "steps": steps,
        "whole_chains": len(ends),
        "overall_first": round(float(np.mean(part(0, fifth, range(chains)))), 3),
        "overall_last": round(float(np.mean(part(steps - fifth, steps, ends))), 3) if ends else None,
        "ratio": round(ratio(ends), 4) if ends else None,
        "ratio_95": [round(float(np.percentile(resampled, q)), 4) for q in (2.5, 97.5)] if ends else None,
        "first_seed_right_first": Rate(sum(firsts[0]), len(firsts[0])).record(),
        "first_seed_right_last": Rate(sum(firsts[1]), len(firsts[1])).record(),
        "dropped": sum(link.dropped for link in links),
        "per_place": [
            round(float(np.mean(found)), 3) if (found := [x.overall for x in links if x.place == place]) else None
            for place in range(steps)
        ],
    }


def run_drift(
    table: Table,
    generator: Generator,
    judge: Judge,
    *,
    chains: int,
    steps: int,
    seed: int,
    anchor: bool,
    tick: Callable[[], object],
) -> list[Link]:
    """All chains, one after another."""
    links: list[Link] = []
    for chain in range(chains):
        for link in follow_chain(table, generator, judge, chain, steps, seed, anchor=anchor):
            links.append(link)
            tick()
    return links
