"""Planner, critic and generator against a real HTTP server on this machine that speaks the OpenAI-compatible forms."""

from __future__ import annotations

import base64
import email
import email.policy
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import PIL.Image
import pytest

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.conformance import check_critic, check_generator, check_planner, example_image
from itk_embodied.agents.conformance.pictures import KnownPair
from itk_embodied.agents.remote import endpoint as endpoint_module
from itk_embodied.agents.remote.critic import ChatCritic
from itk_embodied.agents.remote.generator import ImageEditGenerator
from itk_embodied.agents.remote.planner import ChatPlanner
from itk_embodied.agents.settings import ChatCriticSettings, ChatSettings, ImageEditSettings
from itk_embodied.errors import (
    BudgetExceededError,
    CancelledError,
    ConfigError,
    ModelOutputError,
    TransportError,
)
from itk_embodied.images import png_bytes
from itk_embodied.types import Task

PICTURE = example_image(64, 96)
PLAN = {
    "execution_plan": [
        {
            "step_number": 1,
            "step_name": "put",
            "instruction": "put the red cube in the teal bowl",
            "prompt": "move the red cube into the teal bowl",
            "auxiliary_text": None,
        }
    ]
}
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Server:
    """Answers posts by a function; keeps what it was sent."""

    def __init__(self, answer: Callable[[str, Any], Answer]) -> None:
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.started, self.release = threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                kind = self.headers["content-type"]
                body = json.loads(raw) if kind == "application/json" else read_form(kind, raw)
                outer.requests.append((self.path, body, dict(self.headers)))
                outer.started.set()
                status, reply, *headers = answer(self.path, body)
                if status == 0:  # drop the connection without a word
                    self.close_connection = True
                    return
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(data)))
                    for name, value in headers[0].items() if headers else ():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    return  # the client hung up

            def log_message(self, *args: object) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()


def read_form(kind: str, raw: bytes) -> dict[str, Any]:
    message = email.message_from_bytes(b"content-type: " + kind.encode() + b"\n\n" + raw, policy=email.policy.HTTP)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    return {
        str(name): part.get_payload(decode=True) if part.get_filename() else part.get_content().strip()
        for name, part in parts.items()
    }


@contextmanager
def serving(answer: Callable[[str, Any], Answer]) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def message(text: Any, **extra: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, **extra}]}


def tagged(answer: Any, thought: str = "I see.") -> str:
    return f"<think>{thought}</think><answer>{json.dumps(answer)}</answer>"


def in_turn(*answers: Answer) -> Callable[[str, Any], Answer]:
    left = list(answers)
    return lambda path, body: left.pop(0) if len(left) > 1 else left[0]


def planner(server: Server, **changes: Any) -> ChatPlanner:
    return ChatPlanner.from_settings(ChatSettings(**({"base_url": server.url, "model": "m"} | changes)))


def critic(server: Server, **changes: Any) -> ChatCritic:
    return ChatCritic.from_settings(ChatCriticSettings(**({"base_url": server.url, "model": "m"} | changes)))


def generator(server: Server, **changes: Any) -> ImageEditGenerator:
    return ImageEditGenerator.from_settings(ImageEditSettings(**({"base_url": server.url, "model": "m"} | changes)))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_FIRST_PAUSE_S", 0.01)


def test_a_plan_is_asked_for_with_picture_task_and_seed() -> None:
    with serving(in_turn((200, message(tagged(PLAN))))) as server:
        plan = planner(server).plan(PICTURE, Task("put the red cube away"), CallContext(seed=11))
    assert [step.instruction for step in plan.steps] == ["put the red cube in the teal bowl"]
    assert plan.thought == "I see."
    ((path, body, headers),) = server.requests
    assert path == "/v1/chat/completions" and body["model"] == "m" and body["seed"] == 11
    assert "response_format" not in body and "authorization" not in {name.lower() for name in headers}
    system, user = body["messages"]
    picture, text = user["content"]
    assert system["role"] == "system" and "Task: put the red cube away" in text["text"]
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data)))), PICTURE)


