"""Robot policy servers: push what the camera sees, the goal image and the instruction; get actions back.

    with OpenpiPolicy("127.0.0.1", 8000) as policy:
        for goal in client.subgoals(task_id, deadline_s=600):
            while not robot.reached(goal):
                robot.execute(policy.act(robot.observe(), goal.image, goal.instruction).actions)

Both servers' formats are spoken as they are; neither has a field for a goal image, so its key is yours to choose: the
one that your policy was trained with. Needs pyzmq for GR00T and `websockets` for openpi.
"""

from itk_embodied.bridges.policies.base import Actions, Observation, RemotePolicy
from itk_embodied.bridges.policies.groot import GrootPolicy
from itk_embodied.bridges.policies.openpi import OpenpiPolicy

__all__ = ["Actions", "GrootPolicy", "Observation", "OpenpiPolicy", "RemotePolicy"]
