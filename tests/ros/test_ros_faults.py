"""The three executables over real rclpy: killed and restarted in the middle of a task, and used wrongly."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted_kinds
from ros_world import HOW, ROOT, ROS_PYTHON, RosProcess, have_ros, ros_environment
from scripted import gradient_image

from itk_embodied.images import save_png

pytestmark = pytest.mark.skipif(not have_ros(), reason=HOW)
OK, STALE = 0, 3
NOWHERE = ("--stream", "tcp://127.0.0.1:0", "--requests", "tcp://127.0.0.1:0")
PATIENT = 60.0


class Graph:
    """Camera, node and policy as processes, and a witness."""

    def __init__(self, folder: Path) -> None:
        save_png(gradient_image(), folder / "frame.png")
        plugins = scripted_kinds.install(folder)
        self.stack = scripted_kinds.write_stack(folder, generator="seconds = 1.0")
        self.environment = ros_environment()
        self.environment["PYTHONPATH"] = os.pathsep.join([str(plugins), self.environment["PYTHONPATH"]])
        self.logs = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[dict[str, Any]] = []
        self.witness = RosProcess(ROS_PYTHON, script="ros_watch.py")
        self.witness.ready()

    def start(self, name: str) -> None:
        arguments = {
            "camera_node": ["--ros-args", "-p", f"path:={self.logs / 'frame.png'}", "-p", "rate_hz:=20.0"],
            "visual_subgoal_node": [
                *("--stack", str(self.stack), *NOWHERE, "--ros-args", "-r", "~/image:=/camera_node/image"),
                *("-p", "frame_wait_s:=3.0"),
            ],
            "policy_node": ["--policy", "ros_policy:slow", "--ros-args", "-p", "node_timeout_s:=2.5"],
        }[name]
        (self.logs / "ros_policy.py").write_text("def slow(goal):\n    goal.stop.wait(0.3)\n")
        command = [str(ROS_PYTHON), "-m", f"itk_nodes.{name}", "--backend", "rclpy", *arguments]
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        self.processes[name].send_signal(how)
        self.processes[name].wait(20)

    def hear(self, topic: str, **wanted: Any) -> dict[str, Any]:
        """The next thing said on a topic with these values."""

        def fits(said: dict[str, Any]) -> bool:
            return said.get("topic") == topic and all(said.get(key) == value for key, value in wanted.items())

        heard = self.witness.hear(fits, PATIENT)
        self.said += heard
        return heard[-1]

    def ask(self, task: str) -> str:
        """Returns the task's id, once it runs."""
        self.witness.tell(task)
        return str(self.hear("status", state="running", task=task)["task_id"])

    def alive(self, *names: str) -> bool:
        return all(self.processes[name].poll() is None for name in names)

    def check_pictures(self) -> None:
        """Every picture that was ever published belongs to a subgoal that was verified."""
        verified = {
            s["image"]["sha256"] for s in self.said if s.get("topic") == "subgoal" and s["status"] == "verified"
        }
        pictures = {s["sha256"] for s in self.said if s.get("topic") == "picture"}
        assert pictures and pictures <= verified

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(10)
        self.witness.end()


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    graph = Graph(tmp_path)
    yield graph
    graph.close()


