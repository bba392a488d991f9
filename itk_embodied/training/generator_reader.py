"""Training of the generator's reader: sentences to slots. Text only, so it takes minutes."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from itk_embodied.agents.generators.words import StepReader
from itk_embodied.training.generator_model import GeneratorTraining, new_reader
from itk_embodied.training.generator_text import slot_values
from itk_sim.language import grounded, instruction, word_step
from itk_sim.lexicon import Split
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, GRID, MATS, TABLE, SceneState, Step

FREE, CANONICAL = 0.6, 0.2
"""Shares of free and canonical wording; the rest says where things are."""
BATCH, LR = 64, 2e-3


def random_step(rng: np.random.Generator) -> Step:
    """Any step that can be said, every relation about as often."""
    relation = str(rng.choice(["open", "close", "at", "in", "on", "on", "stack", *DIRECTIONS]))
    if relation in ("open", "close"):
        return Step("open" if relation == "open" else "close")
    cube = str(rng.choice(CUBES))
    if relation == "at":
        return Step("place", cube, "at", None, (int(rng.integers(GRID)), int(rng.integers(GRID))))
    others = tuple(other for other in CUBES if other != cube)
    targets = {"in": (*BOWLS, DRAWER), "on": (*MATS, TABLE), "stack": others}
    target = str(rng.choice(targets.get(relation, (*others, *BOWLS, *MATS))))
    return Step("place", cube, "on" if relation == "stack" else relation, target)  # type: ignore[arg-type]


def random_state(rng: np.random.Generator) -> SceneState:
    """A scene with everything, anywhere: only its pixels are used, for sentences with places."""
    names = (*CUBES, *BOWLS, *MATS, DRAWER)
    pixel = {name: (float(u), float(v)) for name, (u, v) in zip(names, rng.random((len(names), 2)), strict=True)}
    return SceneState(CUBES, BOWLS, MATS[0], "open", {}, {}, pixel, {})


def sentence(step: Step, rng: np.random.Generator, split: Split = "train") -> str:
    draw = rng.random()
    if draw < FREE:
        return word_step(step, rng, split)
    return instruction(step) if draw < FREE + CANONICAL else grounded(step, random_state(rng))


def _examples(reader: StepReader, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    steps = [random_step(rng) for _ in range(count)]
    slots = torch.tensor([slot_values(step) for step in steps])
    return reader.tokens([sentence(step, rng) for step in steps]), slots


def train_reader(reader: StepReader, steps: int, seed: int = 0) -> float:
    """Train in place; returns the last batches' loss."""
    rng = np.random.default_rng([seed, 77])
    own = [parameter for name, parameter in reader.named_parameters() if not name.startswith("tables.")]
    optimiser = torch.optim.AdamW(own, LR, betas=(0.9, 0.98), weight_decay=0.01)
    losses: list[float] = []
    for step in tqdm(range(steps), desc="reader", unit="batch", mininterval=5):
        tokens, slots = _examples(reader, rng, BATCH)
        scores = reader.read(tokens)
        loss = torch.stack([F.cross_entropy(score, slots[:, i]) for i, score in enumerate(scores)]).sum()
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        torch.nn.utils.clip_grad_norm_(own, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-50:])) if losses else math.nan


@torch.no_grad()
def accuracy(reader: StepReader, split: Split, count: int = 2000, seed: int = 1) -> float:
    """Share of freely worded sentences of which every slot is read right."""
    rng = np.random.default_rng(seed)
    steps = [random_step(rng) for _ in range(count)]
    scores = reader.read(reader.tokens([word_step(step, rng, split) for step in steps]))
    right = torch.stack([score.argmax(-1) for score in scores], 1) == torch.tensor([slot_values(s) for s in steps])
    return float(right.all(1).float().mean())


def read_sentences(config: GeneratorTraining) -> dict[str, Tensor]:
    """The trained reader's weights, named as `Editor` has them; trained now unless ``config.out`` has them."""
    path = config.out / "reader.safetensors"
    if not path.exists():
        if config.reader_steps == 0:
            return {}
        torch.manual_seed(config.seed)
        reader = new_reader(config.words_width).train()
        train_reader(reader, config.reader_steps, config.seed)
        kept = {k: v.contiguous() for k, v in reader.state_dict().items() if not k.startswith("tables.")}
        save_file(kept, path)
    return {f"text_encoder.{k}": v for k, v in load_file(path).items()}
