"""Arrays inside msgpack as GR00T and openpi write them. Nothing is allocated by a size that a peer merely claims.

GR00T: ``{"__ndarray_class__": true, "as_npy": <what numpy.save writes>}``.
openpi: ``{b"__ndarray__": true, b"data": <rows>, b"dtype": "<f4", b"shape": [...]}``, scalars as ``b"__npgeneric__"``.
"""

from __future__ import annotations

import ast
import io
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from itk_embodied.bridges.policies.base import Array
from itk_embodied.errors import WireError

_KINDS = "biuf"  # bool, int, unsigned, float: what a robot needs; never objects
_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER = 10_000
_MAX_DIMS = 32
_BROKEN = (msgspec.DecodeError, ValueError, SyntaxError, TypeError, KeyError, RecursionError, OverflowError)


def pack_groot(value: Any) -> bytes:
    """A message in GR00T's form."""
    return _pack(value, _groot_array)


def unpack_groot(data: bytes | memoryview) -> Any:
    """The inverse of `pack_groot`. Arrays are read-only views of the message.

    Raises:
        WireError: not msgpack, or an array that is not what its header says.
    """
    return _unpack(data, _from_groot)


def pack_openpi(value: Any) -> bytes:
    """A message in openpi's form."""
    return _pack(value, _openpi_array)


def unpack_openpi(data: bytes | memoryview) -> Any:
    """The inverse of `pack_openpi`. Arrays are read-only views of the message."""
    return _unpack(data, _from_openpi)


def _pack(value: Any, hook: Callable[[Any], Any]) -> bytes:
    try:
        return msgspec.msgpack.Encoder(enc_hook=hook).encode(value)
    except (TypeError, OverflowError, RecursionError) as error:
        raise WireError(f"the message cannot be written: {error}.") from error


def _unpack(data: bytes | memoryview, convert: Callable[[dict[Any, Any]], Any]) -> Any:
    try:
        return _walk(msgspec.msgpack.decode(data), convert)
    except _BROKEN as error:
        text = " ".join(str(error).split())[:300]
        raise WireError(f"the policy server's message cannot be read ({type(error).__name__}: {text}).") from error


def _walk(value: Any, convert: Callable[[dict[Any, Any]], Any]) -> Any:
    if isinstance(value, dict):
        return convert({key: _walk(inner, convert) for key, inner in value.items()})
    if isinstance(value, list):
        return [_walk(inner, convert) for inner in value]
    return value


def _known(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise TypeError(f"dtype {dtype} is not allowed; numbers and booleans are")
    return dtype


def _groot_array(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} has no form in this protocol")
    _known(value.dtype)
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": buffer.getvalue()}


def _openpi_array(value: Any) -> Any:
    if isinstance(value, float):  # numpy.float64 is one, and msgpack writes it so
        return float(value)
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": _known(value.dtype).str}
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} has no form in this protocol")
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": _known(value.dtype).str,
        b"shape": value.shape,
    }


def _from_groot(value: dict[Any, Any]) -> Any:
    return read_npy(value["as_npy"]) if "__ndarray_class__" in value else value


def _from_openpi(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _view(value[b"data"], _dtype(value[b"dtype"]), tuple(value[b"shape"]), fortran=False)
    if b"__npgeneric__" in value:
        return _dtype(value[b"dtype"]).type(value[b"data"])
    return value


def _dtype(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str) or len(text) > 8:
        raise TypeError(f"a dtype is written like '<f4'; got {text!r}")
    return _known(np.dtype(text))


def read_npy(data: bytes) -> Array:
    """What `numpy.save` wrote, as a read-only view. Unlike `numpy.load` it believes no shape before counting bytes."""
    if bytes(data[:6]) != _MAGIC or len(data) < 12:
        raise ValueError("an array does not start like numpy.save's output")
    wide = data[6] >= 2
    length = int.from_bytes(data[8:12] if wide else data[8:10], "little")
    start = 12 if wide else 10
    if length > _MAX_NPY_HEADER or start + length > len(data):
        raise ValueError(f"an array's header claims {length} bytes")
    header = ast.literal_eval(data[start : start + length].decode("latin1").strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("an array's header lacks descr, fortran_order or shape")
    return _view(
        data[start + length :], _dtype(header["descr"]), header["shape"], fortran=bool(header["fortran_order"])
    )


def _view(data: Any, dtype: np.dtype[Any], shape: Any, *, fortran: bool) -> Array:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError("an array's data are not bytes")
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMS or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array's shape is {shape!r}; expected whole numbers of 0 or more")
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(data):
        raise ValueError(f"an array of {dtype} {shape} has {expected} bytes, not {len(data)}")
    array: Array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    array.setflags(write=False)
    return array
