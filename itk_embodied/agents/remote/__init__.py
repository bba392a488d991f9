"""Agents behind OpenAI-compatible endpoints: planner and critic on a vision model, generator on an image-edit model."""
