"""Trajectories with refinement: planner, generator, critic and judge over the simulator's tasks, in shards on disk."""
