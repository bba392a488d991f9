"""Degraded goals and the bench, on scripted agents."""

from __future__ import annotations

import time

import numpy as np
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied import Frame, Task
from itk_embodied.evaluation.bench import bench_pipeline
from itk_embodied.evaluation.degrade import degrade


def test_a_degraded_image_keeps_the_layout_and_loses_the_detail() -> None:
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    image = np.stack([checker, checker, np.full_like(checker, 200)], -1)
    spoilt = degrade(image, np.random.default_rng(0))
    assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
    assert abs(float(spoilt.mean()) - float(image.mean())) < 3
    assert spoilt[..., 0].std() < 0.2 * image[..., 0].std()


def test_degrading_is_seeded() -> None:
    one, same, other = (degrade(gradient_image(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_bench_adds_up_and_leaves_the_warm_up_out(frame: Frame) -> None:
    class SlowCritic(ScriptedCritic):
        def judge(self, *args):
            time.sleep(0.02)
            return super().judge(*args)

    tasks = [(frame, Task("do it", seed=seed)) for seed in range(4)]
    record = bench_pipeline(ScriptedPlanner(plan_of("a", "b")), NoiseGenerator(), SlowCritic(True), tasks)
    assert record["tasks"] == 3
    assert record["calls"] == {"planner": 3, "generator": 6, "critic": 6}
    seconds = record["seconds"]
    assert seconds["critic"] > seconds["generator"] + seconds["planner"], "six sleeps outweigh painting noise"
    assert 0 <= record["other_share"] < 1
    assert all(value >= 0 for value in seconds.values())
