"""`itk-embodied serve` as a process: configuration, log, metrics, signals, exit codes, keys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scripted_kinds
import zmq
from scripted import gradient_image

from itk_embodied.bridges import ClientKeys, SubgoalClient
from itk_embodied.cli import main
from itk_embodied.errors import ConfigError
from itk_embodied.serve.config import read_config, split_place
from itk_embodied.types import Frame, SequenceStatus

TESTS = Path(__file__).resolve().parent.parent
FRAME = Frame(gradient_image(), stamp_s=12.5)
BUDGET_S = 60.0


class Serving:
    """The command in a process of its own, with JSON logs; what it logs comes line by line."""

    def __init__(self, folder: Path, *options: str) -> None:
        scripted_kinds.install(folder)
        places = [folder, TESTS, TESTS.parent, TESTS.parent / "nodes", TESTS.parent / "sim"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "itk_embodied", "serve", "--json-logs", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)
        self.lines: list[dict[str, Any]] = []
        self.words: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                if line.startswith("{"):
                    self.lines.append(json.loads(line))
                else:
                    self.words.append(line)
                self._news.notify_all()

    def hear(self, **fields: Any) -> dict[str, Any]:
        """The first log line with these fields; ``True`` stands for any value."""

        def found() -> dict[str, Any] | None:
            wanted = fields.items()
            return next((x for x in self.lines if all(k in x and v in (True, x[k]) for k, v in wanted)), None)

        with self._news:
            assert self._news.wait_for(found, BUDGET_S), (fields, self.lines, self.words)
            line = found()
        assert line is not None
        return line

    def client(self, **options: Any) -> SubgoalClient:
        line = self.hear(stream=True)
        return SubgoalClient(line["stream"], line["requests"], **options)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.hear(metrics=True)["metrics"] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def memory_kb(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(BUDGET_S)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*options: str) -> Serving:
        started.append(Serving(tmp_path, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def configure(folder: Path, more: str = "", **roles: str) -> str:
    """A configuration and its stack; returns the configuration's path."""
    scripted_kinds.write_stack(folder, **roles)
    path = folder / "serve.toml"
    start = '[service]\nstack = "scripted.toml"\nbind = "127.0.0.1:0"\n'
    path.write_text(start + (more or "[worker]\nwarm_up_s = 0.0\n"))
    return str(path)


def test_a_task_its_log_its_metrics_and_a_graceful_end(serving: Any, tmp_path: Path) -> None:
    config = configure(tmp_path, critic="accept = [false, true]", generator="seconds = 0.01\n")
    here = serving("--config", config, "--metrics", "127.0.0.1:0")
    assert here.get("/healthz")[0] in (200, 503)
    with here.client() as client:
        client.wait_ready(BUDGET_S)
        assert here.get("/healthz") == (200, '{"state": "ready", "detail": ""}')
        task_id = client.submit(FRAME, "go")
        stream = client.subgoals(task_id, deadline_s=BUDGET_S)
        assert len(list(stream)) == 2 and stream.status is SequenceStatus.VERIFIED
        assert here.hear(event="end", task_id=task_id)["status"] == "verified"
        text = here.get("/metrics")[1]
        for line in (
            'itk_embodied_tasks_total{status="verified"} 1.0',
            'itk_embodied_subgoals_total{status="verified"} 2.0',
            "itk_embodied_attempts_total 3.0",
            'itk_embodied_stage_seconds_count{stage="generate"} 3.0',
            'itk_embodied_stage_seconds_count{stage="plan"} 1.0',
            'itk_embodied_latency_seconds_count{stage="first_subgoal"} 1.0',
            "itk_embodied_worker_restarts_total 0.0",
            'itk_embodied_state{state="ready"} 1.0',
        ):
            assert line in text, line
        assert here.get("/secret")[0] == 404
        assert {"time", "level", "logger", "message"} <= set(here.lines[0])
    assert here.stop() == 0
    assert here.words == [], "every line is JSON"


def test_sigterm_ends_the_running_task_as_cancelled_and_exits_0(serving: Any, tmp_path: Path) -> None:
    here = serving("--config", configure(tmp_path, generator="seconds = 60"))
    with here.client() as client:
        client.wait_ready(BUDGET_S)
        task_id = client.submit(FRAME, "go")
        heard: list[Any] = []
        threading.Timer(0.5, here.stop).start()
        stream = client.subgoals(task_id, deadline_s=BUDGET_S, verified_only=False, on_message=heard.append)
        goals = list(stream)
    assert stream.status is SequenceStatus.CANCELLED and stream.reason == "the service stopped"
    assert sum(message.__struct_config__.tag == "end" for message in heard) == 1
    assert all(goal.status == "failed" for goal in goals)
    assert here.process.wait(BUDGET_S) == 0


