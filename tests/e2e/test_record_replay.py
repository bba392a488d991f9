"""Recording and replay: bags that ROS 2 tools read, replays that are the same byte for byte, disks that fill up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_bench import NODE, Bench, pipeline_of

from itk_embodied import ros
from itk_embodied.errors import InputError
from itk_embodied.recording import BagWriter, Recorder, read_bag, read_metadata
from itk_nodes.record_node import RecordNode
from itk_nodes.recorded import recorded_tasks
from itk_nodes.replay import replay

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    ros.try_shutdown()


def record(bench: Any, bag: Path, *tasks: str, judgements: tuple[bool, ...] = (False, True, True)) -> Bench:
    """A bag of these tasks; closed, the backend shut down."""
    b = bench(pipeline_of(*judgements), ("--ros-args", "-p", f"record_path:={bag}"))
    b.until(lambda: b.subject.lifecycle.active)
    for number, task in enumerate(tasks, 1):
        b.show()
        b.ask(task)
        b.until(lambda number=number: len(b.ends) == number)
    b.close()
    return b


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_bag_holds_what_the_node_heard_and_said_and_a_ros_2_tool_reads_it(bench: Any, tmp_path: Path) -> None:
    rosbags = pytest.importorskip("rosbags.highlevel")
    bag = tmp_path / "run.mcap"
    record(bench, bag, "put both away")
    with rosbags.AnyReader([bag]) as reader:
        counts = Counter(connection.topic for connection, _, _ in reader.messages())
        pictures = [
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
            if connection.topic == f"{NODE}/subgoal/compressed"
        ]
        types = {connection.topic: connection.msgtype for connection in reader.connections}
    assert counts[f"{NODE}/image"] == counts[f"{NODE}/task"] == counts[f"{NODE}/plan"] == 1
    assert counts[f"{NODE}/subgoal"] == counts[f"{NODE}/subgoal/compressed"] == 2
    assert counts[f"{NODE}/status"] == 3 and counts[f"{NODE}/transition_event"] >= 3
    assert types["/diagnostics"] == "diagnostic_msgs/msg/DiagnosticArray"
    assert types[f"{NODE}/image"] == "sensor_msgs/msg/Image"
    assert [bytes(p.data[:4]) for p in pictures] == [b"\x89PNG"] * 2
    assert read_metadata(bag)["node"] == "visual_subgoal_node" and read_metadata(bag)["seed"] == "0"
    assert read_metadata(bag)["stack"] == "custom"


def test_a_replay_is_the_same_byte_for_byte(bench: Any, tmp_path: Path) -> None:
    bag = tmp_path / "run.mcap"
    b = record(bench, bag, "put both away", '{"task": "and again", "seed": 7, "max_attempts": 1}')
    recorded = [json.loads(m.data) for m in b.heard["subgoal"]]
    said: list[str] = []
    judgements = (False, True, True)
    assert replay(bag, tmp_path / "one", pipeline_of(*judgements), say=said.append)
    assert replay(bag, tmp_path / "two", pipeline_of(*judgements))
    first, second = files(tmp_path / "one"), files(tmp_path / "two")
    assert first == second
    assert "task-01/step-01.png" in first and "task-02/step-02.png" in first and "task-01/frame.png" in first
    report = json.loads(first["replay.json"])
    assert [task["seed"] for task in report["tasks"]] == [0, 7]
    assert len(said) == 2 and "the same as recorded" in said[0]
    sequence = json.loads(first["task-01/sequence.json"])
    assert [step["source_image_sha256"] for step in sequence["steps"]] == [s["source_sha256"] for s in recorded[:2]]


def test_another_seed_or_stack_is_noticed(bench: Any, tmp_path: Path) -> None:
    bag = tmp_path / "run.mcap"
    record(bench, bag, "put both away")
    assert not replay(bag, tmp_path / "seed", pipeline_of(False, True, True), seed=9)
    assert not replay(bag, tmp_path / "critic", pipeline_of(False, False, True))
    (task,) = json.loads((tmp_path / "critic" / "replay.json").read_text())["tasks"]
    assert task["differences"] == [
        "step 1 has another status (unverified)",
        "the task was verified when recorded",
    ]


def test_only_the_frames_that_were_used_are_kept_if_asked(bench: Any, tmp_path: Path) -> None:
    bag = tmp_path / "run.mcap"
    arguments = ("--ros-args", "-p", f"record_path:={bag}", "-p", "record_frames:=used")
    b = bench(pipeline_of(), arguments)
    b.until(lambda: b.subject.lifecycle.active)
    for _ in range(5):
        taken_ns = b.show()
    b.until(lambda: b.subject.frames.count)
    b.ask("go")
    b.until(lambda: b.ends)
    b.close()
    (task,) = recorded_tasks(bag)
    assert task.stamp_ns == taken_ns and task.frame is not None
    assert Counter(m.topic for m in read_bag(bag))[f"{NODE}/image"] == 1


def test_a_full_disk_ends_the_recording_and_nothing_else(
    bench: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    bag = tmp_path / "run.mcap"
    b = bench(pipeline_of(), ("--ros-args", "-p", f"record_path:={bag}"))
    b.until(lambda: b.subject.lifecycle.active)
    b.show()
    b.ask("before")
    b.until(lambda: b.ends)
    recorder = b.subject.out.recorder
    b.until(lambda: not recorder._queue)
    written = recorder.written

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    recorder._bag._file = None
    recorder._bag._writer._writer._Writer__stream.write = full
    recorder._bag.abandon = lambda: None
    b.show()
    b.ask("after")
    b.until(lambda: len(b.ends) == 2)
    assert [end["state"] for end in b.ends] == ["verified", "verified"]
    b.until(lambda: recorder.problem)  # it writes in a thread of its own
    assert "No space left on device" in recorder.problem
    b.heard["diagnostics"].clear()
    b.until(lambda: b.heard["diagnostics"] and b.heard["diagnostics"][-1].status[0].level == b"\x01")
    assert "No space left" in b.heard["diagnostics"][-1].status[0].message
    assert sum(1 for _ in read_bag(bag)) >= written


def test_a_real_full_disk(tmp_path: Path) -> None:
    """/dev/full takes nothing."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    writer = BagWriter(tmp_path / "x.mcap")
    writer._file.close()
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    writer._writer._writer._Writer__stream._file = full
    ros.use_backend("inproc")
    with pytest.raises(OSError, match="No space left"):
        writer.write("/x", "std_msgs/msg/String", ros.message_type("std_msgs/msg/String")(data="x"), 1)
    full.close()


