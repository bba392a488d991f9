"""Keys: who is let in, who is not, and who is no longer. Real sockets on a second loopback address."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.bridges import AsyncSubgoalClient, ClientKeys, SubgoalClient
from itk_embodied.bridges.codec import encode
from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.keys import AllowList, KeyPair, load_pair, load_public, new_keys
from itk_embodied.bridges.wire import Ping
from itk_embodied.errors import ConfigError, InputError, TransportError
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, SequenceStatus

FRAME = Frame(gradient_image(), stamp_s=12.5)
ELSEWHERE = "tcp://127.0.0.2:0"


class Guarded:
    """A service that asks for keys, its keys' folder, and a maker of clients."""

    def __init__(self, folder: Path, stack: ExitStack, paint_s: float = 0.0) -> None:
        self.folder, self._stack = folder, stack
        for name in ("service", "robot", "stranger"):
            new_keys(folder, name)
        self.allowed = AllowList(folder / "allowed")
        self.allowed.add("robot", load_public(folder / "robot.key"))
        guard = Guard(load_pair(folder / "service.key_secret"), AllowList(folder / "allowed"))
        config = ServiceConfig(ELSEWHERE, ELSEWHERE, heartbeat_s=0.1, guard=guard)
        agents = (ScriptedPlanner(plan_of("a", "b")), NoiseGenerator(paint_s), ScriptedCritic(True))
        self.service = stack.enter_context(SubgoalService(VisualSubgoalPipeline(*agents), config))

    def client(self, keys: ClientKeys | None, **options: Any) -> SubgoalClient:
        options = {"timeout_s": 0.5, "dead_after_s": 0.5, "patience_s": 0, **options}
        addresses = (self.service.stream_address, self.service.requests_address)
        return self._stack.enter_context(SubgoalClient(*addresses, keys=keys, **options))

    def keys(self, name: str) -> ClientKeys:
        return ClientKeys.load(self.folder / f"{name}.key_secret", self.folder / "service.key")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    with ExitStack() as stack:
        yield lambda **options: Guarded(tmp_path, stack, **options)


def test_the_right_key_gets_everything(guarded: Any) -> None:
    place = guarded()
    client = place.client(place.keys("robot"), timeout_s=5.0, dead_after_s=3.0)
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=10)
    assert [goal.step for goal in stream] == [1, 2] and stream.status is SequenceStatus.VERIFIED
    assert place.service.tally.strangers == 0


@pytest.mark.parametrize("who", ["no key", "another client's", "another service's", "not on the list"])
def test_anybody_else_gets_nothing(guarded: Any, who: str, caplog: pytest.LogCaptureFixture) -> None:
    place = guarded()
    robot = place.keys("robot")
    keys = {
        "no key": None,
        "another client's": ClientKeys(KeyPair(robot.own.public, place.keys("stranger").own.secret), robot.service),
        "another service's": ClientKeys(robot.own, place.keys("stranger").own.public),
        "not on the list": place.keys("stranger"),
    }[who]
    client = place.client(keys)
    with pytest.raises(TransportError, match="no answer"):
        client.submit(FRAME, "go")
    assert client.receive(time.monotonic() + 0.5) is None, "not even a heartbeat"
    assert place.service.tally.submitted == 0
    assert (place.service.tally.strangers > 0) == (who == "not on the list")
    friend = place.client(robot, timeout_s=5.0)
    assert friend.ping().state == "ready", "the others notice nothing"
    for secret in (robot.own.secret, load_pair(place.folder / "service.key_secret").secret):
        assert secret not in caplog.text and secret not in repr(robot) + repr(place.service.config)


def test_the_asyncio_client_is_let_in_or_kept_out_alike(guarded: Any) -> None:
    place = guarded()
    where = (place.service.stream_address, place.service.requests_address)

    async def goals_of(keys: ClientKeys | None, timeout_s: float) -> tuple[list[int], SequenceStatus | None]:
        async with AsyncSubgoalClient(*where, keys=keys, timeout_s=timeout_s, patience_s=0) as client:
            stream = client.subgoals(await client.submit(FRAME, "go"), deadline_s=10)
            return [goal.step async for goal in stream], stream.status

    assert asyncio.run(goals_of(place.keys("robot"), 5.0)) == ([1, 2], SequenceStatus.VERIFIED)
    for keys in (None, place.keys("stranger")):
        with pytest.raises(TransportError, match="no answer"):
            asyncio.run(goals_of(keys, 0.5))
    assert place.service.tally.submitted == 1