def test_whatever_is_killed_the_others_live_and_every_task_ends_in_a_stated_status(graph: Graph) -> None:
    for name in ("camera_node", "visual_subgoal_node", "policy_node"):
        graph.start(name)
    graph.hear("diagnostics", level=OK)

    # The camera dies while a task runs: the task has its frame and goes on; the next one is refused.
    first = graph.ask("first")
    graph.kill("camera_node")
    assert graph.hear("status", task_id=first, terminal=True)["state"] == "verified"
    assert graph.hear("policy", task_id=first, terminal=True)["state"] == "done"
    graph.hear("diagnostics", level=STALE)
    graph.witness.tell("without a camera")
    refused = graph.hear("status", task="without a camera", terminal=True)
    assert refused["refused"] and "s old; at most 1 s" in refused["reason"]
    graph.start("camera_node")
    graph.hear("diagnostics", level=OK)

    # The node dies: the policy stops and says why; the next node takes the next task.
    second = graph.ask("second")
    graph.kill("visual_subgoal_node")
    lost = graph.hear("policy", task_id=second, terminal=True)
    assert lost["state"] == "failed" and "/visual_subgoal_node has been silent" in lost["reason"]
    assert graph.alive("camera_node", "policy_node")
    graph.start("visual_subgoal_node")
    graph.hear("diagnostics", level=OK)

    # The policy dies: its successor does not carry out what was planned before it came.
    third = graph.ask("third")
    graph.kill("policy_node")
    graph.start("policy_node")
    assert graph.hear("status", task_id=third, terminal=True)["state"] == "verified"
    ended = graph.hear("policy", task_id=third, terminal=True)
    assert ended["state"] == "failed" and "from before this policy started" in ended["reason"]
    fourth = graph.ask("fourth")
    assert graph.hear("policy", task_id=fourth, terminal=True)["state"] == "done"
    assert graph.alive("camera_node", "visual_subgoal_node", "policy_node")

    # A cancel, and a node that is told to end: both are stated, and the policy follows.
    fifth = graph.ask("fifth")
    graph.witness.tell("!cancel")
    assert graph.hear("status", task_id=fifth, terminal=True)["state"] == "cancelled"
    sixth = graph.ask("sixth")
    graph.kill("visual_subgoal_node", signal.SIGTERM)
    assert graph.hear("policy", task_id=sixth, terminal=True)["state"] == "cancelled"
    assert graph.processes["visual_subgoal_node"].returncode == 0
    graph.kill("camera_node", signal.SIGINT)
    assert graph.processes["camera_node"].returncode == 0
    graph.check_pictures()
    for log in graph.logs.glob("*_node.log"):
        assert "Traceback" not in log.read_text(), log.name


