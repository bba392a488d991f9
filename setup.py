"""For colcon, which builds ament_python packages through this file; everything else stands in pyproject.toml.

The files that ROS 2 looks for under ``share`` go into every install, so that ``ros2 launch itk_embodied …`` finds them
in a colcon workspace and in a virtual environment alike.
"""

from glob import glob

from setuptools import setup

NAME = "itk_embodied"

setup(
    python_requires=">=3.11",
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.py") + glob("launch/*.yaml") + glob("launch/*.xml"))),
    ],
)
