"""A run's folder: what it was started with, its last whole checkpoint, and its curves.

A process may die at any instant, in the middle of writing a checkpoint too. `transformers` writes its state file
``trainer_state.json`` last, so a checkpoint that has it is whole; one without it is passed over.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itk_embodied.errors import ConfigError

SETTINGS_FILE, DONE_FILE = "settings.json", "done.json"


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; None where there is none."""
    found = []
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if not number.isdigit():
            continue
        try:
            state = json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        if state.get("global_step") == int(number):
            found.append((int(number), path))
    return max(found)[1] if found else None


def claim(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """Make the folder this run's own, and return the checkpoint to go on from. A run whose learning rate does not hang
    on its length may be given more steps.

    Raises:
        ConfigError: the folder holds a run with other settings; names them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS_FILE
    wanted = json.loads(json.dumps(settings, default=str))
    if path.exists():
        there = json.loads(path.read_text())
        other = [key for key in sorted({*there, *wanted}) if there.get(key) != wanted.get(key)]
        if other == ["preset"] and _longer(there["preset"], wanted["preset"]):
            other = []
        begun = last_whole_checkpoint(folder) is not None or (folder / "state.safetensors").exists()
        if other and begun:
            raise ConfigError(
                f"{folder} holds a run with another {', '.join(other)}; give another --out, or the same settings to "
                "go on with it."
            )
    resume = last_whole_checkpoint(folder)
    if resume is None:
        (folder / DONE_FILE).unlink(missing_ok=True)  # its checkpoints were cleared away, so as to start anew
    staging = path.with_suffix(".partial")
    staging.write_text(json.dumps(wanted, indent=2) + "\n")
    staging.replace(path)
    return resume


def note_done(folder: Path, steps: int) -> None:
    """Say that a run has made so many steps and its outcome is saved."""
    staging = (folder / DONE_FILE).with_suffix(".partial")
    staging.write_text(json.dumps({"steps": steps}) + "\n")
    staging.replace(folder / DONE_FILE)


def is_done(folder: Path, steps: int) -> bool:
    """Whether a run has made all its ``steps`` (-1: those that its epochs come to) and its outcome is saved. A trainer
    that is told to go on from there makes another step."""
    path = folder / DONE_FILE
    return path.is_file() and json.loads(path.read_text())["steps"] >= steps


def _longer(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether settings are the same but for more steps, and so many steps are the same in both."""
    steps = there.get("max_steps", -1), wanted.get("max_steps", -1)
    same = {**there, "max_steps": steps[1]} == {**wanted, "max_steps": steps[1]}
    constant = str(wanted.get("lr_scheduler_type", "linear")).startswith("constant")
    return same and constant and 0 < steps[0] < steps[1]


def write_curves(
    folder: Path, history: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, picture: bool = True
) -> None:
    """``curves.csv`` and ``curves.png`` of a trainer's log history; ``columns``: our name -> the log's name."""
    lines = [line for line in history if any(key in line for key in columns.values())]
    present = {name: key for name, key in columns.items() if any(key in line for line in lines)}
    staging = folder / "curves.partial"
    with staging.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *present])
        for line in lines:
            writer.writerow([line.get("step"), *[line.get(key, "") for key in present.values()]])
    staging.replace(folder / "curves.csv")
    if picture and lines:
        _draw(folder / "curves.png", lines, present)


def _draw(path: Path, lines: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(4, max(len(columns), 1))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(3.6 * across, 2.6 * down), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, key) in enumerate(columns.items()):
        axis = figure.add_subplot(down, across, number + 1)
        points = [(line["step"], float(line[key])) for line in lines if key in line and "step" in line]
        steps, values = [p[0] for p in points], [p[1] for p in points]
        axis.plot(steps, values, alpha=0.35 if len(points) > 8 else 1.0, lw=1)
        if len(points) > 8:
            axis.plot(steps, _smooth(values), lw=1.6)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    staging = path.with_name(".curves.partial.png")
    figure.savefig(staging, dpi=110)
    staging.replace(path)


def _smooth(values: Sequence[float]) -> list[float]:
    """Exponential mean of about ten points, started without bias."""
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        mean, weight = 0.9 * mean + 0.1 * value, 0.9 * weight + 0.1
        out.append(mean / weight)
    return out