def test_a_server_that_constrains_gets_the_schema_and_answers_bare_json() -> None:
    reply = message(json.dumps(PLAN))
    reply["choices"][0]["message"]["reasoning_content"] = "one cube"
    with serving(in_turn((200, reply))) as server:
        plan = planner(server, response_format="json_schema").plan(PICTURE, Task("x"), CallContext())
    assert plan.thought == "one cube" and len(plan.steps) == 1
    schema = server.requests[0][1]["response_format"]["json_schema"]
    assert schema["strict"] is True and "execution_plan" in schema["schema"]["properties"]


def test_a_thought_that_the_server_split_off_is_put_back() -> None:
    reply = message("\n" + tagged(PLAN).partition("</think>")[2])
    reply["choices"][0]["message"]["reasoning"] = "one cube"
    with serving(in_turn((200, reply))) as server:
        assert planner(server).plan(PICTURE, Task("x"), CallContext()).thought == "one cube"


def verdict_reply(success: bool, true: float | None, false: float | None) -> dict[str, Any]:
    """A verdict as tokens, with the given chances of true and false where the boolean stands."""
    value = "true" if success else "false"
    text = tagged({"previous_step_success": success, "refine_prompt": "again"})
    head, _, tail = text.partition(f'": {value}')
    chances = [(" true", true), (" false", false), (" maybe", 0.05)]
    alternatives = [{"token": word, "logprob": float(np.log(p))} for word, p in chances if p]
    tokens = [{"token": head, "logprob": 0.0, "top_logprobs": []}, {"token": '":', "logprob": 0.0, "top_logprobs": []}]
    tokens += [{"token": f" {value}", "logprob": -0.1, "top_logprobs": alternatives}]
    tokens += [{"token": tail, "logprob": 0.0, "top_logprobs": [{"token": "false", "logprob": 0.0}]}]
    return message(text, logprobs={"content": tokens})


@pytest.mark.parametrize(
    ("reply", "threshold", "expected"),
    [
        (verdict_reply(True, 0.8, 0.1), 0.5, (True, 0.8 / 0.9)),
        (verdict_reply(True, 0.8, 0.1), 0.95, (False, 0.8 / 0.9)),
        (verdict_reply(False, 0.3, 0.6), 0.1, (False, 0.3 / 0.9)),
        (verdict_reply(True, 0.9, None), 0.5, (True, 1.0)),
        (message(tagged({"previous_step_success": True, "refine_prompt": "again"})), 0.5, (True, 1.0)),
        (message(tagged({"previous_step_success": False, "refine_prompt": "again"})), 0.5, (False, 0.0)),
    ],
)
def test_the_score_comes_from_the_servers_probabilities_where_it_gives_them(
    reply: Any, threshold: float, expected: tuple[bool, float]
) -> None:
    with serving(in_turn((200, reply))) as server:
        agent = critic(server, accept_threshold=threshold)
        verdict = agent.judge(PICTURE, PICTURE, "put it there", "put it right there", CallContext())
    assert (verdict.success, verdict.score) == (expected[0], pytest.approx(expected[1]))
    assert verdict.refine_prompt == "again" and verdict.reasoning == "I see."
    body = server.requests[0][1]
    assert body["logprobs"] is True
    *pictures, text = body["messages"][1]["content"]
    assert len(pictures) == 2 and "Instruction: put it there" in text["text"] and "put it right there" in text["text"]


@pytest.mark.parametrize(
    "reply",
    [
        message("I would put it in the bowl."),
        message(tagged({"execution_plan": []})),
        message(""),
        message(None),
        message([{"type": "text", "text": "half"}]),
        {"choices": []},
        {"error": "none"},
        [],
        {"choices": [{"message": {"content": None, "refusal": "I must not"}}]},
    ],
)
def test_a_malformed_answer_is_a_model_output_error(reply: Any) -> None:
    with serving(in_turn((200, reply))) as server, pytest.raises(ModelOutputError):
        planner(server).plan(PICTURE, Task("x"), CallContext())


