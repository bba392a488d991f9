"""Record what the policy servers' own codecs write, for tests/golden/policies.

Run it where `openpi-client` is installed (its own environment: it wants an old numpy), and `msgpack`:

    python3 -m venv /tmp/openpi && /tmp/openpi/bin/pip install openpi-client msgpack
    /tmp/openpi/bin/python tools/record_policy_bytes.py tests/golden/policies

openpi's messages are written by openpi-client itself. GR00T's package has no small client to install, so its messages
are written by msgpack and numpy.save in the layout of its server: a map with ``__ndarray_class__`` and ``as_npy``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from openpi_client import msgpack_numpy

FRONT = (np.arange(6 * 8 * 3) % 251).astype(np.uint8).reshape(6, 8, 3)
GOAL = FRONT[::-1].copy()
JOINTS = np.array([0.5, -1.25, 3.0], np.float32)
ACTIONS = np.linspace(-1, 1, 8).reshape(2, 4)
TEXT = "put the red cube in the teal bowl"


def groot(value: Any) -> bytes:
    def default(array: np.ndarray) -> dict[str, Any]:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": buffer.getvalue()}

    return msgpack.packb(value, default=default)


def main(folder: Path) -> None:
    openpi = msgpack_numpy.packb
    observation = {
        "video": {"front": FRONT[None, None], "goal": GOAL[None, None]},
        "state": {"arm": JOINTS[None, None]},
        "language": {"annotation.human.task_description": [[TEXT]]},
    }
    request = {"endpoint": "get_action", "data": {"observation": observation, "options": None}}
    messages = {
        "groot_request": groot(request),
        "groot_request_with_token": groot({**request, "api_token": "secret"}),
        "groot_ping": groot({"endpoint": "ping"}),
        "groot_reset": groot({"endpoint": "reset", "data": {"options": None}}),
        "groot_pong": groot({"status": "ok", "message": "Server is running"}),
        "groot_reply": groot([{"arm": ACTIONS.astype(np.float32)[None]}, {"seconds": 0.25}]),
        "groot_error": groot({"error": "Unauthorized: Invalid API token"}),
        "openpi_metadata": openpi({"robot": "panda", "action_horizon": 2}),
        "openpi_request": openpi(
            {
                "observation/exterior_image_1_left": FRONT,
                "observation/joint_position": JOINTS,
                "observation/goal_image": GOAL,
                "prompt": TEXT,
            }
        ),
        "openpi_reply": openpi({"actions": ACTIONS, "server_timing": {"infer_ms": 12.5}, "step": np.int32(3)}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in messages.items():
        (folder / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
