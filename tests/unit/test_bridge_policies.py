"""Policy servers: byte for byte what their own codecs write (recorded by tools/record_policy_bytes.py), both ways."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from websockets.sync.server import ServerConnection, serve

from itk_embodied.bridges.policies import GrootPolicy, Observation, OpenpiPolicy
from itk_embodied.bridges.policies.arrays import pack_groot, pack_openpi, read_npy, unpack_groot, unpack_openpi
from itk_embodied.errors import ConfigError, InputError, TransportError, WireError

GOLDEN = Path(__file__).parent.parent / "golden" / "policies"
FRONT = (np.arange(6 * 8 * 3) % 251).astype(np.uint8).reshape(6, 8, 3)
GOAL = FRONT[::-1].copy()
JOINTS = np.array([0.5, -1.25, 3.0], np.float32)
ACTIONS = np.linspace(-1, 1, 8).reshape(2, 4)
TEXT = "put the red cube in the teal bowl"
SEEN = Observation({"front": FRONT}, {"arm": JOINTS})
SEEN_BY_OPENPI = Observation({"observation/exterior_image_1_left": FRONT}, {"observation/joint_position": JOINTS})


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


@contextmanager
def groot_server(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A REP socket that answers bytes with bytes; None: with silence."""
    stop = threading.Event()
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def main() -> None:
            while not stop.is_set():
                if socket.poll(20):
                    reply = answer(socket.recv())
                    if reply is None:
                        return
                    socket.send(reply)

        thread = threading.Thread(target=main)
        thread.start()
        try:
            yield port
        finally:
            stop.set()
            thread.join()


