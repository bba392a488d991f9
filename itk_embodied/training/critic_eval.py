"""How good is a critic on held-out scenes: balanced accuracy, false accepts and rejects, per kind of fault.

``python -m itk_embodied.training.critic_eval --checkpoint DIR`` prints the table and can write JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3VLForConditionalGeneration

from itk_embodied.agents.qwen3vl.looks import moved
from itk_embodied.evaluation.stats import Rate
from itk_embodied.training.corruptions import CORRUPTIONS
from itk_embodied.training.critic_data import wrong_step
from itk_embodied.training.critic_generated import Gallery
from itk_embodied.training.judge.base import PASS
from itk_embodied.training.judge_batch import BatchJudge
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.vlm_train import load_or_build_tokenizer
from itk_sim.language import instruction

_POINTS = (0.0, 0.5, 2.5, 5.0, 7.5)
_PAINTED = ("painted ", "in a sequence ")


@dataclass(frozen=True, eq=False)
class Case:
    """One question to a critic and the right answer. ``points``: what the judge gave a painting, 0..10; 5 are
    enough."""

    before: np.ndarray
    after: np.ndarray
    text: str
    kind: str
    good: bool
    points: float | None = None


def battery(shards: ShardSet, count: int, seed: int = 0) -> list[Case]:
    """``count`` right pairs, as many wrong instructions, and every corruption on its share of held-out pairs."""
    rng = np.random.default_rng([seed, 23])
    cases = []
    kinds = list(CORRUPTIONS)
    for number in range(count):
        record = shards[int(rng.integers(len(shards)))]
        said = instruction(record.step)
        cases.append(Case(record.before, record.after, f"{said} | {said}", f"right: {record.kind}", True))
        step = wrong_step(record, rng)
        if step is not None:
            wrong = instruction(step)
            cases.append(Case(record.before, record.after, f"{wrong} | {wrong}", "wrong instruction", False))
        kind = kinds[number % len(kinds)]
        spoilt = CORRUPTIONS[kind](record, rng)
        if spoilt is not None:
            cases.append(Case(record.before, spoilt.image, f"{said} | {said}", kind, False))
    return cases


def painted(gallery: Gallery, most: int = 200, seed: int = 0, kinds: str = "painted") -> list[Case]:
    """What the generator really painted, asked about in the plan's words: as many right as wrong ones by the judge."""
    cases: dict[bool, list[Case]] = {True: [], False: []}
    for number in np.random.default_rng([seed, 29]).permutation(len(gallery)):
        painting = gallery[int(number)]
        good, said = painting.judged.success, instruction(painting.record.step)
        kind = f"{kinds} {'right' if good else 'badly' if painting.judged.semantics >= PASS else 'wrong'}"
        if len(cases[good]) < most:
            points = min(painting.judged.semantics, painting.judged.quality)
            cases[good].append(Case(painting.record.before, painting.image, f"{said} | {said}", kind, good, points))
        if min(map(len, cases.values())) >= most:
            break
    return cases[True] + cases[False]


def score(cases: Sequence[Case], probabilities: Sequence[float], threshold: float) -> dict[str, Any]:
    """`rates` of all cases, of the ``own_pictures`` of generators alone, and accuracy per kind; of paintings, how many
    were accepted of those with at least so many of the judge's points (and less than the next number)."""
    good = np.array([case.good for case in cases])
    chances = np.array(probabilities)
    right = (chances >= threshold) == good
    own = np.array([case.kind.startswith(_PAINTED) for case in cases])
    kinds: dict[str, Any] = {}
    for kind in sorted({case.kind for case in cases}):
        mine = np.array([case.kind == kind for case in cases])
        kinds[kind] = Rate(int(right[mine].sum()), int(mine.sum())).record()
    return {
        "threshold": threshold,
        **rates(good, chances, threshold),
        "own_pictures": rates(good[own], chances[own], threshold) if own.any() else None,
        "accuracy_by_kind": kinds,
        "accepted_by_points": _by_points(cases, chances >= threshold),
    }


def _by_points(cases: Sequence[Case], accepted: np.ndarray) -> dict[str, Any]:
    points = np.array([np.nan if case.points is None else case.points for case in cases])
    inside = {at: (points >= at) & (points < top) for at, top in pairwise((*_POINTS, np.inf))}
    return {str(at): Rate(int(accepted[mine].sum()), int(mine.sum())).record() for at, mine in inside.items()}


def rates(good: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, Any]:
    """Balanced accuracy, false-accept and false-reject rates with intervals, and the area under the ROC curve (the
    chance that a right picture is given more than a wrong one), which no threshold changes; None where cases are all
    right or all wrong."""
    said = probabilities >= threshold
    accepts = Rate(int((said & ~good).sum()), int((~good).sum()))
    rejects = Rate(int((~said & good).sum()), int(good.sum()))
    both = bool(good.any() and not good.all())
    above = np.subtract.outer(probabilities[good], probabilities[~good])
    return {
        "balanced_accuracy": round(1 - ((accepts.rate or 0) + (rejects.rate or 0)) / 2, 4) if both else None,
        "area_under_curve": round(float((above > 0).mean() + (above == 0).mean() / 2), 4) if both else None,
        "false_accept": accepts.record(),
        "false_reject": rejects.record(),
    }