@pytest.mark.parametrize("bad", [(500, {"error": "boom"}), (429, {}, {"retry-after": "0"}), (503, b"busy"), (0, None)])
def test_a_passing_fault_is_tried_again(bad: Answer) -> None:
    with serving(in_turn(bad, bad, (200, message(tagged(PLAN))))) as server:
        assert planner(server).plan(PICTURE, Task("x"), CallContext()).steps
    assert len(server.requests) == 3


def test_a_lasting_fault_ends_with_what_the_server_said() -> None:
    with serving(in_turn((500, {"error": "out of memory"}))) as server:
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{server.port} answered 500.*out of memory.*3 times"):
            planner(server, max_retries=2).plan(PICTURE, Task("x"), CallContext())
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "api_key_env"), (404, "base_url"), (413, "image_px"), (400, "settings")]
)
def test_a_refusal_is_not_tried_again_and_says_what_to_look_at(status: int, remedy: str) -> None:
    with serving(in_turn((status, {"error": "no"}))) as server:
        with pytest.raises(TransportError, match=remedy):
            planner(server).plan(PICTURE, Task("x"), CallContext())
        assert len(server.requests) == 1


def test_no_retry_starts_that_the_deadline_leaves_no_room_for() -> None:
    with serving(in_turn((503, {}, {"retry-after": "20"}))) as server:
        with pytest.raises(TransportError, match="no time to try again"):
            planner(server).plan(PICTURE, Task("x"), CallContext(deadline_s=time.monotonic() + 10))
        assert len(server.requests) == 1


def test_a_reply_that_is_not_json_or_too_large_is_refused() -> None:
    with serving(in_turn((200, b"<html>hello</html>"))) as server, pytest.raises(TransportError, match="not JSON"):
        planner(server).plan(PICTURE, Task("x"), CallContext())
    with serving(in_turn((200, b"x" * 2_000_000))) as server, pytest.raises(TransportError, match="max_response_mb"):
        planner(server, max_response_mb=1.0).plan(PICTURE, Task("x"), CallContext())


def test_nobody_there_names_address_budget_and_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        settings = ChatSettings(base_url=f"http://127.0.0.1:{port}/v1", model="m", timeout_s=7.0)
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{port}.*budget 7 s.*base_url"):
            ChatPlanner.from_settings(settings).plan(PICTURE, Task("x"), CallContext())


@contextmanager
def hanging() -> Iterator[Server]:
    """A server that takes the request and does not answer before it is closed."""
    released = threading.Event()

    def answer(path: str, body: Any) -> Answer:
        released.wait(60)
        return (200, message(tagged(PLAN)))

    server = Server(answer)
    try:
        yield server
    finally:
        released.set()
        server.close()


def test_a_silent_server_costs_the_timeout_and_no_more() -> None:
    with hanging() as server:
        with pytest.raises(TransportError, match=r"did not answer within 0\.3 s.*timeout_s"):
            planner(server, timeout_s=0.3).plan(PICTURE, Task("x"), CallContext())
        with pytest.raises(BudgetExceededError):
            planner(server).plan(PICTURE, Task("x"), CallContext(deadline_s=time.monotonic() + 0.3))


