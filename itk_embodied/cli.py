"""``itk-embodied``: one command for all of it. Heavy parts load only when a command needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from itk_embodied.bag_commands import register_bags
from itk_embodied.bridges.bench.commands import register as register_transport_bench
from itk_embodied.errors import InputError, ItkError
from itk_embodied.evaluation.ablation.command import ablation
from itk_embodied.evaluation.drift_command import drift
from itk_embodied.ros.bench.commands import register as register_ros_bench
from itk_embodied.serve.commands import register as register_service
from itk_embodied.training.data_commands import register as register_data
from itk_embodied.training.tuning.commands import register as register_tuning

NOT_DONE = 4
"""Exit code where everything ran but the job was not done: a refusal, an unverified step, a task not achieved."""

app = typer.Typer(
    name="itk-embodied",
    help="Verified visual subgoals for robots: plan the steps, paint each goal image, check it, publish it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
bench_app = typer.Typer(help="Measure: seconds in each role, and what the rest costs.", no_args_is_help=True)
train_app = typer.Typer(
    help="Make data from the simulator; train the small models from nothing (tiny, generator), fine-tune existing ones "
    "of any size (planner, critic, critic-rl, generator-lora).",
    no_args_is_help=True,
)
tiny_app = typer.Typer(
    help="The embedded planner and critic from random weights: our own curriculum and trainer, on a CPU in hours.",
    no_args_is_help=True,
)
eval_app = typer.Typer(invoke_without_command=True)
eval_app.command("ablation")(ablation)
eval_app.command("drift")(drift)
app.add_typer(eval_app, name="eval")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")
train_app.add_typer(tiny_app, name="tiny")

StackOption = Annotated[
    str, typer.Option("--stack", help="A shipped stack's name or a TOML file.", metavar="NAME|FILE")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Everything random comes from this number.", min=0)]
AttemptsOption = Annotated[
    int | None, typer.Option("--max-attempts", help="Attempts a step may use; default: the stack's.", min=1, max=20)
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.", dir_okay=False)]
GeneratedOption = Annotated[
    Path, typer.Option("--generated", help="Judged paintings; see itk_embodied.training.critic_generated.")
]
RolloutsOption = Annotated[Path, typer.Option("--rollouts", help="More of them, if it is there.")]
PaintedWalksOption = Annotated[Path, typer.Option("--walks", help="Paintings on paintings, if it is there.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of the shards.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="Processes that draw data ahead, for a GPU.")]


def main(argv: list[str] | None = None) -> None:
    """The console command. Errors of ours are one line on stderr; Ctrl-C exits 130 without a traceback."""
    signal.signal(signal.SIGTERM, _terminate)
    _calm_libraries()
    try:
        result = app(args=argv, standalone_mode=False)
    except ItkError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except typer.Abort:
        _fail("interrupted", 130)
    except typer.Exit as exit_:
        raise SystemExit(exit_.exit_code) from None
    except Exception as error:
        code = _known_foreign_error(error)
        if code is None:
            raise
        _fail(str(error.format_message() if hasattr(error, "format_message") else error), code)
    raise SystemExit(result if isinstance(result, int) else 0)


def _known_foreign_error(error: Exception) -> int | None:
    """Usage errors of the command line and errors of the simulator, which knows nothing of ours."""
    if hasattr(error, "format_message"):  # click's usage errors
        return 2
    if type(error).__module__.startswith("itk_sim"):
        return 2
    return None


def _terminate(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> None:
    print(f"itk-embodied: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def _calm_libraries() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _write_json(path: Path | None, record: dict[str, Any]) -> None:
    """Write in one move, so that a reader never sees half a file."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.partial")
    staging.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    staging.replace(path)