def choose_threshold(cases: Sequence[Case], probabilities: Sequence[float], most_false_accepts: float) -> float:
    """The lowest threshold that keeps false accepts at or under a share; ties go to fewer rejects."""
    bad = sorted(p for case, p in zip(cases, probabilities, strict=True) if not case.good)
    allowed = int(most_false_accepts * len(bad))
    worst = bad[len(bad) - allowed - 1] if len(bad) > allowed else 0.0
    return float(min(max(worst + 1e-4, 0.05), 0.995))


def _look_again(
    judge: BatchJudge, cases: Sequence[Case], first: Sequence[float], threshold: float, looks: int
) -> list[float]:
    """Mean P(true) over the looks, of what the first refuses; as `Qwen3VLCritic` does."""
    refused = [number for number, probability in enumerate(first) if probability < threshold]
    seen = [np.array(first)[refused]]
    for look in range(1, looks):
        pictures = [(moved(cases[i].before, look), moved(cases[i].after, look)) for i in refused]
        seen.append(np.array([j.true_probability for j in judge(pictures, [cases[i].text for i in refused])]))
    probabilities = np.array(first)
    probabilities[refused] = np.mean(seen, 0)
    return probabilities.tolist()


def verified(folder: Path, cases: Sequence[Case]) -> list[float]:
    """An edit verifier's probability that each case is right."""
    from itk_embodied.agents.verifier.critic import look
    from itk_embodied.agents.verifier.model import EditVerifier

    model = EditVerifier.from_pretrained(folder, torch_dtype=torch.float32).eval()
    found: list[float] = []
    for start in range(0, len(cases), 64):
        some = cases[start : start + 64]
        texts = [case.text.partition(" | ")[0] for case in some]
        right, _ = look(model, [case.before for case in some], [case.after for case in some], texts)
        found += right.tolist()
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a critic on held-out scenes.")
    parser.add_argument("--checkpoint", type=Path, default=Path("itk_embodied/checkpoints/critic"))
    parser.add_argument("--data", type=Path, default=Path("data/pairs"))
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--threshold", type=float, default=None, help="default: that of the checkpoint's itk.json")
    parser.add_argument("--generated", type=Path, default=Path("data/generated"), help="see critic_generated")
    parser.add_argument("--rollouts", type=Path, default=Path("data/rollouts"), help="more paintings, if it is there")
    parser.add_argument("--walks", type=Path, default=Path("data/walks"), help="paintings on paintings, if it is there")
    parser.add_argument(
        "--choose", type=float, default=None, metavar="SHARE",
        help="write to the checkpoint's itk.json the lowest threshold with at most this share of false accepts; "
        "use another seed for the report",
    )  # fmt: skip
    parser.add_argument("--looks", type=int, choices=(1, 2, 3), default=1, help="as the stack's file has it")
    parser.add_argument("--verifier", type=Path, default=None, help="an edit verifier's folder: both as a panel")
    parser.add_argument("--weight", type=float, default=1.0, help="of the verifier; the critic's is 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = Qwen3VLForConditionalGeneration.from_pretrained(args.checkpoint, dtype=torch.float32)
    judge = BatchJudge(model, load_or_build_tokenizer(args.checkpoint))
    shards = ShardSet(args.data, "held-out")
    cases = battery(shards, args.pairs, args.seed) + painted(
        Gallery(shards, args.generated, args.rollouts), seed=args.seed
    )
    if args.walks.is_dir():
        walked = Gallery(shards, args.walks / "none", walks=args.walks)
        cases += painted(walked, seed=args.seed, kinds="in a sequence")
    judged = judge([(c.before, c.after) for c in cases], [c.text for c in cases])
    probabilities = [j.true_probability for j in judged]
    notes = json.loads((args.checkpoint / "itk.json").read_text())
    if args.looks > 1:
        threshold = notes.get("accept_threshold", 0.5) if args.threshold is None else args.threshold
        probabilities = _look_again(judge, cases, probabilities, threshold, args.looks)
    if args.verifier is not None:
        beside = np.array(verified(args.verifier, cases))
        probabilities = ((np.array(probabilities) + args.weight * beside) / (1 + args.weight)).tolist()
    if args.choose is not None:
        notes["accept_threshold"] = round(choose_threshold(cases, probabilities, args.choose), 4)
        (args.checkpoint / "itk.json").write_text(json.dumps(notes, indent=2) + "\n")
    threshold = notes.get("accept_threshold", 0.5) if args.threshold is None else args.threshold
    record = score(cases, probabilities, threshold)
    for case, answer in list(zip(cases, judged, strict=True))[:6]:
        print(f"{case.kind}: {case.text}\n   {answer.true_probability:.3f} {answer.thought}")
    print(json.dumps(record, indent=1))
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
