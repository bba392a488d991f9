"""Any sample of the training data as one self-contained page: a pair, a trajectory, or a row of a set."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.images import png_bytes
from itk_embodied.training.rollouts.make import SETTINGS_FILE
from itk_embodied.training.rollouts.store import RolloutSet, Trajectory
from itk_embodied.training.shards import ShardSet
from itk_embodied.types import Image
from itk_sim.language import instruction

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
figure{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top;max-width:15rem}
img{width:15rem;image-rendering:pixelated;border:1px solid #ccc}figcaption{font-size:13px}
pre{white-space:pre-wrap;background:#f4f4f4;padding:.7rem;border-left:4px solid #888}
.right{border-color:#2a7;color:#175}.wrong{border-color:#c33;color:#922}table{border-collapse:collapse}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}"""


def write_page(path: Path, row: int, out: Path, split: str = "train") -> Path:
    """Write the page of sample ``row`` of what lies at ``path``: a folder of pairs or rollouts, or a parquet file.

    Raises:
        InputError: there is no such data, or no such row.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        title, body = _row_page(path, row)
    elif (path / SETTINGS_FILE).is_file():
        title, body = _trajectory_page(path, row, split)
    elif any(path.glob("shard-*")):
        title, body = _pair_page(path, row, split)
    else:
        raise InputError(f"{path} holds no pairs and no rollouts; give their folder, or a parquet file of a set.")
    out.parent.mkdir(parents=True, exist_ok=True)
    head = f'<meta charset="utf-8"><title>{_e(title)}</title><style>{_STYLE}</style>'
    out.write_text(f"<!doctype html><html><head>{head}</head><body><h1>{_e(title)}</h1>{body}</body></html>", "utf-8")
    return out


def _e(text: object) -> str:
    return html.escape(str(text))


def _figure(png: bytes, caption: str, kind: str = "") -> str:
    data = base64.b64encode(png).decode()
    shown = f'<img src="data:image/png;base64,{data}"><figcaption>{_e(caption)}</figcaption>'
    return f'<figure class="{kind}">{shown}</figure>'


def _picture(image: Image, caption: str, kind: str = "") -> str:
    return _figure(png_bytes(image), caption, kind)


def _facts(values: dict[str, Any]) -> str:
    rows = "".join(f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in values.items())
    return f"<table>{rows}</table>"


def _check(row: int, total: int, path: Path) -> None:
    if not 0 <= row < total:
        raise InputError(f"{path} has no sample {row}; it has {total}, numbered from 0.")


def _pair_page(path: Path, row: int, split: str) -> tuple[str, str]:
    shards = ShardSet(path, split)
    _check(row, len(shards), path)
    record = shards[row]
    body = _picture(record.before, "before") + _picture(record.after, "after")
    return instruction(record.step), body + _facts({"kind": record.kind, "shard, row": shards.keys[row]})


def _trajectory_page(path: Path, row: int, split: str) -> tuple[str, str]:
    rollouts = RolloutSet(path)
    trajectories: Sequence[Trajectory] = [one for n in rollouts.shards(split) for one in rollouts.shard(n)]
    _check(row, len(trajectories), path)
    one = trajectories[row]
    line = one.line
    facts = {"family": line.task.family, "status": line.status, "reason": line.reason, "seed": line.seed}
    parts = [_picture(one.frame, "camera frame"), _facts(facts), f"<pre>{_e(line.plan_raw or line.plan_thought)}</pre>"]
    parts.append(f"<p>Oracle: {_e('; '.join(map(instruction, line.task.steps)) or line.task.refusal)}</p>")
    for step in line.steps:
        parts.append(f"<h2>{step.step_number}. {_e(step.instruction)}</h2>")
        if step.row is not None:
            record = one.record(step.row)
            parts.append(_picture(record.before, "before") + _picture(record.after, "ground truth"))
        else:
            parts.append(f"<p>Not judged: {_e(step.unjudged)}</p>")
        for place, attempt in enumerate(step.attempts):
            judged = attempt.judged
            words = [f"attempt {attempt.attempt}: {attempt.prompt}", attempt.error, attempt.judge_error]
            if attempt.verdict is not None:
                words.append(
                    f"critic: {'accepts' if attempt.verdict.success else 'refuses'} ({attempt.verdict.score:.2f})"
                )
            if judged is not None:
                words.append(
                    f"judge: {judged.overall:.1f} (semantics {judged.semantics:.1f}, quality {judged.quality:.1f})"
                )
                words += judged.reasons
            if place == step.accepted:
                words.append("the next step starts from this picture")
            kind = "" if judged is None else ("right" if judged.success else "wrong")
            if attempt.image is not None:
                parts.append(_picture(one.image(attempt.image), "; ".join(filter(None, words)), kind))
            else:
                parts.append(f"<p>{_e('; '.join(filter(None, words)))}</p>")
    return line.task.text, "".join(parts)


def _row_page(path: Path, row: int) -> tuple[str, str]:
    from datasets import Dataset, Image, List
    from pyarrow import parquet

    if not path.is_file():
        raise InputError(f"there is no file {path}; make it: itk-embodied train data sets")
    rows = Dataset(parquet.read_table(path, memory_map=True)).cast_column("images", List(Image(decode=False)))
    _check(row, len(rows), path)
    sample = rows[row]
    pictures = [_figure(picture["bytes"], f"picture {i}") for i, picture in enumerate(sample.pop("images"))]
    parts: list[str] = []
    for segment in sample.pop("segments", ()):
        shown = pictures[segment["image"]] if segment["image"] >= 0 else ""
        parts.append(
            f"<h3>{_e(segment['kind'])}</h3>{shown}" + (f"<pre>{_e(segment['text'])}</pre>" if segment["text"] else "")
        )
    if not parts:
        parts += pictures
    for message in sample.pop("messages", None) or sample.pop("prompt", None) or ():
        parts.append(f"<h3>{_e(message['role'])}</h3><pre>{_e(message['content'])}</pre>")
    return f"{path.parent.name} {row}: {sample.get('task', '')}", _facts(sample) + "".join(parts)