def _version(value: bool) -> None:
    if value:
        from itk_embodied import __version__

        print(f"itk-embodied {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Verified visual subgoals for robots."""


@app.command()
def run(
    image: Annotated[Path, typer.Option("--image", help="A colour picture from the robot's camera.")],
    task: Annotated[str, typer.Option("--task", help="What to do, in a sentence.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for sequence.json, report.html and the PNGs.")],
    stack: StackOption = "embedded",
    seed: SeedOption = 0,
    max_attempts: AttemptsOption = None,
    steps: Annotated[
        list[str] | None, typer.Option("--step", help="A plan of your own, step by step; the planner is not asked.")
    ] = None,
) -> int:
    """One picture and one sentence in, a folder of goal images out. Exit 0 only where every step is verified."""
    from itk_embodied.run import run_once

    done = run_once(image, task, out, stack=stack, seed=seed, max_attempts=max_attempts, steps=steps)
    return 0 if done else NOT_DONE


@app.command()
def demo(
    task: Annotated[str, typer.Option("--task", help="What the arm shall do.")] = "put the red cube in the drawer",
    seed: SeedOption = 7,
    out: Annotated[Path, typer.Option("--out", help="Folder for report.html, sequence.json and PNGs.")] = Path(
        "out/demo"
    ),
    stack: StackOption = "embedded",
) -> int:
    """The whole job in the simulator: camera, node, ZeroMQ, and a policy in its own process that moves the arm."""
    from itk_embodied.demo import run_demo

    return 0 if run_demo(task, seed=seed, out=out, stack=stack) else NOT_DONE


@eval_app.callback()
def evaluate(
    context: typer.Context,
    suite: Annotated[str | None, typer.Option("--suite", help="A named suite of task lines; default: single.")] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="A JSON-lines file of tasks instead of a suite.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option("--episodes", min=1, help="How many; default: 100, or all lines.")
    ] = None,
    stack: StackOption = "embedded",
    goals: Annotated[
        str, typer.Option("--goals", help="generated | ground-truth | unverified | degraded")
    ] = "generated",
    seed: SeedOption = 0,
    max_attempts: AttemptsOption = None,
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            min=1,
            help="How often a task may be asked for: where a sequence ended early or a goal was not reached, what is "
            "left of the plan is painted again from a new frame.",
        ),
    ] = 1,
    json_file: JsonOption = None,
) -> None:
    """Closed loop in physics with the goal-image policy: success rates with 95 % intervals."""
    if context.invoked_subcommand is not None:
        return
    if suite is not None and tasks is not None:
        raise InputError("--suite and --tasks were both given; choose one.")
    from itk_embodied.evaluation.command import run_eval

    record = run_eval(
        suite=suite,
        tasks=tasks,
        episodes=episodes,
        stack=stack,
        goals=goals,
        seed=seed,
        max_attempts=max_attempts,
        rounds=rounds,
    )
    _write_json(json_file, record)


@app.command()
def check(
    stack: Annotated[str, typer.Argument(help="A shipped stack's name or a TOML file.")] = "embedded",
    json_file: JsonOption = None,
) -> int:
    """Run the public conformance checks on a stack's planner, generator and critic."""
    from itk_embodied.run import run_check

    record = run_check(stack)
    _write_json(json_file, record)
    return 0 if record["passed"] else NOT_DONE


