"""The judge: what a generated image is worth as the result of a step, from the simulator's ground truth or a VLM.

from itk_embodied.training.judge import Subject, load_judge
judge = load_judge("simulator")
judge.judge(Subject.of(record), image).overall
"""

from itk_embodied.training.judge.base import Judge, Judgement, Subject
from itk_embodied.training.judge.choose import load_judge, read_judge
from itk_embodied.training.judge.simulator import SimulatorJudge

__all__ = ["Judge", "Judgement", "SimulatorJudge", "Subject", "load_judge", "read_judge"]
