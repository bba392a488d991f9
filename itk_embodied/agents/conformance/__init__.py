"""Does an agent keep its contract? Public checks that every plug-in author runs, and `itk-embodied check` for a stack.

from itk_embodied.agents.conformance import check_generator
check_generator(MyGenerator())          # raises ConformanceError that lists everything that is wrong
"""

from itk_embodied.agents.conformance.pictures import KnownPair, example_image, known_bad_pairs
from itk_embodied.agents.conformance.report import ConformanceReport
from itk_embodied.agents.conformance.roles import check_critic, check_generator, check_planner, check_stack

__all__ = [
    "ConformanceReport",
    "KnownPair",
    "check_critic",
    "check_generator",
    "check_planner",
    "check_stack",
    "example_image",
    "known_bad_pairs",
]
