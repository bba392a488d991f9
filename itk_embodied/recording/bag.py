"""MCAP files with ROS 2's profile: CDR messages with their definitions beside them.

Every message is a chunk of its own and leaves for the operating system before `BagWriter.write` returns, so that a
killed process loses only what it had not yet written. A file without its end is read up to the last whole message.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from itk_embodied.errors import InputError, MissingDependencyError
from itk_embodied.recording.schemas import definition

SUFFIX = ".mcap"
METADATA = "itk_embodied"


def _libraries() -> tuple[Any, Any, Any]:
    try:
        import mcap.writer
        import mcap_ros2.decoder
        import mcap_ros2.writer
    except ImportError as error:
        raise MissingDependencyError(
            "bags need two packages; install them: pip install 'itk-embodied[record]' (mcap, mcap-ros2-support)"
        ) from error
    return mcap, mcap_ros2.writer, mcap_ros2.decoder


@dataclass(frozen=True, eq=False)
class BagMessage:
    """One message of a bag. ``message`` has the fields of its type; ``log_ns`` is when it was recorded."""

    topic: str
    type_name: str
    message: Any
    log_ns: int


class BagWriter:
    """Writes one new file.

    Args:
        path: must not exist, and ends in ``.mcap``.
        metadata: words about the recording, kept in the file.

    Raises:
        InputError: the file exists or cannot be made.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        if path.suffix != SUFFIX:
            raise InputError(f"the recording {path} must end in {SUFFIX}.")
        mcap, ros2, _ = _libraries()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("xb", buffering=0)
        except FileExistsError:
            raise InputError(f"the recording {path} exists already; give another name.") from None
        except OSError as error:
            raise InputError(f"the recording {path} cannot be made: {error.strerror}.") from error
        self.path = path
        self._schemas: dict[str, Any] = {}
        compression = mcap.writer.CompressionType.LZ4
        self._writer = ros2.Writer(_Whole(self._file), chunk_size=1, compression=compression)
        self._writer.add_metadata(METADATA, dict(metadata or {}))

    def write(self, topic: str, type_name: str, message: Any, log_ns: int) -> None:
        """Append one message of any backend. Raises `OSError` where the disk is full; the file stays readable."""
        schema = self._schemas.get(type_name)
        if schema is None:
            schema = self._schemas[type_name] = self._writer.register_msgdef(type_name, definition(type_name))
        self._writer.write_message(topic, schema, plain(message), log_time=log_ns)

    def close(self) -> None:
        """Write the index and close; may be called twice."""
        if self._file.closed:
            return
        try:
            self._writer.finish()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close without an index, after a failure."""
        self._file.close()


class _Whole:
    """An unbuffered file whose `write` writes everything or raises, as a buffered one does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while len(left):
            left = left[self._file.write(left) :]
        return len(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        pass


def plain(message: Any) -> Any:
    """A message of any backend as maps, lists and numbers."""
    if hasattr(message, "get_fields_and_field_types"):
        return {name: plain(getattr(message, name)) for name in message.get_fields_and_field_types()}
    if isinstance(message, bytes):
        return message[0] if len(message) == 1 else message  # a ``byte`` field, such as a diagnostic's level
    if isinstance(message, (list, tuple)):
        return [plain(item) for item in message]
    if isinstance(message, array.array):
        return message.tobytes() if message.typecode == "B" else list(message)
    return message


def read_bag(path: Path) -> Iterator[BagMessage]:
    """The messages in the order in which they were written; a file cut short is read as far as it goes.

    Raises:
        InputError: no such file, or not a bag.
    """
    _, _, decoder = _libraries()
    import mcap.stream_reader

    decoders: dict[int, Any] = {}
    factory = decoder.DecoderFactory()
    schemas: dict[int, Any] = {}
    channels: dict[int, Any] = {}
    record: Any
    with _opened(path) as stream:
        records = iter(mcap.stream_reader.StreamReader(stream, record_size_limit=None).records)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except _cut_short() as error:
                if not channels and not schemas:
                    raise InputError(f"{path} is not an MCAP file that can be read ({error}).") from error
                return  # cut short: what came before is whole
            kind = type(record).__name__
            if kind == "Schema":
                schemas[record.id] = record
            elif kind == "Channel":
                channels[record.id] = record
            elif kind == "Message":
                channel = channels[record.channel_id]
                schema = schemas[channel.schema_id]
                if schema.id not in decoders:
                    decoders[schema.id] = factory.decoder_for(channel.message_encoding, schema)
                decode = decoders[schema.id]
                if decode is not None:
                    yield BagMessage(channel.topic, schema.name, decode(record.data), record.log_time)


def read_metadata(path: Path) -> dict[str, str]:
    """What `BagWriter` was told about the recording; empty for another program's bag."""
    _libraries()
    import mcap.stream_reader

    record: Any
    with _opened(path) as stream:
        try:
            for record in mcap.stream_reader.StreamReader(stream, record_size_limit=None).records:
                if type(record).__name__ == "Metadata" and record.name == METADATA:
                    return dict(record.metadata)
        except _cut_short():
            pass
    return {}


def _cut_short() -> tuple[type[Exception], ...]:
    """What the reader raises where a file ends in the middle of something, or is no MCAP file."""
    from mcap.exceptions import McapError

    return (McapError, struct.error, EOFError, ValueError, RuntimeError)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"the bag {path} cannot be read: {error.strerror}.") from error
