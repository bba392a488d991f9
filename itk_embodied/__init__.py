"""Verified visual subgoals for robots. Importing this needs no torch, ROS or GPU: heavy parts load when asked for."""

from itk_embodied.errors import ItkError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.types import (
    Attempt,
    Frame,
    Plan,
    PlanStep,
    SequenceStatus,
    Subgoal,
    SubgoalSequence,
    SubgoalStatus,
    Task,
    Verdict,
)

__all__ = [
    "Attempt",
    "Frame",
    "ItkError",
    "PipelineConfig",
    "Plan",
    "PlanStep",
    "SequenceStatus",
    "Subgoal",
    "SubgoalSequence",
    "SubgoalStatus",
    "Task",
    "Verdict",
    "VisualSubgoalPipeline",
    "__version__",
]
__version__ = "0.1.0"
