"""Generators: diffusers pipelines behind one adapter, and this project's own small pipeline."""
