"""One self-contained HTML page of a run: camera frame, plan, every attempt with its verdict, goal beside achieved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itk_embodied.errors import MissingDependencyError
from itk_embodied.images import png_data_url
from itk_embodied.types import Image, SubgoalSequence

_TEMPLATES = Path(__file__).parent / "templates"


def render_report(
    sequence: SubgoalSequence, *, achieved: Sequence[Image] = (), outcome: str = "", achieved_task: bool | None = None
) -> str:
    """The page as a string, pictures inside.

    Args:
        sequence: a finished sequence.
        achieved: the camera frame after each executed subgoal, in order; may be shorter than the sequence.
        outcome: a plain sentence on what the arm did, where one was driven.
        achieved_task: True or False where the simulator judged the end, None where nobody did.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError("the report needs jinja2; run: pip install 'itk-embodied[report]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["png"] = png_data_url
    executed = iter(achieved)
    rows = []
    for subgoal in sequence.subgoals:
        rows.append((subgoal, next(executed, None)))
    unreached = [s for s in sequence.plan.steps[len(rows) :] if s.paints] if sequence.plan else []
    return environment.get_template("report.html").render(
        sequence=sequence, rows=rows, unreached=unreached, outcome=outcome, achieved_task=achieved_task
    )


def write_report(path: Path, sequence: SubgoalSequence, **extra: object) -> Path:
    """Render and write ``path``; see `render_report` for what ``extra`` may hold."""
    path.write_text(render_report(sequence, **extra), encoding="utf-8")  # type: ignore[arg-type]
    return path