@contextmanager
def openpi_server(handle: Callable[[ServerConnection], None]) -> Iterator[int]:
    """A WebSocket server that says its metadata first, as openpi's does."""

    def greet(connection: ServerConnection) -> None:
        connection.send(golden("openpi_metadata"))
        handle(connection)

    with serve(greet, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def test_groot_gets_its_own_bytes_and_its_answer_is_understood() -> None:
    requests: list[bytes] = []
    replies = {"get_action": "groot_reply", "ping": "groot_pong", "reset": "groot_pong", "get_modality_config": "pong"}

    def answer(request: bytes) -> bytes:
        requests.append(request)
        name = replies[msgspec.msgpack.decode(request)["endpoint"]]
        return golden(name) if name.startswith("groot") else msgspec.msgpack.encode({"video": ["front"]})

    with groot_server(answer) as port, GrootPolicy(port=port) as policy:
        result = policy.act(SEEN, GOAL, TEXT)
        np.testing.assert_array_equal(result.actions["arm"], ACTIONS.astype(np.float32)[None])
        assert result.info == {"seconds": 0.25}
        assert policy.ping()
        policy.reset()
        assert policy.modality_config() == {"video": ["front"]}
        with GrootPolicy(port=port, api_token="secret") as trusted:
            trusted.act(SEEN, GOAL, TEXT)
    assert requests[0] == golden("groot_request")
    assert requests[1] == golden("groot_ping") and requests[2] == golden("groot_reset")
    assert requests[4] == golden("groot_request_with_token")


def test_openpi_gets_its_own_bytes_and_its_answer_is_understood() -> None:
    requests: list[Any] = []
    headers: list[str | None] = []

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers.append(connection.request.headers.get("Authorization"))
        for message in connection:
            requests.append(message)
            connection.send(golden("openpi_reply"))

    with openpi_server(handle) as port, OpenpiPolicy(port=port, api_key="key") as policy:
        assert policy.connect() == {"robot": "panda", "action_horizon": 2}
        result = policy.act(SEEN_BY_OPENPI, GOAL, TEXT)
    assert requests == [golden("openpi_request")] and headers == ["Api-Key key"]
    np.testing.assert_array_equal(result.actions["actions"], ACTIONS)
    assert result.info == {"server_timing": {"infer_ms": 12.5}, "step": 3}


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.bin")))
def test_recorded_messages_survive_reading_and_writing(name: str) -> None:
    unpack, pack = (unpack_groot, pack_groot) if name.startswith("groot") else (unpack_openpi, pack_openpi)
    assert pack(unpack(golden(name))) == golden(name)


def test_the_goal_key_is_free_and_has_as_many_frames_as_the_cameras() -> None:
    stack = np.stack([FRONT, FRONT])
    groot = GrootPolicy(goal_key="subgoal", language_key="task")
    video = groot.observation(Observation({"front": stack, "wrist": stack}), GOAL, TEXT)["video"]
    assert video["subgoal"].shape == (1, 2, 6, 8, 3) == video["front"].shape
    np.testing.assert_array_equal(video["subgoal"][0, 1], GOAL)
    openpi = OpenpiPolicy(goal_key="images/goal", prompt_key="task")
    values = openpi.observation(Observation({"images/front": stack}, {"q": np.stack([JOINTS, JOINTS * 2])}), GOAL, TEXT)
    assert set(values) == {"images/front", "q", "images/goal", "task"}
    np.testing.assert_array_equal(values["q"], JOINTS * 2)
    np.testing.assert_array_equal(values["images/front"], FRONT)
    for policy, seen in ((groot, {"subgoal": FRONT}), (openpi, {"images/goal": FRONT})):
        with pytest.raises(WireError, match="goal"):
            policy.observation(Observation(seen), GOAL, TEXT)
        policy.close()


def test_a_groot_server_that_fails_or_is_silent() -> None:
    answers = iter([golden("groot_error"), b"ERROR", b"\xc1", msgspec.msgpack.encode([{}, {}]), None])
    with groot_server(lambda request: next(answers)) as port, GrootPolicy(port=port, timeout_s=0.2) as policy:
        for kind, says in (
            (TransportError, "refused 'get_action': Unauthorized"),
            (TransportError, "answered ERROR"),
            (WireError, "cannot be read"),
            (WireError, "not arrays"),
            (TransportError, rf"127.0.0.1:{port} within 0.2 s.*timeout_s more"),
        ):
            with pytest.raises(kind, match=says):
                policy.act(SEEN, GOAL, TEXT)
        assert not policy.ping()


def test_an_openpi_server_that_fails_says_why_in_one_line() -> None:
    def handle(connection: ServerConnection) -> None:
        connection.recv()
        connection.send("Traceback (most recent call last):\n  File x\nValueError: no such camera\n")
        connection.close(1011)

    with (
        openpi_server(handle) as port,
        OpenpiPolicy(port=port) as policy,
        pytest.raises(TransportError, match=r"failed: ValueError: no such camera$"),
    ):
        policy.act(SEEN_BY_OPENPI, GOAL, TEXT)


def test_a_cut_connection_is_made_anew_and_the_request_sent_again() -> None:
    calls: list[int] = []

    def handle(connection: ServerConnection) -> None:
        with suppress(Exception):
            for _ in connection:
                calls.append(1)
                if len(calls) == 2:
                    connection.close_timeout = 0.1
                    connection.close(1001)
                    return
                connection.send(golden("openpi_reply"))

    with openpi_server(handle) as port, OpenpiPolicy(port=port) as policy:
        for _ in range(3):
            assert policy.act(SEEN_BY_OPENPI, GOAL, TEXT).actions["actions"].shape == (2, 4)
    assert len(calls) == 4


def test_an_openpi_server_that_is_silent_or_absent() -> None:
    def handle(connection: ServerConnection) -> None:
        with suppress(Exception):
            for _ in connection:
                pass

    with (
        openpi_server(handle) as port,
        OpenpiPolicy(port=port, timeout_s=0.2) as policy,
        pytest.raises(TransportError, match=rf"no answer .*:{port} within 0.2 s"),
    ):
        policy.act(SEEN_BY_OPENPI, GOAL, TEXT)
    with (
        OpenpiPolicy(port=1, timeout_s=0.3) as nobody,
        pytest.raises(TransportError, match=r"no openpi server at ws://127.0.0.1:1 within 0.3 s"),
    ):
        nobody.act(SEEN_BY_OPENPI, GOAL, TEXT)


def test_what_no_policy_can_use_is_refused_before_it_is_sent() -> None:
    for wrong in ({}, {"front": FRONT.astype(np.float32)}, {"front": FRONT[..., 0]}):
        with pytest.raises(InputError):
            Observation(wrong)
    with pytest.raises(InputError, match="finite"):
        Observation({"front": FRONT}, {"arm": np.array([np.nan])})
    for policy in (GrootPolicy(), OpenpiPolicy()):
        with pytest.raises(InputError, match="goal image"):
            policy.observation(SEEN, GOAL[..., 0], TEXT)
        with pytest.raises(InputError, match="instruction is empty"):
            policy.observation(SEEN, GOAL, " ")
        policy.close()
    for kind in (GrootPolicy, OpenpiPolicy):
        with pytest.raises(ConfigError, match="SSH tunnel"):
            kind("10.0.0.5")
        with pytest.raises(ConfigError, match="port 0"):
            kind(port=0)
        kind("10.0.0.5", unencrypted=True).close()


def npy(**changes: object) -> bytes:
    """A tampered array: its header says what is given here."""
    fields = {"descr": "<f4", "fortran_order": False, "shape": (2,), **changes}
    header = repr(fields).encode().ljust(64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        npy(shape=(2**40,)),
        npy(shape=(-2,)),
        npy(shape=(2.0,)),
        npy(descr="|O"),
        npy(descr="<U8"),
        npy(descr=[("a", "<f4")]),
        npy()[:40],
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(20),
        b"",
        npy() + b"x",
    ],
    ids=range(10),
)
def test_arrays_that_claim_what_they_are_not(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack_groot(msgspec.msgpack.encode({"__ndarray_class__": True, "as_npy": data}))


@pytest.mark.parametrize(
    "change",
    [{b"shape": [2**40]}, {b"dtype": "|O"}, {b"dtype": 5}, {b"data": "text"}, {b"shape": None}, {b"shape": [True]}],
    ids=str,
)
def test_openpi_arrays_that_claim_what_they_are_not(change: dict[bytes, object]) -> None:
    array = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2], **change}
    with pytest.raises(WireError):
        unpack_openpi(msgspec.msgpack.encode({"actions": array}))


@pytest.mark.parametrize("order", ["C", "F"])
def test_every_layout_that_numpy_saves_is_read(order: Any) -> None:
    for dtype in ("<f4", ">f8", "<i2", "|b1", "|u1"):
        array = np.asarray(np.arange(12).reshape(3, 4).astype(dtype), order=order)
        for unpack, pack in ((unpack_groot, pack_groot), (unpack_openpi, pack_openpi)):
            read = unpack(pack({"a": array}))["a"]
            np.testing.assert_array_equal(read, array)
            assert read.dtype == array.dtype and not read.flags.writeable


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(GOLDEN.glob("*.bin"))), st.integers(0, 700), st.binary(max_size=9), st.booleans())
def test_damaged_answers_are_read_or_refused(path: Path, at: int, junk: bytes, cut: bool) -> None:
    data = path.read_bytes()
    damaged = data[:at] + junk + (b"" if cut else data[at + len(junk) :])
    for unpack in (unpack_groot, unpack_openpi):
        with suppress(WireError):
            unpack(damaged)
    with suppress(ValueError, SyntaxError, TypeError):
        read_npy(damaged)
