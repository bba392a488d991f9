"""One message of every kind, and ways to damage it."""

from __future__ import annotations

import random
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np

from itk_embodied.bridges import wire
from itk_embodied.bridges.codec import encode
from itk_embodied.bridges.images import encode_image
from itk_embodied.types import image_hash

PIXELS = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
INFO, PNG = encode_image(PIXELS)
JPEG_INFO, JPEG = encode_image(PIXELS, "jpeg")
RAW_INFO, RAW = encode_image(PIXELS, "raw")
OF_TASK: dict[str, Any] = {
    "session": "5e55",
    "task_id": "task-0001",
    "stamp_ns": 1_700_000_000_123_456_789,
    "frame_id": "front",
    "frame_sha256": image_hash(PIXELS),
    "stack": "embedded",
}
STEP = wire.StepInfo(step=1, name="red", instruction="put the red cube in the teal bowl", prompt="put it there")
SAY = wire.StepInfo(step=2, name="say", instruction=None, prompt=None, auxiliary_text="there is no banana")

SAMPLES: dict[str, tuple[wire.Header, bytes]] = {
    "plan": (
        wire.PlanMessage(**OF_TASK, seq=1, task="put it away", seed=7, steps=(STEP, SAY), thought="…", seconds=0.5),
        b"",
    ),
    "attempt_started": (
        wire.AttemptMessage(**OF_TASK, seq=2, step=1, attempt=1, state="started", prompt="put it there", seed=8),
        b"",
    ),
    "attempt_rejected": (
        wire.AttemptMessage(
            **OF_TASK,
            seq=3,
            step=1,
            attempt=1,
            state="rejected",
            prompt="put it there",
            seed=8,
            score=0.25,
            refine_prompt="put it in the bowl",
            generate_s=1.5,
            judge_s=0.5,
        ),
        b"",
    ),
    **{
        f"subgoal_{info.encoding}": (
            wire.SubgoalMessage(
                **OF_TASK,
                seq=4,
                step=1,
                step_count=1,
                step_name="red",
                instruction="put the red cube in the teal bowl",
                status="verified",
                prompt="put it in the bowl",
                attempt=2,
                attempts=2,
                seed=9,
                score=0.75,
                image=info,
                image_sha256=image_hash(PIXELS),
                valid_until_ns=1_700_000_060_123_456_789,
                age_s=2.5,
            ),
            bytes(payload),
        )
        for info, payload in ((INFO, PNG), (JPEG_INFO, JPEG), (RAW_INFO, RAW))
    },
    "subgoal_failed": (
        wire.SubgoalMessage(
            **OF_TASK, seq=5, step=2, step_count=2, instruction="go", status="failed", error="no memory"
        ),
        b"",
    ),
    "end": (
        wire.EndMessage(
            **OF_TASK,
            seq=6,
            status="partial",
            reason="step 2 has no picture",
            verified=1,
            attempts=3,
            prompt_hashes={"planner": "ab"},
            first_subgoal_s=2.5,
            total_s=4.0,
        ),
        b"",
    ),
    "heartbeat": (wire.Heartbeat(session="5e55", state="ready", active="task-0001", active_seq=6, uptime_s=9.5), b""),
    "frame": (wire.FrameMessage(session="ca3e", seq=1, stamp_ns=5, frame_id="front", image=INFO), bytes(PNG)),
    "submit": (
        wire.Submit(
            request_id="r1",
            task_id="task-0001",
            task="put it away",
            stamp_ns=5,
            frame_id="front",
            image=INFO,
            seed=7,
            deadline_s=60.0,
            max_attempts=3,
            valid_s=30.0,
        ),
        bytes(PNG),
    ),
    "snapshot": (wire.Snapshot(request_id="r2", task_id="task-0001", after_seq=3), b""),
    "cancel": (wire.Cancel(request_id="r3", task_id="task-0001"), b""),
    "ping": (wire.Ping(request_id="r4"), b""),
    "health": (wire.Health(request_id="r5"), b""),
    "submit_reply": (wire.SubmitReply(session="5e55", request_id="r1", task_id="task-0001", place="active"), b""),
    "snapshot_reply": (
        wire.SnapshotReply(
            session="5e55", request_id="r2", task_id="task-0001", place="ended", last_seq=6, count=3, age_s=4.5
        ),
        b"",
    ),
    "cancel_reply": (wire.CancelReply(session="5e55", request_id="r3", task_ids=("task-0001",)), b""),
    "pong": (wire.Pong(session="5e55", request_id="r4", state="loading", detail="the planner", stack="embedded"), b""),
    "health_reply": (
        wire.HealthReply(session="5e55", request_id="r5", state="ready", tasks={"verified": 2}, subgoals={"failed": 1}),
        b"",
    ),
    "refused": (wire.Refused(session="5e55", request_id="r1", error="the task is empty; say what to do"), b""),
}
ENCODED = {name: [bytes(part) for part in encode(*sample)] for name, sample in SAMPLES.items()}

_NAMES = sorted(ENCODED)
_FIELDS = sorted({field for message, _ in SAMPLES.values() for field in message.__struct_fields__} | {"kind"})
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def any_value_in_any_field(draw: st.DrawFn) -> list[bytes]:
    """A message whose header has a field of another type, range or meaning."""
    topic, header, payload = ENCODED[draw(st.sampled_from(_NAMES))]
    fields = msgspec.msgpack.decode(header)
    image = fields.get("image")
    if isinstance(image, dict) and draw(st.booleans()):
        image[draw(st.sampled_from(sorted(image)))] = draw(_VALUES | st.integers(0, 1 << 40))
    else:
        fields[draw(st.sampled_from(_FIELDS))] = draw(_VALUES)
    return [topic, msgspec.msgpack.encode(fields), payload]


noise = st.lists(st.binary(max_size=300), min_size=1, max_size=6)
hostile = st.one_of(any_value_in_any_field(), noise)
"""Found by Hypothesis, example by example: slow, and shrunk to the smallest where one fails."""


def damaged(chance: random.Random) -> list[bytes]:
    """A valid message with bytes flipped, cut, inserted, or frames swapped, doubled, lost, cut off. Fast."""
    parts = list(ENCODED[chance.choice(_NAMES)])
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(parts))
        data = bytearray(parts[at])
        place = chance.randint(0, len(data))
        action = chance.choice(["flip", "cut", "insert", "swap", "double", "lose", "end"])
        if action == "flip" and place < len(data):
            data[place] ^= chance.randint(1, 255)
        elif action == "cut":
            del data[place:]
        elif action == "insert":
            data[place:place] = chance.randbytes(chance.randint(1, 12))
        elif action == "swap":
            other = chance.randrange(len(parts))
            data, parts[other] = bytearray(parts[other]), bytes(data)
        elif action == "double" and len(parts) < 8:
            parts.insert(at, bytes(data))
        elif action == "lose" and len(parts) > 1:
            parts.pop(at)
            continue
        elif action == "end":
            parts[at + 1 :] = []
            del data[place:]
        parts[at] = bytes(data)
    return parts
