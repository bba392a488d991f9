"""LoRA of the large edit models: learns what the pipeline uses, saves, resumes, and is loaded by the stack's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints as tiny
from tiny_pairs import pairs_folder

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file  # noqa: E402

from itk_embodied.agents.base import CallContext  # noqa: E402
from itk_embodied.agents.generators.diffusers_generator import DiffusersGenerator  # noqa: E402
from itk_embodied.agents.settings import DiffusersSettings  # noqa: E402
from itk_embodied.cli import main  # noqa: E402
from itk_embodied.errors import CheckpointError, ConfigError  # noqa: E402
from itk_embodied.training.shards import ShardSet  # noqa: E402
from itk_embodied.training.tuning.denoising import Denoiser  # noqa: E402
from itk_embodied.training.tuning.generator_loop import LoraRun  # noqa: E402
from itk_embodied.training.tuning.generator_lora import tune_generator  # noqa: E402

SAVERS = {
    "flux2-klein": tiny.save_klein,
    "flux-kontext": tiny.save_kontext,
    "instruct-pix2pix": tiny.save_instruct_pix2pix,
    "qwen-image-edit-plus": tiny.save_qwen_image_edit_plus,
}
CALLS: dict[str, str] = {
    "flux2-klein": "call={text_encoder_out_layers=[1,2,3],max_sequence_length=32}",
    "flux-kontext": "call={max_sequence_length=32}",
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return {kind: save(tmp_path_factory.mktemp("tiny") / kind) for kind, save in SAVERS.items()}


@pytest.fixture(autouse=True)
def small_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    # This pipeline looks at its picture at a megapixel, whatever it is given; too slow for a test.
    module = pytest.importorskip("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")
    monkeypatch.setattr(module, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(module, "CONDITION_IMAGE_SIZE", 56 * 56)


def tune(model: Path, kind: str, out: Path, *, steps: int = 2, more: tuple[str, ...] = ()) -> Path:
    changes = ("batch=2", "lora.r=4", "lora.alpha=16", "warmup=0", "learning_rate=3e-2", "save_every=1")
    changes += ((CALLS[kind],) if kind in CALLS else ()) + more
    return tune_generator(
        str(model), pairs_folder(), out, resolution_px=64, steps=steps, changes=changes, progress=False
    )


def load(model: Path, kind: str, **changes: Any) -> DiffusersGenerator:
    call: dict[str, Any] = {}
    if kind in CALLS:
        call = {"max_sequence_length": 32}
    if kind == "flux2-klein":
        call["text_encoder_out_layers"] = [1, 2, 3]
    settings = DiffusersSettings(checkpoint=str(model), device="cpu", steps=2, resolution_px=64, call=call, **changes)
    return DiffusersGenerator.from_settings(kind, settings)


@pytest.mark.parametrize("kind", SAVERS)
def test_an_adapter_is_trained_saved_and_used(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    folder = tune(models[kind], kind, tmp_path)
    tensors = load_file(folder / "pytorch_lora_weights.safetensors")
    part = "unet" if kind == "instruct-pix2pix" else "transformer"
    assert tensors and all(name.startswith(part) for name in tensors)
    assert any(bool(value.any()) for name, value in tensors.items() if "lora_B" in name or "lora.up" in name), (
        "it learnt"
    )
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 3
    image = ShardSet(pairs_folder())[0].before
    pictures = [
        load(models[kind], kind, **options).generate(image, "put it there", CallContext(seed=2))
        for options in ({}, {"lora": str(folder)})
    ]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 0, "the adapter counts"


@pytest.mark.parametrize("kind", ["flux2-klein", "instruct-pix2pix"])
def test_the_target_is_the_right_picture_as_the_pipeline_encodes_it(kind: str, models: dict[str, Path]) -> None:
    denoiser = Denoiser(load(models[kind], kind))
    record = ShardSet(pairs_folder())[0]
    prepared = denoiser.prepare(record.before, record.after, "put the red cube in the bowl")
    pipeline = denoiser.pipeline
    from itk_embodied.agents.pictures import resize

    pixels = torch.from_numpy(resize(record.after, 64, 64).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        if kind == "flux2-klein":
            expected = pipeline._pack_latents(pipeline._encode_vae_image(pixels, None))
        else:
            expected = pipeline.vae.encode(pixels).latent_dist.mode() * pipeline.vae.config.scaling_factor
    assert prepared.target.shape == expected.shape
    assert torch.allclose(prepared.target, expected, atol=1e-3)
    given = prepared.arguments[denoiser.input_name]
    assert given.shape[1] == 2 * expected.shape[1], "noise first, then the reference"
    loss = denoiser.loss(denoiser.module, prepared, torch.Generator().manual_seed(0))
    again = denoiser.loss(denoiser.module, prepared, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss) and float(loss.detach()) == float(again.detach())


def test_a_resumed_run_equals_an_unbroken_one(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "flux2-klein"
    whole = load_file(tune(models[kind], kind, tmp_path / "whole", steps=3) / "pytorch_lora_weights.safetensors")
    real, calls = LoraRun._step, []

    def step(run: LoraRun, pair: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(run, pair)

    monkeypatch.setattr(LoraRun, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        tune(models[kind], kind, tmp_path / "broken", steps=3)
    monkeypatch.setattr(LoraRun, "_step", real)
    broken = load_file(tune(models[kind], kind, tmp_path / "broken", steps=3) / "pytorch_lora_weights.safetensors")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert (tmp_path / "broken/curves.csv").read_text() == (tmp_path / "whole/curves.csv").read_text()
    with pytest.raises(ConfigError, match="another preset"):
        tune(models[kind], kind, tmp_path / "broken", steps=4)


def test_what_cannot_be_tuned_is_refused(models: dict[str, Path], tmp_path: Path, capsys) -> None:
    composite = tiny.save_composite_flow(tmp_path / "composite")
    with pytest.raises(ConfigError, match=r"CompositeFlowEditPipeline; .*itk-embodied train generator"):
        tune(composite, "composite-flow", tmp_path / "out")
    with pytest.raises(ConfigError, match="takes no LoRA adapters"):
        settings = DiffusersSettings(checkpoint=str(composite), device="cpu", lora=str(models["flux2-klein"]))
        DiffusersGenerator.from_settings("composite-flow", settings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        tune(tmp_path / "empty", "flux2-klein", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"Did you mean 'lora\.r'"):
        tune(models["flux2-klein"], "flux2-klein", tmp_path / "out", more=("lora.rr=3",))
    with pytest.raises(ConfigError, match="fit no layer"):
        tune(models["flux2-klein"], "flux2-klein", tmp_path / "out", more=('lora.targets=["nowhere"]',))
    words = ["train", "generator-lora", "--model", models["flux2-klein"], "--data", tmp_path / "none"]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2 and "has no pairs" in capsys.readouterr().err
