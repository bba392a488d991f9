"""Thin executables around the library: camera_node, visual_subgoal_node, policy_node, and the graph of all three."""
