"""Fine-tuning of models that exist already, of any size: SFT of planner and critic, GRPO of the critic, LoRA of the
large generators. Presets (TOML) and launcher files for accelerate (YAML) are package data.

What makes the small models from nothing is beside this package: `itk_embodied.training.stages`, `…training.generator`.
"""
