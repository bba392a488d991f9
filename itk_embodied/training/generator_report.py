"""How good a generator is on held-out pairs or walks: the pixel check for each kind of step, the judge's word on all.

Rates with intervals, and a sheet of pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline
from itk_embodied.errors import InputError
from itk_embodied.evaluation.stats import Rate
from itk_embodied.training.judge import SimulatorJudge, Subject
from itk_embodied.training.judge.edit import EditCheck, check_edit
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.types import Image
from itk_sim.language import grounded, instruction, word_step

BATCH = 16
JUDGED = "all, by the judge"


def _canonical(record: Record, rng: np.random.Generator) -> str:
    return instruction(record.step)


def _grounded(record: Record, rng: np.random.Generator) -> str:
    return grounded(record.step, record.before_state)


def _free(record: Record, rng: np.random.Generator) -> str:
    return word_step(record.step, rng, "wording")


TEXTS: dict[str, Callable[[Record, np.random.Generator], str]] = {
    "canonical": _canonical,
    "grounded": _grounded,
    "free": _free,
}
"""``free`` is held-out wording."""


@dataclass(frozen=True, eq=False)
class Painted:
    record: Record
    text: str
    image: Image
    check: EditCheck
    judged: bool


def paint(
    pipeline: CompositeFlowEditPipeline,
    records: Sequence[Record],
    text: str,
    *,
    steps: int = 8,
    seed: int = 0,
    candidates: int | None = None,
) -> list[Painted]:
    """Paint and check the records' steps; picture i has seed ``seed + i``, whatever the batch."""
    if text not in TEXTS:
        raise InputError(f"text {text!r} is unknown; allowed: {', '.join(TEXTS)}.")
    rng = np.random.default_rng(seed)
    texts = [TEXTS[text](record, rng) for record in records]
    painted = []
    for first in tqdm(range(0, len(records), BATCH), unit="batch", desc=f"painting, {text}", mininterval=5):
        part, words = records[first : first + BATCH], texts[first : first + BATCH]
        generators = [torch.Generator().manual_seed(seed + first + i) for i in range(len(part))]
        frames = [PIL.Image.fromarray(record.before) for record in part]
        options: dict[str, Any] = {"output_type": "np", "return_dict": False, "candidates": candidates}
        (images,) = pipeline(frames, words, steps, generators, **options)
        painted += [_checked(r, w, i) for r, w, i in zip(part, words, images, strict=True)]
    return painted


def _checked(record: Record, text: str, image: Image) -> Painted:
    judged = SimulatorJudge().judge(Subject.of(record), image)
    return Painted(record, text, image, check_edit(image, record), judged.success)


def by_kind(painted: Sequence[Painted]) -> dict[str, Rate]:
    """Success for each kind of step, for ``all``, and for all by the judge, who looks at the looks too."""
    groups: dict[str, list[bool]] = {"all": [], JUDGED: [one.judged for one in painted]}
    for one in painted:
        groups["all"].append(one.check.ok)
        groups.setdefault(one.record.kind, []).append(one.check.ok)
    return {kind: Rate(sum(oks), len(oks)) for kind, oks in groups.items()}


def sheet(painted: Sequence[Painted], path: Path, columns: int = 4, scale: int = 2) -> None:
    """before | generated | truth for each; a red bar under what the check refuses, a green one under the rest."""
    cells = []
    for one in painted:
        row = np.concatenate([one.record.before, one.image, one.record.after], 1)
        bar = np.zeros((3, row.shape[1], 3), np.uint8)
        bar[:] = (0, 170, 0) if one.check.ok else (220, 0, 0)
        cells.append(np.concatenate([row, bar], 0))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    picture = PIL.Image.fromarray(np.concatenate(rows, 0))
    picture.resize((picture.width * scale, picture.height * scale), PIL.Image.Resampling.NEAREST).save(path)


def report(
    pipeline_folder: Path,
    data: Path,
    out: Path,
    *,
    n: int,
    texts: Sequence[str],
    steps: int,
    seed: int,
    candidates: int | None,
) -> dict:
    """Writes ``OUT.json`` and ``OUT.png`` and returns what is in the former."""
    shards = ShardSet(data, "held-out")
    pipeline = CompositeFlowEditPipeline.from_pretrained(pipeline_folder)
    pipeline.set_progress_bar_config(disable=True)
    records = [shards[int(i)] for i in np.random.default_rng(seed).permutation(len(shards))[:n]]
    settings = {"pairs": len(records), "steps": steps, "seed": seed}
    settings["candidates"] = candidates or pipeline.config.candidates
    result: dict = {"pipeline": pipeline_folder.name, **settings, "texts": {}}
    for index, text in enumerate(texts):
        start = time.perf_counter()
        painted = paint(pipeline, records, text, steps=steps, seed=seed, candidates=candidates)
        if index == 0:
            sheet(painted[:40], out.with_suffix(".png"))
        reasons: dict[str, int] = {}
        for one in painted:
            for reason in one.check.reasons[:1]:
                key = f"{one.record.kind}: {reason}"
                reasons[key] = reasons.get(key, 0) + 1
        result["texts"][text] = {
            "seconds_per_image": (time.perf_counter() - start) / len(painted),
            "kinds": {
                kind: {"rate": rate.rate, "interval": rate.interval, "n": rate.episodes}
                for kind, rate in by_kind(painted).items()
            },
            "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1])[:25]),
        }
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(result: dict) -> str:
    """The result as a Markdown table."""
    kinds = list(next(iter(result["texts"].values()))["kinds"])
    lines = ["| step | " + " | ".join(result["texts"]) + " |", "| --- |" + " --- |" * len(result["texts"])]
    for kind in sorted(kinds, key=lambda kind: (kind != "all", kind != JUDGED, kind)):
        cells = [text["kinds"][kind] for text in result["texts"].values()]
        shown = (f"{c['rate']:.3f} ({c['interval'][0]:.3f}-{c['interval'][1]:.3f}, n={c['n']})" for c in cells)
        lines.append(f"| {kind} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a generator on held-out pairs.")
    parser.add_argument("--pipeline", type=Path, default=Path("itk_embodied/checkpoints/generator"))
    parser.add_argument("--data", type=Path, default=Path("data/pairs"), help="pairs, or walks")
    parser.add_argument("--out", type=Path, default=Path("runs/generator/report"))
    parser.add_argument("-n", type=int, default=500, help="pairs")
    parser.add_argument("--texts", nargs="+", default=list(TEXTS), choices=list(TEXTS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--candidates", type=int, help="paint so many, keep the surest; default: as exported")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"n": args.n, "texts": args.texts, "steps": args.steps, "seed": args.seed, "candidates": args.candidates}
    result = report(args.pipeline, args.data, args.out, **chosen)
    print(table(result))
    for name, text in result["texts"].items():
        print(f"{name}: {text['seconds_per_image']:.3f} s an image; refused: {text['reasons']}")


if __name__ == "__main__":
    main()
