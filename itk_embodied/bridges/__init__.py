"""How subgoals leave the house: one wire schema, ZeroMQ, and a client that needs neither torch nor ROS.

Needs numpy, msgspec, pyzmq and Pillow only, so that a robot-side program can import it anywhere.
"""

from itk_embodied.bridges.client import ReceivedSubgoal, SubgoalClient, SubgoalStream
from itk_embodied.bridges.client_async import AsyncSubgoalClient
from itk_embodied.bridges.frames import FramePublisher, FrameSubscriber
from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.bridges.received_async import AsyncSubgoalStream
from itk_embodied.bridges.sockets import DEFAULT_FRAMES, DEFAULT_REQUESTS, DEFAULT_STREAM

__all__ = [
    "AsyncSubgoalClient",
    "AsyncSubgoalStream",
    "ClientKeys",
    "DEFAULT_FRAMES",
    "DEFAULT_REQUESTS",
    "DEFAULT_STREAM",
    "FramePublisher",
    "FrameSubscriber",
    "ReceivedSubgoal",
    "SubgoalClient",
    "SubgoalStream",
]
