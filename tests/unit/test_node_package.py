"""The ROS 2 package: launch files, package.xml and what an install puts under share.

ROS 2's own ``launch`` is in no package registry, so the launch files run here against stand-ins that only note what
they are given: names, arguments and parameters are checked, the launch system itself is not.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
import tomllib
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from itk_nodes.launching import executable
from itk_nodes.runtime import split_arguments

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
PARAMETERS = {
    name.rpartition("/")[2]: set(block["ros__parameters"])
    for name, block in yaml.safe_load((LAUNCH / "parameters.yaml").read_text()).items()
}


class Noted:
    """A stand-in for any launch action or substitution."""

    made: list[Noted] = []  # noqa: RUF012

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named
        Noted.made.append(self)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Noted]:
    kinds = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "IncludeLaunchDescription"],
        "launch.conditions": ["IfCondition"],
        "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
        "launch.substitutions": ["LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
        "launch_ros.parameter_descriptions": ["ParameterValue"],
    }
    for module, names in kinds.items():
        made = types.ModuleType(module)
        for name in names:
            setattr(made, name, type(name, (Noted,), {}))
        monkeypatch.setitem(sys.modules, module, made)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(Noted, "made", [])
    return Noted.made


def of(kind: str) -> list[Noted]:
    return [one for one in Noted.made if type(one).__name__ == kind]


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("a_launch_file", LAUNCH / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate_launch_description()
    return module


@pytest.mark.parametrize("name", ["visual_subgoal_node.launch.py", "visual_subgoals.launch.py"])
def test_a_launch_file_uses_what_it_declares_and_what_the_nodes_have(noted: list[Noted], name: str) -> None:
    module = load(name)
    declared = {one.given[0] for one in of("DeclareLaunchArgument")}
    assert declared == set(module.ARGUMENTS) == {one.given[0] for one in of("LaunchConfiguration")}
    for node in of("Node"):
        short = Path(node.named["executable"]).name
        given = [set(block) for block in node.named["parameters"] if isinstance(block, dict)]
        assert given and given[0] <= PARAMETERS[short], short
        ours, _ = split_arguments([word for word in node.named.get("arguments", []) if isinstance(word, str)])
        assert set(ours) <= {"--stack", "--stream", "--requests", "--policy", "--policy-options"}
    included = of("IncludeLaunchDescription")
    assert bool(included) == (name == "visual_subgoals.launch.py")
    for one in included:
        path = Path(of("PythonLaunchDescriptionSource")[0].given[0])
        allowed = set(load(path.name).ARGUMENTS)
        assert {key for key, _ in one.named["launch_arguments"]} <= allowed
    defaults = {one.given[0]: one.named["default_value"] for one in of("DeclareLaunchArgument")}
    assert Path(defaults["params_file"]).is_file() and Path(defaults["fastdds_profile"]).is_file()


def test_an_executable_is_found_or_it_is_said_what_to_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert Path(executable("camera_node")["executable"]).name == "camera_node"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"source install/setup\.bash"):
        executable("camera_node")


def test_the_profile_and_the_manifest_are_sound() -> None:
    profile = ElementTree.parse(LAUNCH / "fastdds_images.xml")
    spaces = {"dds": "http://www.eprosima.com"}
    ids = {one.text for one in profile.iterfind(".//dds:transport_descriptor/dds:transport_id", spaces)}
    used = {one.text for one in profile.iterfind(".//dds:userTransports/dds:transport_id", spaces)}
    assert ids == used and len(ids) == 2
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert (manifest.get("format"), manifest.findtext("name")) == ("3", "itk_embodied")
    assert manifest.findtext("export/build_type") == "ament_python"
    depends = {one.text for one in manifest.iterfind("exec_depend")}
    from itk_embodied.ros.messages import _REGISTRY

    assert {name.split("/")[0] for name in _REGISTRY} <= depends, "every package whose messages we use"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest.findtext("version") == project["version"]


def test_an_install_puts_everything_where_ros_2_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", given.update)
    runpy.run_path(str(ROOT / "setup.py"))
    files = {folder: {Path(path).name for path in paths} for folder, paths in given["data_files"]}
    assert files["share/ament_index/resource_index/packages"] == {"itk_embodied"}
    assert files["share/itk_embodied"] == {"package.xml"}
    wanted = {"visual_subgoals.launch.py", "visual_subgoal_node.launch.py", "parameters.yaml", "fastdds_images.xml"}
    assert wanted <= files["share/itk_embodied/launch"]
    assert all((ROOT / path).is_file() for _, paths in given["data_files"] for path in paths)
