"""``itk-embodied train critic-rl``: puts cases, generator and judge together, and starts or goes on with the run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from itk_embodied.agents.base import Generator
from itk_embodied.agents.registry import RoleSpec, convert_table
from itk_embodied.agents.stacks import build_role, read_stack
from itk_embodied.errors import ConfigError
from itk_embodied.training.judge.choose import load_judge
from itk_embodied.training.tuning.cases import PaintedCases
from itk_embodied.training.tuning.critic_reward import Cases
from itk_embodied.training.tuning.critic_rl import reinforce
from itk_embodied.training.tuning.presets import RewardSettings, changed, load_preset
from itk_embodied.training.tuning.rewards import Form
from itk_embodied.training.tuning.set_cases import SetCases

CASES_FILE = "cases.json"


def train_critic_rl(
    model: str,
    data: Path,
    painted: Path,
    out: Path,
    *,
    preset: str,
    sets: Path | None = None,
    judge: str = "simulator",
    stack: str = "embedded",
    form: Form | None = None,
    alpha: float | None = None,
    cases: int | None = None,
    true_share: float = 0.5,
    lora: bool = False,
    steps: int | None = None,
    changes: Sequence[str] = (),
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Reinforce a critic. Returns the folder to use in a stack. Raises as `critic_rl.reinforce` does.

    Args:
        data: shards with the ground truth of the cases: pairs, or the rollouts that ``sets`` were made from.
        painted: a generator's paintings of ``data``: the cases, unless ``sets`` names a folder of training sets.
        judge: ``simulator`` or a TOML file, see `itk_embodied.training.judge.choose`.
    """
    settings = changed(load_preset(preset, "critic-rl"), changes, steps=steps, lora=lora)
    chosen = {"form": form, "alpha": alpha}
    given = {name: value for name, value in chosen.items() if value is not None}
    reward = convert_table(msgspec.structs.asdict(settings.reward) | given, RewardSettings, "the reward's settings")
    settings = msgspec.structs.replace(settings, reward=reward)
    role = tuned_generator(read_stack(stack).generator, settings.generator)
    scorer = load_judge(judge)
    _own_gpu()
    generator: Generator = build_role(role)
    source: Cases
    if sets is not None:
        truth = data if scorer.name == "simulator" else None
        source, where = SetCases.load(sets, truth, cases, seed), {"sets": str(sets), "cases": cases}
    else:
        source, where = frozen_cases(data, painted, out, cases, true_share, seed), {"painted": str(painted)}
    return reinforce(
        model,
        source,
        generator,
        scorer,
        out,
        settings,
        about={"stack": stack, "data": str(data), "judge": scorer.name, **where},
        lora=lora,
        seed=seed,
        progress=progress,
    )


def _own_gpu() -> None:
    """Under a launcher every process has a GPU of its own; the generator must go to that one too."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def tuned_generator(role: RoleSpec, changes: Mapping[str, Any]) -> RoleSpec:
    """The stack's generator with a preset's changes. Raises ConfigError: it has no such setting."""
    if not changes:
        return role
    if not isinstance(role.settings, msgspec.Struct):
        raise ConfigError(f"a generator of kind {role.kind} has no settings that a preset could change")
    unknown = set(changes) - set(role.settings.__struct_fields__)
    merged = {**msgspec.structs.asdict(role.settings), **{k: v for k, v in changes.items() if k not in unknown}}
    if unknown:
        raise ConfigError(f"the preset's [generator] has {', '.join(sorted(unknown))}, which {role.kind} does not know")
    settings = convert_table(merged, type(role.settings), "the preset's [generator]")
    return RoleSpec(role.role, role.kind, settings, role.folder)


def frozen_cases(data: Path, painted: Path, out: Path, count: int | None, true_share: float, seed: int) -> PaintedCases:
    """The run's cases: drawn once and written down, so that a run that goes on has the same, whatever came since."""
    path = out / CASES_FILE
    asked = {"count": count, "true_share": true_share, "seed": seed}
    if path.exists():
        there = json.loads(path.read_text())
        if there["asked"] != asked:
            raise ConfigError(f"{out} holds a run with other cases ({there['asked']}); give another --out.")
        return PaintedCases.of(data, painted, there["keys"])
    chosen = PaintedCases.choose(data, painted, count, true_share, seed)
    out.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".partial")
    staging.write_text(json.dumps({"asked": asked, "keys": chosen.keys}))
    staging.replace(path)
    return chosen
