"""The whole graph: camera_node, visual_subgoal_node and policy_node.

ros2 launch itk_embodied visual_subgoals.launch.py source:=device device:=0
ros2 launch itk_embodied visual_subgoals.launch.py source:=sim policy:=itk_nodes.policies:describe
ros2 topic pub --once /visual_subgoal_node/task std_msgs/msg/String '{data: put the red cube in the drawer}'
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from itk_nodes.launching import executable
from launch import LaunchDescription

HERE = Path(__file__).resolve().parent
CAMERA = {
    "source": ("sim", "file, device, sim or zmq."),
    "path": ("frame.png", "file: a picture or a video."),
    "device": ("0", "device: a number, a device file or a stream's address."),
    "address": ("tcp://127.0.0.1:5593", "zmq: a running simulator's frames."),
    "rate_hz": ("10.0", "Frames a second, of a picture or the still table."),
    "frame_id": ("front", "The camera's name."),
    "scene": ("put the red cube in the drawer", "sim: a sentence; what it names stands on the table."),
}
SUBGOALS = {
    "stack": ("embedded", "A shipped stack's name or a TOML file."),
    "autostart": ("true", "Configure and activate at once; false for a lifecycle manager."),
    "record_path": ("", "Record to this new .mcap file."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}
POLICY = {
    "policy": ("itk_nodes.policies:describe", "module:callable, given each verified goal."),
    "policy_options": ("", "A JSON object of arguments, for a policy that is a class."),
    "with_policy": ("true", "Also start policy_node."),
}
COMMON = {
    "namespace": ("", "The namespace of all three."),
    "params_file": (str(HERE / "parameters.yaml"), "Parameters of all three."),
    "fastdds_profile": (str(HERE / "fastdds_images.xml"), "Fast DDS profile for images; empty for none."),
}
ARGUMENTS = {**CAMERA, **SUBGOALS, **POLICY, **COMMON}


def generate_launch_description() -> LaunchDescription:
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": value["fastdds_profile"]}
    camera_values = {
        name: ParameterValue(value[name], value_type=float if name == "rate_hz" else str) for name in CAMERA
    }
    camera = Node(
        **executable("camera_node"),
        name="camera_node",
        namespace=value["namespace"],
        output="screen",
        parameters=[value["params_file"], camera_values],
        additional_env=environment,
    )
    subgoals = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "visual_subgoal_node.launch.py")),
        launch_arguments={
            **{name: value[name] for name in (*SUBGOALS, *COMMON)},
            "image": "camera_node/image",
            "image_compressed": "camera_node/image/compressed",
        }.items(),
    )
    policy = Node(
        **executable("policy_node"),
        name="policy_node",
        namespace=value["namespace"],
        output="screen",
        arguments=["--policy", value["policy"], "--policy-options", value["policy_options"]],
        parameters=[value["params_file"], {"subgoals": "visual_subgoal_node"}],
        additional_env=environment,
        condition=IfCondition(value["with_policy"]),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=says)
        for name, (default, says) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, camera, subgoals, policy])
