"""Before-and-after pairs: a random scene, one step, and the picture once it is done. The generator's training data.

``python -m itk_sim.pairs --n 200`` measures how many a minute this machine makes.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from itk_sim.cameras import CameraInfo
from itk_sim.errors import SimError
from itk_sim.kinds import candidates, draw_kind, kind_of
from itk_sim.scene import SceneSpec
from itk_sim.symbols import SceneState, Step
from itk_sim.table import Table

_SCENES_PER_PAIR, _STEPS_PER_SCENE = 60, 6
MOVED_M = 0.045
"""A step that moves its cube less than this was done already: no pair."""
SEEN = 0.2
"""Least share of the moved cube that the camera must see before and after."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One step, seen before and after.

    Attributes:
        before, after: (S,S,3) uint8 RGB of the front camera.
        before_seg, after_seg: (S,S) uint8 object ids (see Table.segmentation).
        step: what was done; kind: which of `itk_sim.kinds` it was drawn as.
        camera: the front camera's calibration.
        scene: the scene that ``before`` shows.
    """

    before: np.ndarray
    after: np.ndarray
    before_seg: np.ndarray
    after_seg: np.ndarray
    before_state: SceneState
    after_state: SceneState
    step: Step
    kind: str
    camera: CameraInfo
    scene: SceneSpec


def sample_pair(
    table: Table,
    rng: np.random.Generator,
    size_px: int = 128,
    *,
    kind: str | None = None,
    accept: Callable[[Step], bool] | None = None,
) -> Pair:
    """A random pair; the same ``rng`` state gives the same pair. Kinds come in the shares of KINDS unless ``kind`` is
    given, one of these or of RARE; steps for which ``accept`` says no (held-out combinations, say) are not used."""
    drawn = kind or draw_kind(rng)
    kind_of(drawn)
    for _ in range(_SCENES_PER_PAIR):
        pair = _try_scene(table, rng, size_px, drawn, accept)
        if pair is not None:
            return pair
    raise SimError(f"no step of kind {drawn!r} worked in {_SCENES_PER_PAIR} scenes; is `accept` too strict?")


def _try_scene(
    table: Table, rng: np.random.Generator, size_px: int, kind: str, accept: Callable[[Step], bool] | None
) -> Pair | None:
    scene = kind_of(kind).scene(rng)
    state = table.reset(scene, visible=False)
    steps = [step for step in candidates(rng, state, kind) if accept is None or accept(step)]
    here = table.snapshot()
    for i in rng.permutation(len(steps))[:_STEPS_PER_SCENE]:
        step = steps[i]
        if table.teleport(step, rng) and _changed(state, table, step):
            after_state = table.state()
            after = table.render("front", size_px), table.segmentation("front", size_px)
            table.restore(here)
            before_state = table.state()
            if step.obj is None or min(before_state.visible[step.obj], after_state.visible[step.obj]) >= SEEN:
                return Pair(
                    before=table.render("front", size_px), after=after[0], step=step, kind=kind, scene=scene,
                    before_seg=table.segmentation("front", size_px), after_seg=after[1], before_state=before_state,
                    after_state=after_state, camera=table.camera("front", size_px),
                )  # fmt: skip
        table.restore(here)
    return None


def _changed(before: SceneState, table: Table, step: Step) -> bool:
    if step.obj is None:
        return True
    return float(np.linalg.norm(table.position_m(step.obj) - before.position_m[step.obj])) >= MOVED_M


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast this machine makes before-and-after pairs.")
    parser.add_argument("--n", type=int, default=200, help="pairs to make")
    parser.add_argument("--size", type=int, default=128, help="picture side, px")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, count = np.random.default_rng(args.seed), Counter[str]()
    with Table() as table:
        sample_pair(table, rng, args.size)  # the first one compiles shaders
        start = time.perf_counter()
        for _ in range(args.n):
            count[sample_pair(table, rng, args.size).kind] += 1
        elapsed_s = time.perf_counter() - start
    print(f"{args.n} pairs of {args.size} px in {elapsed_s:.1f} s: {60 * args.n / elapsed_s:.0f} a minute")
    for name, n in count.most_common():
        print(f"  {name:14s} {n}")


if __name__ == "__main__":
    main()
