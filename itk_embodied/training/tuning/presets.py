"""What a run is made of: a preset from the package or a TOML file, changed where the command line says so."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from itk_embodied.agents.registry import convert_table
from itk_embodied.errors import ConfigError, did_you_mean

TunedRole: TypeAlias = Literal["planner", "critic", "critic-rl", "generator"]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class LoraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Low-rank adapters (arXiv 2106.09685) on the language model's matrices, or a denoiser's attention.

    Attributes:
        r, alpha, dropout: rank, scale (the adapter counts alpha / r), dropout.
        learning_rate: takes the place of the preset's, which is for full fine-tuning.
        targets: ends of the names of the layers that get an adapter; empty for the usual ones.
    """

    r: Positive = 16
    alpha: Annotated[float, Meta(gt=0)] = 32
    dropout: Share = 0.0
    learning_rate: Annotated[float, Meta(gt=0)] | None = None
    targets: tuple[str, ...] = ()


class RewardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `itk_embodied.training.tuning.rewards`. ``alpha``: the accuracy's share, in the paper form."""

    form: Literal["paper", "released-code"] = "paper"
    alpha: Share = 0.2


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a run on a vision-language model.

    Attributes:
        role: what the run makes.
        prompt: the prompt file to ask with, where the training data has no words of its own (painted cases).
        freeze: parts that do not learn: ``vision`` (the tower) and ``projector`` (its mergers).
        lora: used where LoRA is asked for.
        generator: changes of the stack's generator while it paints for rewards, such as fewer steps.
        arguments: passed to ``trl.SFTConfig`` or ``trl.GRPOConfig`` as they are.
    """

    description: str
    role: TunedRole
    prompt: str = ""
    freeze: tuple[Literal["vision", "projector"], ...] = ()
    lora: LoraSettings = LoraSettings()
    reward: RewardSettings = RewardSettings()
    generator: Mapping[str, Any] = {}
    arguments: Mapping[str, Any] = {}


P = TypeVar("P", bound=msgspec.Struct)


def preset_names(role: str | None = None) -> tuple[str, ...]:
    """The shipped presets, of one role or all."""
    names = sorted(f.name.removesuffix(".toml") for f in _folder("presets").iterdir() if f.name.endswith(".toml"))
    return tuple(n for n in names if role is None or read_table(n).get("role") == role)


def read_table(name_or_path: str) -> dict[str, Any]:
    """The TOML table of a shipped preset, or of a file of one's own (a path that ends in .toml)."""
    if name_or_path.endswith(".toml"):
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"preset file {name_or_path} cannot be read: {error.strerror or error}") from error
    else:
        known = sorted(f.name.removesuffix(".toml") for f in _folder("presets").iterdir() if f.name.endswith(".toml"))
        if name_or_path not in known:
            raise ConfigError(f"there is no preset {name_or_path!r}; {did_you_mean(name_or_path, known)}")
        text = _folder("presets").joinpath(f"{name_or_path}.toml").read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name_or_path} is not valid TOML: {error}") from error


def load_preset(name_or_path: str, role: TunedRole, struct: type[P] = Preset) -> P:  # type: ignore[assignment]
    """Read and check a preset. Raises ConfigError: unknown, malformed, or made for another role."""
    preset = convert_table(read_table(name_or_path), struct, f"preset {name_or_path}")
    if preset.role != role:
        raise ConfigError(
            f"preset {name_or_path} is for {preset.role}, not {role}; there are: {', '.join(preset_names(role))}."
        )
    return preset


def changed(preset: Preset, changes: Iterable[str], *, steps: int | None = None, lora: bool = False) -> Preset:
    """The preset with ``name=value`` changes of its arguments; LoRA brings its own learning rate, unless changed."""
    arguments = dict(preset.arguments)
    if lora and preset.lora.learning_rate is not None:
        arguments["learning_rate"] = preset.lora.learning_rate
    arguments |= dict(parse_change(change) for change in changes)
    if steps is not None:
        arguments["max_steps"] = steps
    return msgspec.structs.replace(preset, arguments=arguments)


def parse_change(change: str) -> tuple[str, Any]:
    """``NAME=VALUE``; the value as TOML reads it, else as a plain string. Raises ConfigError."""
    name, equals, value = change.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {change!r}: expected NAME=VALUE, such as learning_rate=1e-5.")
    try:
        return name.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def launcher_files() -> dict[str, Path]:
    """The shipped launcher files for accelerate, by name."""
    return {f.name.removesuffix(".yaml"): Path(str(f)) for f in _folder("launch").iterdir() if f.name.endswith(".yaml")}


def _folder(name: str) -> Any:
    return files(__package__).joinpath(name)
