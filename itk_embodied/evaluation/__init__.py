"""Measured, not guessed: closed-loop success in the simulator, with intervals, and the cost of the pipeline."""
