"""``itk-embodied serve``, ``keys`` and ``bench service``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from itk_embodied.bridges.keys import AllowList

FolderOption = Annotated[
    Path | None, typer.Option("--dir", help="Folder of the keys; default: ~/.config/itk-embodied/keys.")
]


def register(app: typer.Typer, bench_app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.add_typer(keys_app, name="keys")
    bench_app.command("service")(bench_service)


def serve(
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file, see docs/service.md.")] = None,
    stack: Annotated[str | None, typer.Option("--stack", help="A shipped stack's name or a TOML file.")] = None,
    bind: Annotated[
        str | None, typer.Option("--bind", help="HOST:PORT of the stream; requests are taken at the next port.")
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="HOST:PORT for Prometheus.")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object a line.")] = False,
) -> None:
    """Tasks in, verified subgoals out, over ZeroMQ, until SIGTERM. Loopback only, unless the file names keys."""
    from itk_embodied.serve.run import serve as run

    run(config, stack=stack, bind=bind, metrics=metrics, json_logs=json_logs)


keys_app = typer.Typer(help="CURVE keys: who the service is, and which clients it lets in.", no_args_is_help=True)


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose: service, robot1, …")], folder: FolderOption = None
) -> None:
    """Make a pair: NAME.key_secret (0600, stays here) and NAME.key (for the others)."""
    from itk_embodied.bridges.keys import new_keys

    public, secret = new_keys(_folder(folder), name)
    print(f"{secret}  (secret: stays on this machine)\n{public}  (public: give it to the other side)")


@keys_app.command("allow")
def keys_allow(
    key: Annotated[str, typer.Argument(help="A client's .key file, or its public key.")],
    name: Annotated[str | None, typer.Option("--name", help="Under which name; default: the file's.")] = None,
    folder: FolderOption = None,
) -> None:
    """Let a client in; a running service sees it at once."""
    from itk_embodied.bridges.keys import load_public
    from itk_embodied.errors import InputError

    public = load_public(key)
    if name is None and public == key:
        raise InputError("a key given as text needs a name: --name robot1")
    print(_allowed(folder).add(name or Path(key).stem, public))


@keys_app.command("list")
def keys_list(
    folder: FolderOption = None, as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False
) -> None:
    """Who is let in: name and public key."""
    known = _allowed(folder).keys()
    print(json.dumps(known, indent=2) if as_json else "\n".join(f"{name}  {key}" for name, key in known.items()))


@keys_app.command("remove")
def keys_remove(name: Annotated[str, typer.Argument(help="As listed.")], folder: FolderOption = None) -> None:
    """Shut a client out; a running service cuts it off within a heartbeat."""
    _allowed(folder).remove(name)


def bench_service(
    stack: Annotated[str, typer.Option("--stack", help="A shipped stack's name or a TOML file.")] = "embedded",
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="How many, after a first that is not counted.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
) -> None:
    """Seconds from submit to the first verified subgoal over ZeroMQ, and the share that is not model time."""
    from itk_embodied.cli import _write_json
    from itk_embodied.evaluation.bench_service import run_bench_service

    _write_json(json_file, run_bench_service(stack=stack, tasks=tasks, seed=seed))


def _folder(folder: Path | None) -> Path:
    from itk_embodied.bridges.keys import default_folder

    return folder or default_folder()


def _allowed(folder: Path | None) -> AllowList:
    from itk_embodied.bridges.keys import ALLOWED, AllowList

    return AllowList(_folder(folder) / ALLOWED)
