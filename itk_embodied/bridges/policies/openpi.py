"""openpi's policy server: a WebSocket, one msgpack map a message, metadata first (its websocket_policy_server.py)."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Any

import numpy as np

from itk_embodied.bridges.policies.arrays import pack_openpi, unpack_openpi
from itk_embodied.bridges.policies.base import (
    MAX_REPLY_BYTES,
    Actions,
    Observation,
    check_host,
    check_instruction,
    check_picture,
)
from itk_embodied.errors import MissingDependencyError, TransportError, WireError
from itk_embodied.types import Image

_PAUSE_S = (0.1, 0.2, 0.5, 1.0, 2.0)  # between attempts to connect

_CLOSE_S = 0.5  # for saying good-bye to a server that may be gone


class OpenpiPolicy:
    """Talks to one openpi server. Use it from one thread. Connects when first needed, and again when cut off.

    Pictures travel as ``uint8 (H, W, 3)`` (the newest of a stack), state as ``float32 (D,)``, under the names of the
    observation, e.g. ``observation/exterior_image_1_left``.

    Args:
        goal_key: the goal image's name in the message; the one that the policy was trained with.
        prompt_key: the instruction's name.
        api_key: sent as ``Authorization: Api-Key …`` where the server wants one.
        timeout_s: what an answer, or connecting, may take.
        unencrypted: allow a host that is not this machine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        goal_key: str = "observation/goal_image",
        prompt_key: str = "prompt",
        api_key: str | None = None,
        timeout_s: float = 15.0,
        unencrypted: bool = False,
    ) -> None:
        host = check_host(host, port, unencrypted=unencrypted)
        self.address = f"ws://{f'[{host}]' if ':' in host else host}:{port}"
        self.goal_key = goal_key
        self.prompt_key = prompt_key
        self.timeout_s = timeout_s
        self.metadata: Any = None
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._library = _websockets()
        self._socket: Any = None
        self._stack = contextlib.ExitStack()

    def act(self, observation: Observation, goal: Image, instruction: str) -> Actions:
        """One chunk of actions, usually ``actions`` of shape ``(T, D)``.

        Raises:
            TransportError: no connection or answer in time, or the server's own error.
            WireError: an answer that is not in the server's format.
        """
        message = pack_openpi(self.observation(observation, goal, instruction))
        reply = unpack_openpi(self._exchange(message))
        if not isinstance(reply, dict):
            raise WireError(f"the policy server at {self.address} did not answer with a map.")
        actions = {name: value for name, value in reply.items() if isinstance(value, np.ndarray)}
        if not actions:
            raise WireError(f"the policy server at {self.address} answered without an action array.")
        return Actions(actions, {name: value for name, value in reply.items() if name not in actions})

    def observation(self, observation: Observation, goal: Image, instruction: str) -> dict[str, Any]:
        """The map that the server gets."""
        check_picture(goal, what="the goal image")
        values: dict[str, Any] = {}
        for name, image in observation.images.items():
            values[name] = image[-1] if image.ndim == 4 else image
        for name, numbers in observation.state.items():
            rows = np.asarray(numbers, np.float32)
            values[name] = rows[-1] if rows.ndim == 2 else rows
        for name, value in ((self.goal_key, goal), (self.prompt_key, check_instruction(instruction))):
            if name in values:
                raise WireError(f"the observation has an entry {name!r} of its own; give another goal or prompt key.")
            values[name] = value
        return values

    def connect(self) -> Any:
        """Connect now and return the server's metadata. Keeps trying, as a server that loads its model is not up yet.

        Raises:
            TransportError: nobody there within ``timeout_s``.
        """
        ends_s = time.monotonic() + self.timeout_s
        for attempt in range(10_000):
            left_s = ends_s - time.monotonic()
            try:
                connecting = self._library.sync.client.connect(
                    self.address,
                    compression=None,
                    max_size=MAX_REPLY_BYTES,
                    additional_headers=self._headers,
                    open_timeout=max(0.05, left_s),
                    close_timeout=_CLOSE_S,
                    proxy=None,
                )
                self._socket = self._stack.enter_context(connecting)
                self.metadata = unpack_openpi(self._binary(self._socket.recv(timeout=max(0.05, left_s))))
                return self.metadata
            except (OSError, TimeoutError, self._library.exceptions.WebSocketException) as error:
                self._drop()
                pause_s = _PAUSE_S[min(attempt, len(_PAUSE_S) - 1)]
                if time.monotonic() + pause_s >= ends_s:
                    raise TransportError(
                        f"no openpi server at {self.address} within {self.timeout_s:g} s ({error}). Check that it runs "
                        "and that host and port are these, or give timeout_s more while it loads its model."
                    ) from error
                time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _exchange(self, message: bytes) -> bytes:
        """Send and receive; a connection that was cut is made anew and the same message sent once more."""
        for last in (False, True):
            if self._socket is None:
                self.connect()
            try:
                self._socket.send(message)
                return self._binary(self._socket.recv(timeout=self.timeout_s))
            except TimeoutError as error:
                self._drop()  # its answer, should it come, belongs to nobody
                raise TransportError(
                    f"no answer from the openpi server at {self.address} within {self.timeout_s:g} s. Check its log, "
                    "or give timeout_s more."
                ) from error
            except (OSError, self._library.exceptions.ConnectionClosed) as error:
                self._drop()
                if last:
                    raise TransportError(
                        f"the openpi server at {self.address} closed the connection twice ({error}); see its log."
                    ) from error
        raise AssertionError("unreachable")

    def _binary(self, answer: str | bytes) -> bytes:
        """The server sends its errors as text: a traceback, whose last line says what was wrong."""
        if isinstance(answer, bytes):
            return answer
        self._drop()
        lines = [line for line in answer.strip().splitlines() if line.strip()]
        raise TransportError(
            f"the openpi server at {self.address} failed: {lines[-1].strip() if lines else 'no reason'}"
        )

    def _drop(self) -> None:
        self._socket = None
        with contextlib.suppress(OSError, self._library.exceptions.WebSocketException):
            self._stack.close()

    def close(self) -> None:
        self._drop()

    def __enter__(self) -> OpenpiPolicy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _websockets() -> Any:
    try:
        import websockets
        import websockets.exceptions
        import websockets.sync.client
    except ImportError as error:
        raise MissingDependencyError(
            "the openpi adapter needs the package websockets: pip install 'itk-embodied[policies]'."
        ) from error
    return websockets