@bench_app.command("pipeline")
def bench_pipeline(
    stack: StackOption = "embedded",
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="How many tasks to time, after a warm-up.")] = 10,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Seconds in planner, generator and critic, and the share that is none of them."""
    from itk_embodied.evaluation.command import run_bench_pipeline

    _write_json(json_file, run_bench_pipeline(stack=stack, tasks=tasks, seed=seed))


@train_app.command("generator")
def train_generator(
    data: DataOption = Path("data/pairs"),
    out: Annotated[Path, typer.Option("--out", help="The run's folder.")] = Path("runs/generator"),
    walks: Annotated[
        Path | None, typer.Option("--walks", help="Walks (train data walks), to learn from its own pictures too.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Pipeline folder to go on from, at full size, its reader as it is.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Training pairs to see.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", min=0, help="Highest learning rate.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop after this much wall time.")] = None,
    threads: ThreadsOption = 1,
    workers: WorkersOption = 0,
    seed: SeedOption = 0,
) -> None:
    """The generator: a composite-head flow that edits a camera frame. Goes on where it stopped."""
    from itk_embodied.training.generator import GeneratorTraining, train_generator

    chosen: dict[str, Any] = {"samples": samples, "minutes": minutes, "lr": lr}
    if start is not None:
        size, _ = GeneratorTraining.stages[-1]
        chosen |= {"init": start, "stages": ((size, 1.0),), "reader_steps": 0}
    given = {name: value for name, value in chosen.items() if value is not None}
    config = GeneratorTraining(
        data=data,
        out=out,
        walks=walks,
        threads=threads,
        workers=workers,
        seed=seed,
        **given,
    )
    print(train_generator(config))


@train_app.command("refiner")
def train_refiner(
    generator: Annotated[Path, typer.Option("--generator", help="Pipeline folder of the generator that painted.")] = (
        Path("runs/generator/pipeline")
    ),
    start: Annotated[
        Path | None, typer.Option("--start", help="Pipeline folder whose refiner it goes on from, not from nothing.")
    ] = None,
    data: DataOption = Path("data/pairs"),
    generated: GeneratedOption = Path("data/generated"),
    rollouts: RolloutsOption = Path("data/rollouts"),
    walks: PaintedWalksOption = Path("data/walks"),
    out: Annotated[Path, typer.Option("--out", help="The run's folder.")] = Path("runs/refiner"),
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Windows to see.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", min=0, help="Highest learning rate.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop after this much wall time.")] = None,
    threads: ThreadsOption = 1,
    workers: WorkersOption = 0,
    seed: SeedOption = 0,
) -> None:
    """The generator's second look, at every pixel it changed; exported with it. Goes on where it stopped."""
    from itk_embodied.training.refiner import RefinerTraining, train_refiner

    given = {"samples": samples, "minutes": minutes, "lr": lr}
    config = RefinerTraining(
        generator=generator,
        init=start,
        data=data,
        generated=generated,
        rollouts=rollouts,
        walks=walks,
        out=out,
        threads=threads,
        workers=workers,
        seed=seed,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    print(train_refiner(config))


@train_app.command("verifier")
def train_verifier(
    generator: Annotated[Path, typer.Option("--generator", help="Pipeline folder whose weights it starts from.")] = (
        Path("runs/generator/pipeline")
    ),
    start: Annotated[
        Path | None, typer.Option("--start", help="A verifier's checkpoint to go on from instead of the generator.")
    ] = None,
    data: DataOption = Path("data/pairs"),
    generated: GeneratedOption = Path("data/generated"),
    rollouts: RolloutsOption = Path("data/rollouts"),
    walks: PaintedWalksOption = Path("data/walks"),
    out: Annotated[Path, typer.Option("--out", help="The run's folder.")] = Path("runs/verifier"),
    part: Annotated[
        str, typer.Option("--part", help="What learns: whole, closer (the look at every pixel of the spots), or both.")
    ] = "both",
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Pictures to see.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", min=0, help="Highest learning rate.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop after this much wall time.")] = None,
    threads: ThreadsOption = 1,
    workers: WorkersOption = 0,
    seed: SeedOption = 0,
) -> None:
    """The edit verifier, a second critic: sees both pictures patch by patch, and what changed pixel by pixel. Goes on
    where it stopped."""
    from itk_embodied.training.verifier import VerifierTraining, train_verifier

    given = {"samples": samples, "minutes": minutes, "lr": lr}
    config = VerifierTraining(
        generator=generator,
        init=start,
        data=data,
        generated=generated,
        rollouts=rollouts,
        walks=walks,
        out=out,
        part=part,  # type: ignore[arg-type]
        threads=threads,
        workers=workers,
        seed=seed,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    print(train_verifier(config))


@train_app.command("mean")
def mean_of_checkpoints(
    parts: Annotated[
        list[str], typer.Argument(metavar="DIR[=SHARE]", help="Two or more; package:checkpoints/… too. Share: 1.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The new checkpoint's folder.")] = Path("runs/mean"),
) -> None:
    """The mean of trained weights of one kind of model: runs that went on from the same checkpoint, and that one too.

    As the cards have it: train mean runs/planner/checkpoint=0.6 package:checkpoints/planner=0.4
    """
    from itk_embodied.training.mean import Part, mean_of

    print(mean_of([Part.parse(text) for text in parts], out))


def _stage(stage: str) -> Any:
    def command(
        data: DataOption = Path("data/pairs"),
        out: Annotated[Path | None, typer.Option("--out", help="The run's folder; default: runs/STAGE.")] = None,
        start: Annotated[Path | None, typer.Option("--start", help="Checkpoint to start from.")] = None,
        examples: Annotated[int | None, typer.Option("--examples", min=1, help="Pictures to see.")] = None,
        threads: ThreadsOption = 1,
        workers: WorkersOption = 0,
        compiled: Annotated[
            bool, typer.Option("--compile", help="Compile first, for minutes; then half as fast again.")
        ] = False,
        lr: Annotated[
            float | None, typer.Option("--lr", min=0, help="Highest learning rate, Muon's; AdamW's follows it.")
        ] = None,
        blind_share: Annotated[
            float | None,
            typer.Option(
                "--blind-share", min=0, max=1, help="Batches of told scenes without a picture (planner, both)."
            ),
        ] = None,
        seed: SeedOption = 0,
    ) -> None:
        from itk_embodied.training.stages import train_stage

        sizes = {"examples": examples, "lr": lr, "blind_share": blind_share, "threads": threads, "workers": workers}
        print(train_stage(stage, data=data, compiled=compiled, seed=seed, out=out, start=start, **sizes))  # type: ignore[arg-type]

    return command


tiny_app.command("look", help="First stage of both: say where everything is. From random weights.")(_stage("look"))
tiny_app.command("planner", help="The embedded planner, from the look stage's checkpoint.")(_stage("planner"))
tiny_app.command("critic", help="The embedded critic, from the look stage's checkpoint.")(_stage("critic"))
tiny_app.command("both", help="One model as planner and critic, from the look stage's checkpoint.")(_stage("both"))
register_tuning(train_app)
register_data(train_app)
register_bags(app)
register_service(app, bench_app)
register_ros_bench(bench_app)
register_transport_bench(bench_app)
