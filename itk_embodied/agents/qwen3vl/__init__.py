"""Planner and critic on Qwen3-VL, the large released ones and the small embedded ones alike."""
