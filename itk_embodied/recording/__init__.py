"""Bags: what a node heard and said, as MCAP files that ROS 2 tools read and `itk-embodied replay` runs again."""

from itk_embodied.recording.bag import BagMessage, BagWriter, read_bag, read_metadata
from itk_embodied.recording.recorder import Recorder

__all__ = ["BagMessage", "BagWriter", "Recorder", "read_bag", "read_metadata"]