def test_a_removed_key_is_cut_off_while_the_service_and_the_others_go_on(guarded: Any) -> None:
    place = guarded(paint_s=0.4)
    place.allowed.add("stranger", load_public(place.folder / "stranger.key"))
    leaving = place.client(place.keys("stranger"), timeout_s=5.0)
    staying = place.client(place.keys("robot"), timeout_s=5.0, dead_after_s=3.0, patience_s=20)
    assert leaving.ping().state == staying.ping().state == "ready"
    task_id = staying.submit(FRAME, "go")
    place.allowed.remove("stranger")
    seen: list[int] = []
    stream = staying.subgoals(task_id, deadline_s=20, on_message=lambda message: seen.append(message.seq))
    assert [goal.step for goal in stream] == [1, 2] and stream.status is SequenceStatus.VERIFIED
    assert seen == list(range(1, len(seen) + 1)), "nothing lost, nothing twice"
    while leaving.receive(time.monotonic() + 0.5) is not None:
        pass  # what it had heard before
    with pytest.raises(TransportError):
        place.client(place.keys("stranger")).ping()
    assert place.service.tally.strangers > 0
    place.allowed.add("stranger", load_public(place.folder / "stranger.key"))
    assert place.client(place.keys("stranger"), timeout_s=5.0).ping().state == "ready", "let in again, without restart"


def test_one_who_connects_and_says_nothing_costs_nothing(guarded: Any) -> None:
    place = guarded()
    friend = place.client(place.keys("robot"), timeout_s=5.0)
    with zmq.Context() as context:
        knocking = []
        for _ in range(20):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(place.service.requests_address)
            socket.send_multipart(encode(Ping(request_id="r")))
            knocking.append(socket)
        assert not any(socket.poll(20) for socket in knocking)
        assert friend.ping().state == "ready"
        for socket in knocking:
            socket.close()
    assert place.service.tally.refused == 0


def test_other_addresses_need_keys() -> None:
    with pytest.raises(ConfigError, match="CURVE keys"):
        SubgoalService(lambda: None, ServiceConfig("tcp://0.0.0.0:0", "tcp://127.0.0.1:0"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="itk-embodied keys new"):
        SubgoalClient("tcp://192.168.1.5:5591")


def test_key_files_are_private_and_checked(tmp_path: Path) -> None:
    public, secret = new_keys(tmp_path / "keys", "robot")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert load_pair(secret).public == load_public(public) == load_public(load_public(public))
    assert load_pair(secret).secret not in public.read_text()
    loaded = zmq.auth.load_certificate(secret)
    assert loaded == (load_pair(secret).public.encode(), load_pair(secret).secret.encode()), "as other tools read it"
    with pytest.raises(InputError, match="already"):
        new_keys(tmp_path / "keys", "robot")
    with pytest.raises(InputError, match="cannot name a key"):
        new_keys(tmp_path, "../robot")
    with pytest.raises(ConfigError, match="no secret key"):
        load_pair(public)
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_pair(secret)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pair(tmp_path / "none")
    (tmp_path / "bad.key").write_text("hello")
    with pytest.raises(ConfigError, match="no key file"):
        load_public(tmp_path / "bad.key")


def test_the_allow_list_is_its_folder(tmp_path: Path) -> None:
    public, _ = new_keys(tmp_path, "robot")
    allowed = AllowList(tmp_path / "allowed")
    assert allowed.keys() == {} and not allowed.admits(load_public(public))
    path = allowed.add("arm", load_public(public))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert AllowList(tmp_path / "allowed").admits(load_public(public))
    (tmp_path / "allowed" / "broken.key").write_text("?")
    assert list(allowed.keys()) == ["arm"]
    with pytest.raises(InputError, match="nobody is allowed as 'leg'; allowed: arm"):
        allowed.remove("leg")
    allowed.remove("arm")
    assert not allowed.admits(load_public(public))


def test_refusals_are_logged_once_not_each(guarded: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    place = guarded()
    for _ in range(3):
        with pytest.raises(TransportError):
            place.client(place.keys("stranger"), timeout_s=0.3).ping()
    assert place.service.tally.strangers >= 3
    assert sum("was refused" in record.message for record in caplog.records) == 1
