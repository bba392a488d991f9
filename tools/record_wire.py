"""Record one message of every kind into tests/golden/wire, once: files that are there are never written again.

NAME.bin has the three ZeroMQ frames, each after its length (4 bytes, big-endian); NAME.json the header in words.

    PYTHONPATH=.:tests python tools/record_wire.py
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
from wire_samples import ENCODED

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / "wire"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, parts in ENCODED.items():
        path = FOLDER / f"v1_{name}.bin"
        if path.exists():
            continue
        path.write_bytes(b"".join(struct.pack(">I", len(part)) + part for part in parts))
        header = msgspec.json.format(msgspec.json.encode(msgspec.msgpack.decode(parts[1])), indent=2)
        path.with_suffix(".json").write_bytes(header + b"\n")
        print(path)


if __name__ == "__main__":
    main()
