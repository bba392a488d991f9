"""What every policy server is given and gives, whatever it speaks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from itk_embodied.errors import ConfigError, InputError
from itk_embodied.types import Image

Array: TypeAlias = npt.NDArray[Any]

MAX_REPLY_BYTES = 64 << 20
"""A reply larger than this is refused before it is read."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot perceives now, under the names that the policy was trained with.

    Attributes:
        images: RGB ``uint8``, ``(H, W, 3)``, or ``(T, H, W, 3)`` for the newest T frames of a camera, oldest first.
        state: joint positions, gripper opening, …: floats, ``(D,)``, or ``(T, D)``.
    """

    images: Mapping[str, Array]
    state: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("an observation needs at least one camera picture; images is empty.")
        for name, image in self.images.items():
            check_picture(image, what=f"picture {name!r}", stack=True)
        for name, values in self.state.items():
            values = np.asarray(values)
            if values.ndim not in (1, 2) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
                raise InputError(
                    f"state {name!r} has shape {values.shape} and dtype {values.dtype}; expected finite numbers, (D,) "
                    "or (T, D)."
                )


@dataclass(frozen=True, eq=False)
class Actions:
    """A policy's answer.

    Attributes:
        actions: arrays by the server's own names; usually ``(T, D)``, a chunk of T actions.
        info: everything else that the server said, e.g. its timing.
    """

    actions: Mapping[str, Array]
    info: Mapping[str, Any] = field(default_factory=dict)


class RemotePolicy(Protocol):
    """A policy behind a socket. Use it from one thread."""

    def act(self, observation: Observation, goal: Image, instruction: str) -> Actions:
        """Actions that bring the robot nearer to the goal image."""
        ...

    def close(self) -> None: ...


def check_picture(image: object, *, what: str, stack: bool = False) -> Array:
    """A picture that a policy server can take; with ``stack`` also several in a row."""
    array = np.asarray(image)
    allowed = (3, 4) if stack else (3,)
    if array.dtype != np.uint8 or array.ndim not in allowed or array.shape[-1] != 3 or not array.size:
        shapes = "(H, W, 3) or (T, H, W, 3)" if stack else "(H, W, 3)"
        raise InputError(f"{what} has shape {array.shape} and dtype {array.dtype}; expected uint8 RGB, {shapes}.")
    return array


def check_instruction(text: str) -> str:
    if not text.strip():
        raise InputError("the instruction is empty; a policy server wants the step in words, too.")
    return text


def check_host(host: str, port: int, *, unencrypted: bool) -> str:
    """The host, if pictures may be sent to it in clear.

    Raises:
        ConfigError: another machine, and nobody said that the way there may be read by others.
    """
    if not 0 < port < 65536:
        raise ConfigError(f"port {port} is not one; allowed: 1 to 65535.")
    if not (host == "localhost" or unencrypted or _is_loopback(host)):
        raise ConfigError(
            f"host {host!r} is another machine, and this protocol is neither encrypted nor authenticated. Use an SSH "
            "tunnel and a loopback address, or say unencrypted=True on a network of your own."
        )
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
