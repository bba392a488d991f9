"""A finished sequence on disk: ``sequence.json`` and PNGs in one folder, complete or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.images import save_png
from itk_embodied.types import Attempt, Subgoal, SubgoalSequence

SCHEMA_VERSION = 1
_OURS = ("sequence.json", "report.html", "frame.png", "run.png", "attempts", "achieved")


def attempt_file(step_number: int, attempt: int) -> str:
    return f"attempts/step-{step_number:02d}-attempt-{attempt}.png"


def step_file(step_number: int) -> str:
    return f"step-{step_number:02d}.png"


def sequence_record(sequence: SubgoalSequence) -> dict[str, Any]:
    """The JSON form of a sequence; images are named by the files that `write_sequence` makes."""
    by_number = {subgoal.step.step_number: subgoal for subgoal in sequence.subgoals}
    steps = sequence.plan.steps if sequence.plan else ()
    return {
        "schema_version": SCHEMA_VERSION,
        "task": sequence.task.text,
        "seed": sequence.task.seed,
        "status": str(sequence.status),
        "reason": sequence.reason,
        "stack": sequence.stack,
        "prompt_hashes": dict(sequence.prompt_hashes),
        "frame": {
            "image": "frame.png",
            "frame_id": sequence.frame.frame_id,
            "stamp_s": sequence.frame.stamp_s,
            "sha256": sequence.frame.sha256,
        },
        "thought": sequence.plan.thought if sequence.plan else "",
        "raw": sequence.raw,
        "steps": [
            {
                "step_number": step.step_number,
                "step_name": step.step_name,
                "instruction": step.instruction,
                "prompt": step.prompt,
                "auxiliary_text": step.auxiliary_text,
                **_outcome(by_number.get(step.step_number)),
            }
            for step in steps
        ],
        "seconds": {
            "plan": round(sequence.plan_s, 4),
            "first_subgoal": None if sequence.first_subgoal_s is None else round(sequence.first_subgoal_s, 4),
            "total": round(sequence.total_s, 4),
        },
    }


def _outcome(subgoal: Subgoal | None) -> dict[str, Any]:
    if subgoal is None:  # a step that was never reached, or that paints nothing
        return {"status": "not_reached", "image": None, "error": "", "attempts": []}
    number = subgoal.step.step_number
    return {
        "status": str(subgoal.status),
        "image": step_file(number) if subgoal.image is not None else None,
        "error": subgoal.error,
        "source_image_sha256": subgoal.source_image_sha256,
        "attempts": [_attempt(number, attempt) for attempt in subgoal.attempts],
    }


def _attempt(step_number: int, attempt: Attempt) -> dict[str, Any]:
    verdict = attempt.verdict
    return {
        "attempt": attempt.attempt,
        "prompt": attempt.prompt,
        "seed": attempt.seed,
        "success": attempt.success,
        "score": round(attempt.score, 6),
        "refine_prompt": verdict.refine_prompt if verdict else None,
        "reasoning": verdict.reasoning if verdict else "",
        "image": attempt_file(step_number, attempt.attempt) if attempt.image is not None else None,
        "seconds": round(attempt.generate_s + attempt.judge_s, 4),
        "generate_seconds": round(attempt.generate_s, 4),
        "judge_seconds": round(attempt.judge_s, 4),
        "error": attempt.error,
        "raw": attempt.raw,
    }


def check_out_dir(out: Path) -> None:
    """Refuse a folder that holds something else than an earlier run of ours, before any work is done.

    Raises:
        InputError: ``out`` is a file, or a folder with other things in it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder.")
    if not out.exists():
        return
    strangers = [p.name for p in out.iterdir() if p.name not in _OURS and not _is_step_file(p.name)]
    if strangers:
        raise InputError(f"--out {out} holds other files ({sorted(strangers)[0]}, …); give an empty or new folder.")


def _is_step_file(name: str) -> bool:
    return name.startswith("step-") and name.endswith(".png")


def write_sequence(sequence: SubgoalSequence, out: Path) -> Path:
    """Write everything into a new folder beside ``out``, then put it in ``out``'s place in one move.

    Returns the path of ``sequence.json``. An earlier run of ours in ``out`` is replaced.
    """
    check_out_dir(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        staging.chmod(0o755)
        _write_files(sequence, staging)
        if out.exists():
            shutil.rmtree(out)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return out / "sequence.json"


def _write_files(sequence: SubgoalSequence, folder: Path) -> None:
    (folder / "attempts").mkdir()
    save_png(sequence.frame.image, folder / "frame.png")
    for subgoal in sequence.subgoals:
        number = subgoal.step.step_number
        if subgoal.image is not None:
            save_png(subgoal.image, folder / step_file(number))
        for attempt in subgoal.attempts:
            if attempt.image is not None:
                save_png(attempt.image, folder / attempt_file(number, attempt.attempt))
    (folder / "sequence.json").write_text(json.dumps(sequence_record(sequence), indent=2, ensure_ascii=False) + "\n")
