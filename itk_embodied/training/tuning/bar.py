"""A progress bar with the few figures that say how a TRL run is going, in place of a line of forty for every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback


class StepBar(TrainerCallback):
    """``shown``: short name -> the log's name."""

    def __init__(self, label: str, shown: Mapping[str, str]) -> None:
        self.label, self.shown = label, shown
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **ignored: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", desc=self.label)

    def on_step_end(self, args: Any, state: Any, control: Any, **ignored: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **ignored: Any) -> None:
        figures = {name: f"{logs[key]:.3f}" for name, key in self.shown.items() if logs and key in logs}
        if self.bar is not None and figures:
            self.bar.set_postfix(figures)

    def on_train_end(self, args: Any, state: Any, control: Any, **ignored: Any) -> None:
        if self.bar is not None:
            self.bar.close()


def show_progress(trainer: Any, label: str, shown: Mapping[str, str], wanted: bool) -> None:
    """Put the bar in place of the library's own output; without ``wanted`` there is none at all."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if wanted:
        trainer.add_callback(StepBar(label, shown))
