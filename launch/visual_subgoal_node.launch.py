"""visual_subgoal_node alone, for a robot that has its own camera driver and policy.

ros2 launch itk_embodied visual_subgoal_node.launch.py image:=/camera/color/image_raw stack:=embedded
ros2 launch itk_embodied visual_subgoal_node.launch.py autostart:=false      # then: ros2 lifecycle set …
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from itk_nodes.launching import executable
from launch import LaunchDescription

HERE = Path(__file__).resolve().parent
ARGUMENTS = {
    "name": ("visual_subgoal_node", "The node's name; its topics stand under it."),
    "namespace": ("", "The node's namespace."),
    "image": ("~/image", "The camera's topic (sensor_msgs/Image)."),
    "image_compressed": ("~/image/compressed", "The camera's topic (sensor_msgs/CompressedImage)."),
    "stack": ("embedded", "A shipped stack's name or a TOML file."),
    "stream": ("tcp://127.0.0.1:5591", "Where subgoals go out over ZeroMQ."),
    "requests": ("tcp://127.0.0.1:5592", "Where requests are taken over ZeroMQ."),
    "params_file": (str(HERE / "parameters.yaml"), "Parameters of the node."),
    "max_frame_age_s": ("1.0", "An older camera frame is refused."),
    "autostart": ("true", "Configure and activate at once; false for a lifecycle manager."),
    "record_path": ("", "Record to this new .mcap file."),
    "fastdds_profile": (str(HERE / "fastdds_images.xml"), "Fast DDS profile for images; empty for none."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}


def generate_launch_description() -> LaunchDescription:
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = Node(
        **executable("visual_subgoal_node"),
        name=value["name"],
        namespace=value["namespace"],
        output="screen",
        arguments=[
            *("--stack", value["stack"], "--stream", value["stream"], "--requests", value["requests"]),
            *("--ros-args", "--log-level", value["log_level"]),
        ],
        parameters=[
            value["params_file"],
            {
                "max_frame_age_s": ParameterValue(value["max_frame_age_s"], value_type=float),
                "autostart": ParameterValue(value["autostart"], value_type=bool),
                "record_path": ParameterValue(value["record_path"], value_type=str),
            },
        ],
        remappings=[("~/image", value["image"]), ("~/image/compressed", value["image_compressed"])],
        additional_env={"FASTRTPS_DEFAULT_PROFILES_FILE": value["fastdds_profile"]},
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=says)
        for name, (default, says) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, node])
