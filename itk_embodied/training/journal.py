"""What every training run keeps in its folder: settings, a log of JSON lines, a curve, and a state to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


class Journal:
    """A run's folder. Files are replaced in one move, so a killed run always leaves the last whole state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, **values: Any) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def save_state(self, tensors: dict[str, Tensor], counters: dict[str, float]) -> None:
        staging = self.folder / "state.partial"
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, staging, {"counters": json.dumps(counters)})
        staging.replace(self.folder / "state.safetensors")

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, float]] | None:
        path = self.folder / "state.safetensors"
        if not path.exists():
            return None
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            counters = json.loads(file.metadata()["counters"])
        return load_file(path), counters

    def curve(self, keys: Iterable[str], x: str = "step") -> None:
        """``curve.png``: one panel a key, over ``x``."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        lines, keys = self.lines(), list(keys)
        figure, axes = plt.subplots(1, len(keys), figsize=(4.5 * len(keys), 3.2), squeeze=False)
        for axis, key in zip(axes[0], keys, strict=True):
            points = [(line[x], line[key]) for line in lines if key in line and x in line]
            axis.plot([p[0] for p in points], [p[1] for p in points])
            axis.set(xlabel=x, title=key)
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.folder / "curve.png", dpi=110)
        plt.close(figure)


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str = "opt") -> dict[str, Tensor]:
    """An optimiser's state as plain tensors, for a checkpoint without pickle."""
    tensors = {}
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"{prefix}.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "opt") -> None:
    """The inverse of `optimiser_tensors`, for an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix + "."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    # A fused step walks memory, so the averages must lie in it as their parameter does.
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter).copy_(value)
