"""The stages that make the embedded planner and critic: look first, then each learns its own task from there.

Looking comes first because nothing else is learnt before a model can say where things are; planner and critic part ways
after it because tuning one for its task spoils the other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from itk_embodied.errors import ConfigError
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.vlm_batch import Example
from itk_embodied.training.vlm_train import TinyTrainer, TinyTraining

if TYPE_CHECKING:
    from itk_embodied.training.critic_generated import Gallery

Stage: TypeAlias = Literal["look", "planner", "critic", "both"]

PAINTED_SHARE, PAINTED_RIGHT = 0.6, 0.5
"""How often the critic judges a generator's picture, and how many of these are right."""

BLIND: tuple[Stage, ...] = ("planner", "both")
"""Stages with examples without a picture."""

PRESETS: dict[str, TinyTraining] = {
    "look": TinyTraining(out=Path("runs/look"), examples=40_000),
    "planner": TinyTraining(
        out=Path("runs/planner"),
        examples=80_000,
        start=Path("runs/look/checkpoint"),
        pair_frames=False,
        dense_weight=0.3,
        text_layers=6,
        blind_share=0.6,
    ),
    "critic": TinyTraining(out=Path("runs/critic"), examples=80_000, start=Path("runs/look/checkpoint")),
    # As many examples as planner and critic have together, and the planner's depth.
    "both": TinyTraining(
        out=Path("runs/both"),
        examples=90_000,
        start=Path("runs/look/checkpoint"),
        text_layers=6,
        blind_share=0.6,
    ),
}


def train_stage(
    stage: Stage,
    *,
    data: Path = Path("data/pairs"),
    generated: Path | None = None,
    progress: bool = True,
    **changes: object,
) -> Path:
    """Run a stage with its preset, changed where asked; goes on where it stopped. Returns the checkpoint's folder.

    ``generated`` holds a generator's pictures for the critic (see `critic_generated`), by default beside ``data``; so
    do rollouts and walks, where there are some.
    """
    config = replace(PRESETS[stage], **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    if config.blind_share and stage not in BLIND:
        raise ConfigError(
            f"{stage} was given a blind share of {config.blind_share}; only {' and '.join(BLIND)} have one."
        )
    shards = ShardSet(data)
    if not len(shards):
        raise ConfigError(f"{data} has no pairs; make some: itk-embodied train data pairs --out {data}")
    if config.start is not None and not config.start.exists():
        raise ConfigError(f"{config.start} is not there; train the stage before it: itk-embodied train tiny look")

    from itk_embodied.training.critic_generated import Gallery

    gallery = Gallery(shards, generated or data.parent / "generated", data.parent / "rollouts", data.parent / "walks")

    def source(rng: np.random.Generator, blind: bool = False) -> Example:
        return example_of(stage, shards, rng, gallery, blind=blind)

    def refresh() -> None:
        shards.refresh()
        gallery.refresh()

    return TinyTrainer(config, source, refresh).train(progress=progress, label=stage)


def example_of(
    stage: Stage,
    shards: ShardSet,
    rng: np.random.Generator,
    gallery: Gallery | None = None,
    *,
    blind: bool = False,
) -> Example:
    """One random example of a stage. With a ``gallery`` the critic also judges what a generator painted; ``blind``
    asks for one without a picture, which the planner has. Of the pictures of ``both`` each role has half."""
    from itk_embodied.training.critic_data import critic_example, look_example
    from itk_embodied.training.critic_generated import painting_example
    from itk_embodied.training.planner_data import blind_example, planner_example

    record = shards[int(rng.integers(len(shards)))]
    if stage == "look":
        return look_example(record, rng)
    if stage == "planner" or (stage == "both" and (blind or rng.random() < 0.5)):
        return blind_example(record, rng) if blind else planner_example(record, rng)
    if gallery is not None and gallery.right and gallery.wrong and rng.random() < PAINTED_SHARE:
        return painting_example(gallery.draw(rng, right=rng.random() < PAINTED_RIGHT), rng)
    return critic_example(record, rng)
