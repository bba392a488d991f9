"""GR00T's policy server: ZeroMQ REQ/REP, one msgpack map a message (Isaac-GR00T, gr00t/policy/server_client.py)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import zmq

from itk_embodied.bridges.policies.arrays import pack_groot, unpack_groot
from itk_embodied.bridges.policies.base import (
    MAX_REPLY_BYTES,
    Actions,
    Array,
    Observation,
    check_host,
    check_instruction,
    check_picture,
)
from itk_embodied.bridges.sockets import open_socket
from itk_embodied.errors import TransportError, WireError
from itk_embodied.types import Image


class GrootPolicy:
    """Talks to one GR00T server. Use it from one thread.

    Pictures travel as ``uint8 (1, T, H, W, 3)``, state as ``float32 (1, T, D)``, the instruction as ``[[text]]``. The
    goal image is one more picture: repeated, so that it has as many frames as the cameras.

    Args:
        goal_key: the goal image's name among the ``video`` pictures; the one that the policy was trained with.
        language_key: the instruction's name among the ``language`` entries.
        api_token: where the server was started with one. It travels in clear, as the protocol has it.
        timeout_s: what an answer may take.
        unencrypted: allow a host that is not this machine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5555,
        *,
        goal_key: str = "goal",
        language_key: str = "annotation.human.task_description",
        api_token: str | None = None,
        timeout_s: float = 15.0,
        unencrypted: bool = False,
    ) -> None:
        self.address = f"tcp://{check_host(host, port, unencrypted=unencrypted)}:{port}"
        self.goal_key = goal_key
        self.language_key = language_key
        self.timeout_s = timeout_s
        self._api_token = api_token
        self._context = zmq.Context()
        self._socket: Any = None

    def act(self, observation: Observation, goal: Image, instruction: str) -> Actions:
        """One chunk of actions, ``(1, T, D)`` arrays by action name.

        Raises:
            TransportError: no answer in time, or the server says that something is wrong.
            WireError: an answer that is not in the server's format.
        """
        data = {"observation": self.observation(observation, goal, instruction), "options": None}
        reply = self._call("get_action", data)
        if not isinstance(reply, list) or len(reply) != 2 or not all(isinstance(part, dict) for part in reply):
            raise WireError(f"the policy server at {self.address} did not answer with [action, info].")
        actions, info = reply
        if not actions or not all(isinstance(value, np.ndarray) for value in actions.values()):
            raise WireError(f"the policy server at {self.address} answered with actions that are not arrays.")
        return Actions(actions, info)

    def observation(self, observation: Observation, goal: Image, instruction: str) -> dict[str, Any]:
        """The ``observation`` map that the server gets."""
        check_picture(goal, what="the goal image")
        frames = {name: self._frames(image) for name, image in observation.images.items()}
        horizon = max(stack.shape[1] for stack in frames.values())
        if self.goal_key in frames:
            raise WireError(f"a camera is named {self.goal_key!r} like the goal image; give another goal_key.")
        video = {**frames, self.goal_key: np.repeat(self._frames(goal), horizon, axis=1)}
        state = {}
        for name, values in observation.state.items():
            rows = np.asarray(values, np.float32)
            state[name] = np.ascontiguousarray(rows.reshape(1, -1, rows.shape[-1]))
        language = {self.language_key: [[check_instruction(instruction)]]}
        return {"video": video, "state": state, "language": language}

    @staticmethod
    def _frames(image: Array) -> Array:
        array = np.ascontiguousarray(image)
        return array.reshape(1, -1, *array.shape[-3:])

    def ping(self) -> bool:
        """Whether the server is there; False after ``timeout_s`` without an answer."""
        try:
            self._call("ping")
        except TransportError:
            return False
        return True

    def reset(self) -> None:
        """Tell the policy that a new episode begins."""
        self._call("reset", {"options": None})

    def modality_config(self) -> Any:
        """Which pictures, states and actions the server's policy knows."""
        return self._call("get_modality_config")

    def _call(self, endpoint: str, data: dict[str, Any] | None = None) -> Any:
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self._api_token:
            request["api_token"] = self._api_token
        message = pack_groot(request)
        if self._socket is None:
            self._socket = self._open()
        self._socket.send(message, copy=False)
        if not self._socket.poll(round(self.timeout_s * 1000)):
            self._drop()  # a REQ socket that waits for an answer can send nothing else
            raise TransportError(
                f"no answer to {endpoint!r} from the GR00T server at {self.address} within {self.timeout_s:g} s. Check "
                "that it runs, that its --host and --port are these, or give timeout_s more."
            )
        answer = self._socket.recv(copy=False).buffer
        if answer == b"ERROR":
            raise TransportError(f"the GR00T server at {self.address} answered ERROR; see its log.")
        reply = unpack_groot(answer)
        if isinstance(reply, dict) and "error" in reply:
            raise TransportError(f"the GR00T server at {self.address} refused {endpoint!r}: {reply['error']}")
        return reply

    def _open(self) -> Any:
        socket = open_socket(self._context, zmq.REQ, hwm=1, max_bytes=MAX_REPLY_BYTES)
        socket.connect(self.address)
        return socket

    def _drop(self) -> None:
        self._socket.close(linger=0)
        self._socket = None

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> GrootPolicy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
