"""Trajectories in shards, one folder each: resumable, the same whoever makes them.

A shard is also a shard of pairs (see `itk_embodied.training.shards`): ``before.npy``, ``after.npy``, the masks and
``pairs.jsonl`` hold the ground truth of every judged step, with the picture that the step really started from. Beside
them lie ``attempts.npy`` (every painted picture), ``frames.npy`` (the camera frames) and ``trajectories.jsonl``. Every
20th shard is held out: other scenes, other wording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from itk_embodied.errors import ConfigError, InputError
from itk_embodied.training.fanout import fan_out
from itk_embodied.training.rollouts.roles import Roles
from itk_embodied.training.shards import is_held_out, new_shard, shard_folder, write_records
from itk_embodied.types import Image

SETTINGS_FILE, LINES_FILE = "rollouts.json", "trajectories.jsonl"


@dataclass(frozen=True)
class RolloutSettings:
    """What fixes the content of a folder of rollouts.

    Attributes:
        stack: the agents: a shipped name or a TOML file. judge: ``simulator`` or a TOML file.
        attempts, misled, image_px, families: see `itk_embodied.training.rollouts.roll.Roller`.
        shard_size: trajectories in a shard.
    """

    stack: str = "embedded"
    judge: str = "simulator"
    attempts: int = 3
    misled: float = 0.3
    image_px: int = 128
    shard_size: int = 25
    seed: int = 0
    families: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.shard_size < 1 or self.image_px < 64:
            raise InputError(
                f"attempts {self.attempts}, shard size {self.shard_size}, image {self.image_px} px were given; "
                "allowed: 1 or more, 1 or more, 64 or more."
            )
        if not 0 <= self.misled <= 1:
            raise InputError(f"misled is {self.misled}; it is a share from 0 to 1.")


def make_rollouts(
    out: Path,
    trajectories: int,
    settings: RolloutSettings,
    *,
    workers: int = 1,
    ray: bool = False,
    first: int = 0,
    roles: Callable[[RolloutSettings], Roles] | None = None,
    progress: bool = True,
) -> int:
    """Roll what is missing of ``trajectories`` under ``out``; returns how many shards were made now.

    Args:
        first: the first shard's number, so that several machines can share one data set.
        roles: makes the agents in every worker; default: those of the settings' stack and judge.

    Raises:
        ConfigError: ``out`` holds rollouts made with other settings.
    """
    if trajectories < 1:
        raise InputError(f"trajectories is {trajectories}; it must be 1 or more.")
    _claim(out, settings)
    numbers = range(first, first + -(-trajectories // settings.shard_size))
    todo = [number for number in numbers if not shard_folder(out, number).exists()]
    work = ShardMaker(str(out.resolve()), settings, roles or load_roles)
    with tqdm(total=len(todo) * settings.shard_size, unit="trajectory", desc="rollouts", disable=not progress) as bar:
        right = painted = 0
        for done in fan_out(todo, work, workers=workers, ray=ray):
            right, painted = right + int(done["right"]), painted + int(done["painted"])
            bar.set_postfix_str(f"{right}/{painted} pictures right")
            bar.update(settings.shard_size)
    return len(todo)


def load_roles(settings: RolloutSettings) -> Roles:
    """The agents of a stack and the judge, models loaded."""
    from itk_embodied.agents.stacks import load_stack
    from itk_embodied.mesa import load_triton_first
    from itk_embodied.training.judge import load_judge

    load_triton_first()
    judge = load_judge(settings.judge)
    stack = load_stack(settings.stack)
    return Roles(stack.planner, stack.generator, stack.critic, judge, stack.name)


def read_settings(out: Path) -> RolloutSettings:
    """What a folder's rollouts were made with. Raises InputError where there are none."""
    path = Path(out) / SETTINGS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RolloutSettings)
    except FileNotFoundError:
        raise InputError(f"{out} has no rollouts; make some: itk-embodied train data rollouts --out {out}") from None
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _claim(out: Path, settings: RolloutSettings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / SETTINGS_FILE
    if path.exists():
        there, wanted = asdict(read_settings(out)), asdict(settings)
        other = [name for name in wanted if there[name] != wanted[name]]
        if other:
            told = ", ".join(f"{name} {there[name]!r} instead of {wanted[name]!r}" for name in other)
            raise ConfigError(f"{out} holds rollouts made with {told}; give another --out, or the same settings.")
        return
    staging = path.with_suffix(".partial")
    staging.write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    staging.replace(path)


@dataclass
class ShardMaker:
    """Makes one shard a call; loads the agents and opens the table at the first."""

    out: str
    settings: RolloutSettings
    roles: Callable[[RolloutSettings], Roles]
    _roller: Any = field(default=None, repr=False)

    def __call__(self, number: int) -> dict[str, Any]:
        from itk_embodied.training.rollouts.roll import Rolled

        roller = self._open()
        rolled: list[Rolled] = []
        images = rows = 0
        for index in range(self.settings.shard_size):
            seed = [self.settings.seed, 73, number, index]
            one = roller.roll(index, seed, held_out=is_held_out(number), images=images, rows=rows)
            images, rows = images + len(one.images), rows + len(one.records)
            rolled.append(one)
        _write(Path(self.out), number, rolled, self.settings.image_px)
        judged = [a.judged for one in rolled for step in one.line.steps for a in step.attempts if a.judged is not None]
        return {"shard": number, "painted": len(judged), "right": sum(one.success for one in judged)}

    def _open(self) -> Any:
        if self._roller is None:
            from itk_embodied.training.rollouts.roll import Roller
            from itk_sim.table import Table

            chosen, roles = self.settings, self.roles(self.settings)
            self._roller = Roller(Table(), roles, chosen.attempts, chosen.misled, chosen.image_px, chosen.families)
        return self._roller

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_roller": None}


def _write(out: Path, number: int, rolled: list[Any], side: int) -> None:
    """All of a shard, or nothing."""
    with new_shard(out, number) as staging:
        write_records(staging, [record for one in rolled for record in one.records], side)
        np.save(staging / "frames.npy", _stack([one.frame for one in rolled], side))
        np.save(staging / "attempts.npy", _stack([image for one in rolled for image in one.images], side))
        (staging / LINES_FILE).write_bytes(b"".join(msgspec.json.encode(one.line) + b"\n" for one in rolled))


def _stack(images: list[Image], side: int) -> np.ndarray:
    return np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)
