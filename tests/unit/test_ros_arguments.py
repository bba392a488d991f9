"""Command lines and backends: a user's mistake is one clear line."""

from __future__ import annotations

import array
from pathlib import Path

import pytest

from itk_embodied import ros
from itk_embodied.errors import ConfigError
from itk_embodied.ros import messages
from itk_embodied.ros.arguments import RosArguments, parse


def test_other_arguments_are_left_alone() -> None:
    arguments = parse(["a", "--ros-args", "-r", "x:=y", "--log-level", "warn", "--", "b", "-p"])
    assert arguments.rest == ("a", "b", "-p")
    assert arguments.log_level == 30
    assert [(r.match, r.replacement, r.node) for r in arguments.remaps] == [("x", "y", "")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-r"], "needs a value"),
        (["-r", "x=y"], "FROM:=TO"),
        (["-r", "x:="], "FROM:=TO"),
        (["-p", "x"], "NAME:=VALUE"),
        (["-p", "x:={"], "not YAML"),
        (["--params-file", "/nowhere.yaml"], "cannot be read"),
        (["--log-level", "loud"], "allowed: debug, info"),
        (["--remapping", "x:=y"], "'--remapping' is not known"),
    ],
)
def test_malformed_ros_arguments_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(["--ros-args", *words])


@pytest.mark.parametrize("content", ["- 1", "node: 5", "node: {a: 5}", "{"])
def test_malformed_parameter_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"parameter file .*p\.yaml"):
        parse(["--ros-args", "--params-file", str(file)])


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'inproc'"):
        ros.use_backend("inprok")
    with pytest.raises(ConfigError, match="Did you mean 'std_msgs/msg/String'"):
        ros.message_type("std_msgs/Strin")
    with pytest.raises(AttributeError, match="Nodde"):
        _ = ros.Nodde


def test_a_backend_is_registered_once() -> None:
    with pytest.raises(ConfigError, match="registered already"):
        ros.register_backend("inproc", lambda: ros.current_backend())


def test_our_own_messages_check_what_is_assigned() -> None:
    """Stricter than rclpy's default, which finds such a mistake only when the message is sent."""
    String, Image = messages.String, messages.Image
    with pytest.raises(AssertionError, match="'data' field must be of type 'str'"):
        String(data=5)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="'height'"):
        Image(height=True)
    with pytest.raises(AssertionError, match="type code of 'B'"):
        Image(data=array.array("i", [1]))
    with pytest.raises(AssertionError, match="sequence of bytes"):
        Image(data="text")
    with pytest.raises(TypeError):
        String(text="x")  # type: ignore[call-arg]
    assert Image(data=b"ab").data == array.array("B", b"ab")


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/**", ["/a", "/r/a", "/r/s/a"]),
        ("a", ["/a"]),
        ("/a", ["/a"]),
        ("/*/a", ["/r/a"]),
        ("/**/a", ["/a", "/r/a", "/r/s/a"]),
        ("/r/**", ["/r/a", "/r/s/a"]),
        ("/r/*", ["/r/a"]),
    ],
)
def test_parameter_files_name_nodes_by_patterns(pattern: str, matches: list[str]) -> None:
    arguments = RosArguments(parameters=((pattern, "x", 1),))
    nodes = {"/a": ("a", "/"), "/r/a": ("a", "/r"), "/r/s/a": ("a", "/r/s")}
    assert [full for full, at in nodes.items() if arguments.parameters_of(*at)] == matches