@pytest.mark.parametrize("role", ["planner", "critic", "generator"])
def test_cancel_is_seen_while_the_server_thinks(role: str) -> None:
    context = CallContext()
    errors: list[Exception] = []
    with hanging() as server:
        calls = {
            "planner": lambda: planner(server).plan(PICTURE, Task("x"), context),
            "critic": lambda: critic(server).judge(PICTURE, PICTURE, "a", "b", context),
            "generator": lambda: generator(server).generate(PICTURE, "a", context),
        }

        def call() -> None:
            try:
                calls[role]()
            except CancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert server.started.wait(30)
        context.cancel.set()
        thread.join(timeout=30)  # the server would answer only after the join
        assert len(errors) == 1


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("ITK_TEST_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    with serving(in_turn((401, {"error": "wrong key sk-very-secret"}))) as server:
        agent = planner(server, api_key_env="ITK_TEST_KEY")
        with pytest.raises(TransportError) as caught:
            agent.plan(PICTURE, Task("x"), CallContext())
    headers = {name.lower(): value for name, value in server.requests[0][2].items()}
    assert headers["authorization"] == "Bearer sk-very-secret"
    assert "secret" not in str(caught.value) + caplog.text + repr(agent.__dict__) + agent.name


def test_a_missing_key_or_a_senseless_url_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITK_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="ITK_TEST_KEY is not set"):
        ChatPlanner.from_settings(ChatSettings(base_url="http://host/v1", model="m", api_key_env="ITK_TEST_KEY"))
    with pytest.raises(ConfigError, match="base_url"):
        ChatPlanner.from_settings(ChatSettings(base_url="http:///v1", model="m"))


def painting_server(path: str, form: dict[str, Any]) -> Answer:
    """Paints seeded noise into a corner, and answers at another size than it was given, as such servers do."""
    picture = np.array(PIL.Image.open(io.BytesIO(form["image"])).resize((128, 128)))
    rng = np.random.default_rng(int(form["seed"]))
    picture[:32, :32] = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return (200, {"data": [{"b64_json": base64.b64encode(png_bytes(picture)).decode()}]})


def test_an_edit_is_posted_as_a_form_and_comes_back_at_the_size_given() -> None:
    with serving(painting_server) as server:
        agent = generator(server, size="1024x1024", extra_fields={"quality": "high"})
        image = agent.generate(PICTURE, "put it there", CallContext(seed=5))
    assert image.shape == PICTURE.shape and image.dtype == np.uint8
    ((path, form, _),) = server.requests
    assert path == "/v1/images/edits"
    sent = {name: value for name, value in form.items() if name != "image"}
    assert sent == {
        "model": "m",
        "prompt": "put it there",
        "n": "1",
        "size": "1024x1024",
        "response_format": "b64_json",
        "seed": "5",
        "quality": "high",
    }
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(form["image"]))), PICTURE)


def test_a_server_that_takes_no_seed_gets_none() -> None:
    with serving(lambda path, form: painting_server(path, {"seed": "1"} | form)) as server:
        generator(server, send_seed=False, response_format="").generate(PICTURE, "x", CallContext(seed=5))
    assert not {"seed", "response_format", "size"} & set(server.requests[0][1])


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"data": []},
        {"data": [{"url": "http://elsewhere/x.png"}]},
        {"data": [{"b64_json": "???"}]},
        {"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]},
        {"data": [{"b64_json": base64.b64encode(png_bytes(PICTURE)[:200]).decode()}]},
    ],
)
def test_a_reply_without_a_readable_picture_is_a_model_output_error(reply: Any) -> None:
    with serving(in_turn((200, reply))) as server, pytest.raises(ModelOutputError):
        generator(server).generate(PICTURE, "x", CallContext())


def test_remote_agents_pass_the_conformance_checks() -> None:
    def answer(path: str, body: Any) -> Answer:
        if path.endswith("/images/edits"):
            return painting_server(path, body)
        if "First picture" not in str(body["messages"]):
            return (200, message(tagged(PLAN)))
        pictures = [part["image_url"]["url"] for part in body["messages"][1]["content"][:2]]
        return (200, verdict_reply(False, 0.2, 0.7) if pictures[0] == pictures[1] else verdict_reply(True, 0.7, 0.2))

    same = KnownPair("nothing changed", PICTURE, PICTURE, "do it", "do it")
    other = KnownPair("something changed", PICTURE, example_image(96, 64).copy(), "do it", "do it")
    with serving(answer) as server:
        assert check_planner(planner(server), image=PICTURE).passed
        assert check_generator(generator(server), image=PICTURE).passed
        assert check_critic(critic(server), known_bad=[same], known_good=[other]).passed
