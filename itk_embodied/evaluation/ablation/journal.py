"""What a row has measured so far, a line each: a stopped row goes on behind its last finished step or episode."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Journal:
    """Values under keys, in a JSON lines file that begins with the settings they were measured with.

    A file of other settings is begun anew; a last line cut short is dropped. Use it as a context manager.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        header = msgspec.json.encode({"settings": settings})
        self._values = _read(path, header)
        staging = path.with_suffix(".rewritten")
        lines = [header, *(msgspec.json.encode([key, value]) for key, value in self._values.items())]
        staging.write_bytes(b"".join(line + b"\n" for line in lines))
        staging.replace(path)
        self._file = path.open("ab")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, kind: type[T]) -> T:
        """The value under a key. Raises KeyError."""
        return msgspec.convert(self._values[key], kind)

    def put(self, key: str, value: object) -> None:
        """Keep a value: it is on disk when this returns. Dataclasses are kept by their fields."""
        self._values[key] = msgspec.to_builtins(value)
        self._file.write(msgspec.json.encode([key, value]) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Take the file away: what it held is kept elsewhere now."""
        self._file.close()
        self.path.unlink()


def _read(path: Path, header: bytes) -> dict[str, Any]:
    try:
        first, *lines = path.read_bytes().split(b"\n")
    except OSError:
        return {}
    if first != header:
        return {}
    values: dict[str, Any] = {}
    for line in lines:
        try:
            key, value = msgspec.json.decode(line, type=tuple[str, Any])
        except msgspec.MsgspecError:
            break
        values[key] = value
    return values
