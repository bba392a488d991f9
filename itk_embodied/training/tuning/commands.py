"""``itk-embodied train planner | critic | critic-rl | generator-lora | launcher``. Heavy parts load when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from itk_embodied.errors import ConfigError, did_you_mean

LAUNCH_HELP = """

On several GPUs, start it with accelerate and one of the launcher files that come with the package (`itk-embodied train
launcher` lists fsdp, deepspeed-zero2, deepspeed-zero3, multi-gpu):

accelerate launch --config_file $(itk-embodied train launcher fsdp) -m itk_embodied train …
"""

ModelOption = Annotated[
    str, typer.Option("--model", metavar="HUB_ID|DIR", help="The Qwen3-VL to start from; package:checkpoints/… too.")
]
RowsOption = Annotated[
    list[Path], typer.Option("--data", metavar="PARQUET", help="A parquet file or a folder of them; may be repeated.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The run's folder; a run that is in it goes on.")]
LoraOption = Annotated[bool, typer.Option("--lora/--full", help="Train a LoRA adapter, or all weights.")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="Stop after so many steps, not epochs.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change an argument of TRL's configuration.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Everything random comes from this number.", min=0)]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: torch's.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``itk-embodied train``."""
    for role, presets in (("planner", "planner-8b, planner-tiny"), ("critic", "critic-8b, critic-tiny")):
        text = (
            f"Fine-tune an existing Qwen3-VL as {role}: TRL's SFT on parquet rows, full or LoRA. Presets: {presets}. "
            f"(From nothing: train tiny {role}.)"
        )
        app.command(role, help=text + LAUNCH_HELP)(_sft(role))
    app.command("critic-rl", help=_RL_HELP + LAUNCH_HELP)(critic_rl)
    app.command("generator-lora", help=_LORA_HELP + LAUNCH_HELP)(generator_lora)
    app.command("launcher")(launcher)


def _sft(role: str) -> Any:
    def command(
        model: ModelOption,
        data: RowsOption,
        out: OutOption = Path(f"runs/{role}-sft"),
        preset: Annotated[str, typer.Option("--preset", metavar="NAME|TOML", help="Settings.")] = f"{role}-8b",
        lora: LoraOption = False,
        steps: StepsOption = None,
        change: SetOption = None,
        seed: SeedOption = 0,
        threads: ThreadsOption = None,
    ) -> None:
        from itk_embodied.training.tuning.sft import fine_tune

        _use_threads(threads)
        folder = fine_tune(
            role,  # type: ignore[arg-type]
            model,
            data,
            out,
            preset=preset,
            lora=lora,
            steps=steps,
            changes=change or (),
            seed=seed,
        )
        _say(folder, role, model, lora=lora)

    return command


_RL_HELP = (
    "Reinforce a critic: TRL's GRPO on single steps. Reward: format, accuracy, and what the refined prompt makes "
    "better when the step is painted again and judged against the original instruction. Goes on where it stopped."
)


def critic_rl(
    model: ModelOption = "package:checkpoints/critic",
    sets: Annotated[
        Path | None,
        typer.Option("--sets", help="Folder of training sets: cases from its critic_rl, not from --painted."),
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Ground truth of the cases: pairs, or rollouts.")] = Path(
        "data/pairs"
    ),
    painted: Annotated[Path, typer.Option("--painted", help="A generator's paintings of the pairs.")] = Path(
        "data/generated"
    ),
    judge: Annotated[str, typer.Option("--judge", metavar="simulator|TOML", help="Who scores.")] = "simulator",
    out: OutOption = Path("runs/critic-rl"),
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME|TOML", help="critic-rl-tiny, critic-rl-8b, or your own.")
    ] = "critic-rl-tiny",
    stack: Annotated[str, typer.Option("--stack", help="Whose generator paints the refined prompts.")] = "embedded",
    form: Annotated[str | None, typer.Option("--reward", help="paper | released-code; default: the preset's.")] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", min=0, max=1, help="The accuracy's share, in the paper's form.")
    ] = None,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="How many; default: all there are.")] = None,
    true_share: Annotated[
        float, typer.Option("--true-share", min=0, max=1, help="How many of them are right already.")
    ] = 0.5,
    lora: LoraOption = False,
    steps: StepsOption = None,
    change: SetOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
) -> None:
    from itk_embodied.training.tuning.rl_run import train_critic_rl

    _use_threads(threads)
    folder = train_critic_rl(
        model,
        data,
        painted,
        out,
        preset=preset,
        sets=sets,
        judge=judge,
        stack=stack,
        form=form,  # type: ignore[arg-type]
        alpha=alpha,
        cases=cases,
        true_share=true_share,
        lora=lora,
        steps=steps,
        changes=change or (),
        seed=seed,
    )
    print((out / "summary.json").read_text(), end="")
    _say(folder, "critic", model, lora=lora)


_LORA_HELP = (
    "LoRA of a large edit model (FLUX.2 klein, FLUX.1 Kontext, Qwen-Image-Edit-Plus, InstructPix2Pix) on the "
    "simulator's pairs. The class is read from the checkpoint. Goes on where it stopped."
)


def generator_lora(
    model: Annotated[str, typer.Option("--model", metavar="HUB_ID|DIR", help="The diffusers pipeline.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the pairs.")] = Path("data/pairs"),
    out: OutOption = Path("runs/generator-lora"),
    preset: Annotated[str, typer.Option("--preset", metavar="NAME|TOML", help="Settings.")] = "generator-lora",
    resolution_px: Annotated[
        int | None, typer.Option("--resolution-px", min=32, help="Working size; default: the pipeline's own.")
    ] = None,
    steps: StepsOption = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change the preset, such as lora.r=16.")
    ] = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
) -> None:
    from itk_embodied.training.tuning.generator_lora import tune_generator

    _use_threads(threads)
    folder = tune_generator(
        model, data, out, preset=preset, resolution_px=resolution_px, steps=steps, changes=change or (), seed=seed
    )
    _say(folder, "generator", model, lora=True)


def launcher(
    name: Annotated[str | None, typer.Argument(help="fsdp, deepspeed-zero2, deepspeed-zero3 or multi-gpu.")] = None,
) -> None:
    """The path of a launcher file for accelerate; without a name, all of them."""
    from itk_embodied.training.tuning.presets import launcher_files

    there = launcher_files()
    if name is not None and name not in there:
        raise ConfigError(f"there is no launcher file {name!r}; {did_you_mean(name, there)}")
    for path in [there[name]] if name else sorted(there.values()):
        print(path)


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _say(folder: Path, role: str, model: str, *, lora: bool) -> None:
    """Where it is, and the lines that put it into a stack."""
    print(f"{folder}\nIn a stack file:\n[{role}]")
    print(f'checkpoint = "{model}"\nlora = "{folder.resolve()}"' if lora else f'checkpoint = "{folder.resolve()}"')