def test_a_second_service_on_the_same_port_says_so_and_leaves_the_first_alone(serving: Any, tmp_path: Path) -> None:
    here = serving("--config", configure(tmp_path))
    with here.client() as client:
        place = here.hear(stream=True)["stream"].removeprefix("tcp://")
        second = serving("--config", configure(tmp_path), "--bind", place)
        assert second.process.wait(BUDGET_S) == 1
        said = " ".join(second.words)
        assert place in said and "another process has that port" in said and "another port" in said
        client.wait_ready(BUDGET_S)


def test_a_slow_subscriber_costs_the_others_nothing_and_no_memory(serving: Any, tmp_path: Path) -> None:
    limits = 'encoding = "raw"\nhwm = 4\nkeep_tasks = 1\n[worker]\nwarm_up_s = 0.0\n'
    here = serving("--config", configure(tmp_path, limits, planner="steps = 20"))
    picture = Frame(np.zeros((480, 640, 3), np.uint8), stamp_s=1.0)
    with zmq.Context() as context, here.client() as client:
        slow = context.socket(zmq.SUB)
        slow.linger, slow.rcvhwm = 0, 1
        slow.subscribe(b"")
        slow.connect(client.stream_address)
        client.wait_ready(BUDGET_S)
        used_kb = []
        for _ in range(5):
            stream = client.subgoals(client.submit(picture, "go"), deadline_s=BUDGET_S)
            assert [goal.step for goal in stream] == list(range(1, 21))
            assert stream.status is SequenceStatus.VERIFIED
            used_kb.append(here.memory_kb())
        slow.close()
    assert used_kb[-1] - used_kb[1] < 20_000, f"three tasks are 55 MB of pictures; it took {used_kb}"


def test_wrong_configurations_are_refused_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        '[service]\nstak = "embedded"\n': "Did you mean 'stack'",
        "[srevice]\n": "no table [srevice]",
        "[service]\nhwm = 0\n": "hwm is 0",
        '[service]\nhwm = "many"\n': "service.hwm",
        "[worker]\nsilence_s = -1.0\n": "silence_s is -1",
        '[service]\nbind = "0.0.0.0:5591"\n': "CURVE keys",
        '[service]\nbind = "nonsense:x"\n': "no place to listen",
        '[service]\nstack = "nonsense"\n': "no stack 'nonsense'",
        '[security]\nkey = "none"\nallowed = "none"\n': "cannot be read",
        "[service\n": "not valid TOML",
    }
    for text, says in cases.items():
        path = tmp_path / "serve.toml"
        path.write_text(text)
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--config", str(path)])
        assert ended.value.code == 2, text
        assert says in capsys.readouterr().err, text
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--config", str(tmp_path / "none.toml")])
    assert ended.value.code == 2


def test_models_that_do_not_load_end_the_command(serving: Any, tmp_path: Path) -> None:
    config = configure(tmp_path)
    (tmp_path / "scripted.toml").write_text(
        'name = "broken"\n[planner]\nkind = "qwen3vl"\ncheckpoint = "./none"\n'
        '[generator]\nkind = "scripted"\n[critic]\nkind = "scripted"\n'
    )
    here = serving("--config", config)
    assert here.process.wait(BUDGET_S) == 1
    assert "none" in " ".join(here.words) and "did not load" in " ".join(here.words)


def test_keys_from_the_command_line_to_a_served_task(
    serving: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def keys(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["keys", *words, "--dir", str(tmp_path / "keys")])
        assert ended.value.code == 0
        return capsys.readouterr().out

    for name in ("service", "robot"):
        assert f"{name}.key_secret" in keys("new", name)
    keys("allow", str(tmp_path / "keys" / "robot.key"))
    assert list(json.loads(keys("list", "--json"))) == ["robot"]
    security = '[worker]\nwarm_up_s = 0.0\n[security]\nkey = "keys/service.key_secret"\nallowed = "keys/allowed"\n'
    here = serving("--config", configure(tmp_path, security), "--bind", "127.0.0.2:0")
    own = ClientKeys.load(tmp_path / "keys" / "robot.key_secret", tmp_path / "keys" / "service.key")
    with here.client(keys=own) as client:
        client.wait_ready(BUDGET_S)
        stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=BUDGET_S)
        assert len(list(stream)) == 2
        assert client.ping().state == "ready"
        keys("remove", "robot")
        ends_s = time.monotonic() + BUDGET_S
        while client.receive(time.monotonic() + 1.5) is not None:
            assert time.monotonic() < ends_s, "a removed client still hears"
    assert here.stop() == 0
    said = json.dumps(here.lines) + " ".join(here.words)
    assert own.own.secret not in said and "secret-key" not in said


def test_places_to_listen() -> None:
    assert split_place("127.0.0.1", default_port=7) == ("127.0.0.1", 7)
    assert split_place("tcp://[::1]:0", default_port=7) == ("[::1]", 0)
    for wrong in ("", ":5", "a:b", "host:70000"):
        with pytest.raises(ConfigError, match="no place to listen"):
            split_place(wrong, default_port=7)
    assert read_config(None)[0].service.stack == "embedded"
