"""The scripted agents as registered kinds, so that a worker process can load them from a stack file."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.registry import RoleSpec, register_critic, register_generator, register_planner
from itk_embodied.types import Image, Plan, Task, Verdict

PLUGIN = """\
Metadata-Version: 2.1
Name: scripted-kinds
Version: 0
"""
ENTRY_POINT = "[itk_embodied.agents]\nscripted = scripted_kinds:register\n"


class Settings(msgspec.Struct, frozen=True):
    """What a scripted agent does in each call.

    Attributes:
        seconds: how long it works, watching its deadline and its cancel.
        stuck_s: how long it works without watching anything.
        steps: of the plan.
        accept: the critic's verdicts, one a call, the last again and again.
        crash: ``exit`` ends the process, ``kill`` does so by SIGKILL, ``stop`` freezes it; at the call numbered
            ``crash_at``, and only where the file ``crash_once`` is not there yet (it is made).
        load_s: how long it takes to load.
        clock_jump_s: how far the process's wall clock jumps at the first call.
    """

    seconds: float = 0.0
    stuck_s: float = 0.0
    steps: int = 2
    accept: tuple[bool, ...] = (True,)
    crash: str = ""
    crash_at: int = 1
    crash_once: str = ""
    load_s: float = 0.0
    clock_jump_s: float = 0.0


class _Acting:
    """What all three do before they answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls = 0
        time.sleep(settings.load_s)

    def act(self, context: CallContext) -> None:
        self.calls += 1
        if self.settings.crash and self.calls == self.settings.crash_at:
            self._crash()
        if self.settings.clock_jump_s and self.calls == 1:
            real = time.time
            time.time = lambda: real() + self.settings.clock_jump_s
        time.sleep(self.settings.stuck_s)
        ends_s = time.monotonic() + self.settings.seconds
        while time.monotonic() < ends_s:
            context.check()
            time.sleep(0.002)

    def _crash(self) -> None:
        if self.settings.crash_once:
            mark = Path(self.settings.crash_once)
            if mark.exists():
                return
            mark.touch()
        if self.settings.crash == "exit":
            print("no memory left", file=sys.stderr, flush=True)
            os._exit(7)
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self.settings.crash])
        # A signal need not arrive before `kill` returns, and another thread may take it: nothing is answered meanwhile.
        time.sleep(60)


class Planner(_Acting):
    name = "scripted-planner"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        self.act(context)
        plan = plan_of(*(f"put cube {n + 1} in the bowl" for n in range(self.settings.steps)))
        return ScriptedPlanner(plan).plan(image, task, context)


class Generator(_Acting):
    name = "noise-generator"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        self.act(context)
        return NoiseGenerator().generate(image, prompt, context)


class Critic(_Acting):
    name = "scripted-critic"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.answers = ScriptedCritic(*settings.accept)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        self.act(context)
        return self.answers.judge(before, after, instruction, prompt, context)


def register() -> None:
    def settings(spec: RoleSpec) -> Settings:
        assert isinstance(spec.settings, Settings)
        return spec.settings

    register_planner("scripted", lambda spec: Planner(settings(spec)), Settings)
    register_generator("scripted", lambda spec: Generator(settings(spec)), Settings)
    register_critic("scripted", lambda spec: Critic(settings(spec)), Settings)


def install(folder: Path) -> Path:
    """Make the plug-in findable from ``folder``, as an installed one is; put that on the path of who needs it."""
    info = folder / "scripted_kinds-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(PLUGIN)
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    return folder


def write_stack(folder: Path, *, pipeline: str = "", **roles: str) -> Path:
    """A stack file of scripted agents; ``roles`` are lines of TOML for planner, generator and critic."""
    tables = [f'[{role}]\nkind = "scripted"\n{roles.get(role, "")}\n' for role in ("planner", "generator", "critic")]
    path = folder / "scripted.toml"
    path.write_text('name = "scripted"\n' + "\n".join(tables) + (f"[pipeline]\n{pipeline}\n" if pipeline else ""))
    return path