@pytest.mark.parametrize(
    ("name", "arguments", "code", "says"),
    [
        ("camera_node", ["--ros-args", "-p", "souce:=file"], 2, "has no parameter 'souce'; allowed: address"),
        ("camera_node", ["--ros-args", "-p", "rate_hz:=fast"], 2, "'rate_hz' of /camera_node must be a number"),
        ("visual_subgoal_node", ["--ros-args", "-p", "max_frame_age_s:=-1.0"], 2, "must be at least 0.001"),
        ("visual_subgoal_node", ["--ros-args", "-r", "~/image:=9bad//name"], 2, "9bad//name"),
        ("visual_subgoal_node", ["--ros-args", "--wrong"], 2, "--wrong"),
    ],
)
def test_a_users_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, name: str, arguments: list[str], code: int, says: str
) -> None:
    if name == "camera_node":
        save_png(gradient_image(), tmp_path / "frame.png")
        arguments = [*arguments, "-p", f"path:={tmp_path / 'frame.png'}"]
    else:
        arguments = [*NOWHERE, "--stack", "embedded", *arguments]
    command = [str(ROS_PYTHON), "-m", f"itk_nodes.{name}", "--backend", "rclpy", *arguments]
    done = subprocess.run(command, env=ros_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    own = [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ")]
    assert len(own) == 1 and says in own[0], done.stderr


def test_a_camera_of_another_type_or_quality_is_named(graph: Graph) -> None:
    """A remap to the wrong topic, and a task from a publisher whose QoS cannot match: both are said, once."""
    graph.start("visual_subgoal_node")
    graph.hear("diagnostics", level=STALE)
    script = """
        import time, rclpy
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from std_msgs.msg import String
        rclpy.init()
        node = rclpy.create_node("wrong")
        node.create_publisher(String, "/camera_node/image", 1)
        node.create_publisher(String, "/visual_subgoal_node/task", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        rclpy.spin(node)
    """  # noqa: E501
    source = "\n".join(line.strip() for line in script.strip().splitlines())
    process = subprocess.Popen([str(ROS_PYTHON), "-c", source], env=ros_environment(), stderr=subprocess.DEVNULL)
    try:
        said = graph.hear("diagnostics", level=2)
        assert "/camera_node/image has the type std_msgs/msg/String elsewhere" in said["message"]
    finally:
        process.kill()
        process.wait(10)
    log = (graph.logs / "visual_subgoal_node.log").read_text()
    assert log.count("has the type std_msgs/msg/String elsewhere") == 1
    assert "incompatible QoS" in log


def test_the_lifecycle_is_what_rclpys_own_nodes_have() -> None:
    """State for state and way for way, and the services' types by their names."""
    script = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "nodes")!r}]
        import rclpy
        from rclpy.lifecycle import LifecycleNode
        from itk_embodied import ros
        from itk_nodes.lifecycle import Lifecycle
        from itk_nodes.lifecycle_graph import EDGES, State, leaving
        ros.use_backend("rclpy")
        rclpy.init(args=[])
        theirs = LifecycleNode("theirs")
        machine = theirs._state_machine
        assert machine.available_states == [(s.value, s.label) for s in State], machine.available_states
        ways = [(e.id, e.label, e.start.value, e.start.label, e.goal.value, e.goal.label) for e in EDGES]
        assert sorted(machine.transition_graph) == sorted(ways)
        ours = ros.create_node("ours")
        Lifecycle(ours, {{}})
        def services(name):
            found = ours.get_service_names_and_types_by_node(name, "/")
            return {{s.rpartition("/")[2]: t for s, t in found if "lifecycle_msgs" in t[0]}}
        assert services("ours") == services("theirs") and len(services("ours")) == 5
        print("same")
    """
    source = "\n".join(line[8:] for line in script.splitlines())
    done = subprocess.run(
        [str(ROS_PYTHON), "-c", source], env=ros_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "same", done.stderr


def test_a_recorded_message_is_read_by_rclpy_itself(tmp_path: Path) -> None:
    """Field for field, for every type that bags hold."""
    script = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "nodes")!r}]
        from pathlib import Path
        import mcap.reader
        import rclpy.serialization as rs
        from itk_embodied import ros
        from itk_embodied.recording import BagWriter
        from itk_embodied.ros.pictures import header
        ros.use_backend("rclpy")
        t = ros.message_type
        status = t("diagnostic_msgs/msg/DiagnosticStatus")(
            level=b"\\x02", name="n", values=[t("diagnostic_msgs/msg/KeyValue")(key="k", value="v")])
        messages = {{
            "std_msgs/msg/String": dict(data="h\\u00e9llo"),
            "std_msgs/msg/Empty": dict(),
            "sensor_msgs/msg/Image": dict(
                header=header(5_000_000_007, "cam"), height=1, width=2, encoding="rgb8", step=6, data=bytes(range(6))),
            "sensor_msgs/msg/CompressedImage": dict(header=header(7, "c"), format="png", data=b"12345"),
            "diagnostic_msgs/msg/DiagnosticArray": dict(header=header(9, ""), status=[status, status]),
            "lifecycle_msgs/msg/TransitionEvent": dict(
                timestamp=3, transition=t("lifecycle_msgs/msg/Transition")(id=1, label="configure")),
        }}
        made = {{kind: t(kind)(**fields) for kind, fields in messages.items()}}
        path = Path({str(tmp_path / "all.mcap")!r})
        bag = BagWriter(path)
        for kind, message in made.items():
            bag.write("/" + kind.rpartition("/")[2], kind, message, 1)
        bag.close()
        with path.open("rb") as stream:
            reader = mcap.reader.make_reader(stream)
            assert reader.get_header().profile == "ros2"
            read = {{schema.name: (channel.message_encoding, schema.encoding, bytes(message.data))
                     for schema, channel, message in reader.iter_messages()}}
        assert set(read) == set(made)
        for kind, (encoding, definition, data) in read.items():
            assert (encoding, definition) == ("cdr", "ros2msg"), kind
            assert rs.deserialize_message(data, t(kind)) == made[kind], kind
            assert len(data) <= len(rs.serialize_message(made[kind])), kind  # theirs has padding, uninitialised
        print("same")
    """
    source = "\n".join(line[8:] for line in script.splitlines())
    done = subprocess.run(
        [str(ROS_PYTHON), "-c", source], env=ros_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "same", done.stderr
