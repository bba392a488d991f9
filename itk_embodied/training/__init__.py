"""How the embedded stack is made: data from the simulator, then generator, planner and critic."""
