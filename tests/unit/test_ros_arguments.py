"""Command lines and backends: a user's mistake is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from itk_embodied import ros
from itk_embodied.errors import ConfigError
from itk_embodied.ros.arguments import parse


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
