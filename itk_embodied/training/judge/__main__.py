"""``python -m itk_embodied.training.judge`` is ``itk-embodied train judge``."""

import sys

from itk_embodied.cli import main

main(["train", "judge", *sys.argv[1:]])