def test_a_killed_recorder_loses_only_what_it_had_not_written(tmp_path: Path) -> None:
    bag = tmp_path / "killed.mcap"
    script = f"""
        import time
        from pathlib import Path
        from itk_embodied import ros
        from itk_embodied.recording import Recorder
        ros.use_backend("inproc")
        String = ros.message_type("std_msgs/msg/String")
        recorder = Recorder(Path({str(bag)!r}))
        for n in range(100000):
            recorder.put("/x", "std_msgs/msg/String", String(data=f"message {{n}}"))
            if n % 50 == 0:
                print(recorder.written, flush=True)
            time.sleep(0.001)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "nodes")])}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = 0
        while written < 100:
            written = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    texts = [message.message.data for message in read_bag(bag)]
    assert len(texts) >= written
    assert texts == [f"message {n}" for n in range(len(texts))]


def test_words_are_never_dropped_and_frames_are_where_the_disk_is_slow(tmp_path: Path) -> None:
    ros.use_backend("inproc")
    Image, String = ros.message_type("sensor_msgs/msg/Image"), ros.message_type("std_msgs/msg/String")
    recorder = Recorder(tmp_path / "slow.mcap", queue_bytes=1000)
    write = recorder._bag.write

    def slow(*arguments: Any) -> None:
        time.sleep(0.05)
        write(*arguments)

    recorder._bag.write = slow  # type: ignore[method-assign]
    kept = [recorder.put("/i", "sensor_msgs/msg/Image", Image(data=bytes(600)), may_drop=True) for _ in range(6)]
    words = [recorder.put("/s", "std_msgs/msg/String", String(data="x" * 600)) for _ in range(6)]
    recorder.close()
    assert all(words) and not all(kept) and recorder.dropped == kept.count(False)
    counts = Counter(message.topic for message in read_bag(tmp_path / "slow.mcap"))
    assert counts == {"/i": kept.count(True), "/s": 6}


def test_the_recorder_as_a_node_of_its_own(bench: Any, tmp_path: Path) -> None:
    bag = tmp_path / "apart.mcap"
    b = bench(pipeline_of(True), ("--ros-args", "-p", "recorder:record_path:=" + str(bag)))
    recorder = RecordNode(b.node("recorder"))
    taken, put = Counter[str](), recorder.recorder.put

    def counted(topic: str, *arguments: Any, **options: Any) -> bool:
        taken[topic.removeprefix(NODE)] += 1
        return put(topic, *arguments, **options)

    recorder.recorder.put = counted  # type: ignore[method-assign]
    b.until(lambda: b.subject.lifecycle.active)
    b.show()
    b.until(lambda: b.subject.frames.count)
    b.ask("put both away")
    b.until(lambda: b.ends and len(b.heard["subgoal/compressed"]) == 2)
    # The recorder is another subscriber: what the user has heard, it may not have heard yet.
    b.until(lambda: taken["/status"] == 3 and taken["/subgoal"] == taken["/subgoal/compressed"] == 2)
    recorder.close()
    b.close()
    counts = Counter(message.topic.removeprefix(NODE) for message in read_bag(bag))
    assert (counts["/image"], counts["/task"], counts["/plan"], counts["/status"]) == (1, 1, 1, 3)
    assert counts["/subgoal"] == counts["/subgoal/compressed"] == 2
    assert replay(bag, tmp_path / "out", pipeline_of(True))


def test_mistakes_are_told(bench: Any, tmp_path: Path) -> None:
    there = tmp_path / "there.mcap"
    there.write_bytes(b"something")
    with pytest.raises(InputError, match="exists already"):
        Recorder(there)
    with pytest.raises(InputError, match=r"must end in \.mcap"):
        Recorder(tmp_path / "x.bag")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_bag(tmp_path / "no.mcap"))
    with pytest.raises(InputError, match="not an MCAP file"):
        list(read_bag(there))
    bag = tmp_path / "run.mcap"
    record(bench, bag, "go")
    with pytest.raises(InputError, match="holds no task that /other accepted"):
        recorded_tasks(bag, "/other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(InputError, match=r"holds other files \(thesis.txt"):
        replay(bag, tmp_path / "mine", pipeline_of())
    with pytest.raises(InputError, match="exists already"):
        bench(pipeline_of(), ("--ros-args", "-p", f"record_path:={bag}"))
