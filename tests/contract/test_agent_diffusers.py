"""Every diffusers pipeline behind the one adapter, on a tiny random checkpoint of its own class, loaded from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints as tiny

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.conformance import check_generator, example_image
from itk_embodied.agents.generators.diffusers_generator import DiffusersGenerator
from itk_embodied.agents.settings import DiffusersSettings
from itk_embodied.errors import CheckpointError, ConfigError

Load = Callable[..., DiffusersGenerator]

CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "flux2-klein": (
        tiny.save_klein,
        {"steps": 2, "resolution_px": 64, "call": {"text_encoder_out_layers": [1, 2, 3], "max_sequence_length": 32}},
    ),
    "flux-kontext": (tiny.save_kontext, {"steps": 2, "resolution_px": 64, "call": {"max_sequence_length": 32}}),
    "instruct-pix2pix": (tiny.save_instruct_pix2pix, {"steps": 2, "resolution_px": 64}),
    "qwen-image-edit-plus": (
        tiny.save_qwen_image_edit_plus,
        {"steps": 2, "resolution_px": 64, "negative_prompt": " "},
    ),
    "composite-flow": (tiny.save_composite_flow, {"steps": 2}),
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(tmp_path_factory.mktemp("tiny") / kind) for kind, (save, _) in CASES.items()}


@pytest.fixture
def load(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Load:
    # This pipeline looks at its picture at a megapixel, whatever it is given; too slow for a test.
    module = pytest.importorskip("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")
    monkeypatch.setattr(module, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(module, "CONDITION_IMAGE_SIZE", 56 * 56)

    def build(kind: str, **changes: Any) -> DiffusersGenerator:
        settings = DiffusersSettings(
            **({"checkpoint": str(checkpoints[kind]), "device": "cpu"} | CASES[kind][1] | changes)
        )
        return DiffusersGenerator.from_settings(kind, settings)

    return build


@pytest.mark.parametrize("kind", CASES)
def test_every_pipeline_keeps_the_generator_contract(kind: str, load: Load) -> None:
    report = check_generator(load(kind), image=example_image(64, 96))
    assert report.passed and report.name.startswith(kind)


def spy(generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Records what the pipeline is called with; the pipeline still runs."""
    calls: list[dict[str, Any]] = []
    original = type(generator.pipeline).__call__

    def called(self: Any, **arguments: Any) -> Any:
        calls.append(arguments)
        return original(self, **arguments)

    monkeypatch.setattr(type(generator.pipeline), "__call__", called)
    return calls


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (
            "flux2-klein",
            {"guidance": 1.0},
            {"height": 64, "width": 112, "guidance_scale": 1.0, "num_inference_steps": 2},
        ),
        ("flux-kontext", {"guidance": 2.0}, {"height": 48, "width": 80, "max_area": 48 * 80, "_auto_resize": False}),
        ("instruct-pix2pix", {"image_guidance": 1.2}, {"image_guidance_scale": 1.2, "guidance_scale": 7.5}),
        ("qwen-image-edit-plus", {"guidance": 1.5}, {"true_cfg_scale": 1.5, "negative_prompt": " "}),
        ("composite-flow", {"steps": 3}, {"num_inference_steps": 3}),
    ],
)
def test_settings_reach_the_pipeline_in_its_own_words(
    kind: str, settings: dict[str, Any], expected: dict[str, Any], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(kind, **settings)
    calls = spy(generator, monkeypatch)
    generator.generate(example_image(60, 100), "put it there", CallContext(seed=3))
    (call,) = calls
    assert {name: call[name] for name in expected} == expected
    assert call["prompt"] == "put it there" and call["generator"].initial_seed() == 3
    assert ("height" in call) == (kind not in ("instruct-pix2pix", "composite-flow"))


def test_a_setting_that_the_pipeline_lacks_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="Flux2KleinPipeline has no such setting"):
        load("flux2-klein", negative_prompt="blur")
    with pytest.raises(ConfigError, match="Did you mean 'max_sequence_length'"):
        load("flux2-klein", call={"max_sequence_lenght": 32})
    with pytest.raises(ConfigError, match="takes no argument 'generator'"):
        load("flux2-klein", call={"generator": 1})
    with pytest.raises(ConfigError, match="device"):
        load("flux2-klein", device="warp")


def test_a_checkpoint_of_another_class_is_refused_in_one_line(checkpoints: dict[str, Path]) -> None:
    settings = DiffusersSettings(checkpoint=str(checkpoints["instruct-pix2pix"]), device="cpu")
    with pytest.raises(CheckpointError) as caught:
        DiffusersGenerator.from_settings("flux-kontext", settings)
    assert "cannot be loaded" in str(caught.value) and "\n" not in str(caught.value)


def test_a_prompt_changes_the_picture(load: Load) -> None:
    generator = load("instruct-pix2pix")
    first, other = (
        generator.generate(example_image(64, 64), text, CallContext(seed=1)) for text in ("red cube", "blue bowl")
    )
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", CASES)
def test_a_batch_paints_what_single_calls_paint(kind: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(kind, max_batch=2)
    here, there = example_image(64, 64), example_image(64, 64)[:, ::-1].copy()
    images, prompts = [here, there, here], ["put the red cube", "open it", "put it in the blue bowl"]
    contexts = [CallContext(seed=seed) for seed in (3, 4, 5)]
    alone = [generator.generate(*one) for one in zip(images, prompts, contexts, strict=True)]
    calls = spy(generator, monkeypatch)
    together = generator.generate_batch(images, prompts, contexts)
    for single, batched in zip(alone, together, strict=True):
        assert np.abs(single.astype(int) - batched).max() <= 3, "up to rounding"
    assert len(calls) == (3 if kind == "qwen-image-edit-plus" else 2)
