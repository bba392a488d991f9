"""The embedded generator as it is trained, and its settings."""

# diffusers mixes its methods in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline, predict
from itk_embodied.agents.generators.detail import DetailHead
from itk_embodied.agents.generators.words import RASTER, StepReader
from itk_embodied.errors import ConfigError
from itk_embodied.training.generator_text import SLOTS, WORD_BUCKETS, vocabulary


@dataclass(frozen=True)
class GeneratorTraining:
    """Settings of a run.

    Attributes:
        data, out: folders of the pairs and of the run.
        walks: folder of walks (see `itk_embodied.training.walks`), of which ``walk_share`` of the samples are drawn.
        samples: training pairs to see, repeats counted.
        minutes: stop after this much wall time, counted over all resumed parts; None for no limit. The learning rate
            decays and the stages change by whichever of the two is further on.
        stages: (size in px, share of the run).
        band: first row and row after the last of the frame that the model sees, in 32nds of its height. The front
            camera sees everything that can be moved in rows 10 to 26; half the raster costs half the time.
        detail_width: channels of the head for fine detail.
        sigma: noise of the flow's start. changed_weight: how much more a changed pixel's error counts.
        content_weight: how much the content's own error counts, in and around what changes, whatever the mask is there:
            the mask's edge lies over content that would else be nobody's business, and leaves an outline of what was
            there.
        crispness: how much an error counts beside its square: squares alone forgive faint traces and soft edges.
        soften: share of samples of the last stage whose cubes are blurred a little, as generated ones are.
        reader_steps: batches of sentences that the reader is trained on first, if it is not in ``out`` yet.
        candidates: how often the exported pipeline paints a picture, to keep the one it is surest of.
        workers: processes that draw and prepare pairs ahead, for a GPU.
        init: pipeline folder to start from where there is no run to go on with.
    """

    data: Path = Path("data/pairs")
    out: Path = Path("runs/generator")
    walks: Path | None = None
    walk_share: float = 0.4
    samples: int = 300_000
    minutes: float | None = None
    stages: tuple[tuple[int, float], ...] = ((64, 0.2), (96, 0.25), (128, 0.55))
    band: tuple[int, int] = (10, 26)
    batch: int = 16
    lr: float = 8e-4
    sigma: float = 0.5
    channels: tuple[int, ...] = (48, 96, 160)
    words_width: int = 96
    detail_width: int = 128
    changed_weight: float = 20.0
    content_weight: float = 0.5
    crispness: float = 0.1
    mask_weight: float = 0.05
    soften: float = 0.3
    seed: int = 0
    threads: int = 1
    workers: int = 0
    save_every_s: float = 180.0
    reader_steps: int = 1500
    candidates: int = 3
    init: Path | None = None

    def __post_init__(self) -> None:
        if abs(sum(share for _, share in self.stages) - 1) > 1e-6:
            raise ConfigError(f"stages {self.stages} must have shares that add up to 1.")
        if any(size % RASTER for size, _ in self.stages):
            raise ConfigError(f"stages {self.stages} must have sizes that are multiples of {RASTER} px.")


class Editor(nn.Module):
    """U-Net and the slots' vectors, as they are trained; the U-Net's own raster is always RASTER patches wide.

    The reader's other weights, which turn a sentence into slots, are trained apart (`generator_reader`).
    """

    def __init__(self, size: int, config: GeneratorTraining) -> None:
        super().__init__()
        self.size, self.patch, self.config = size, size // RASTER, config
        self.text_encoder = new_reader(config.words_width)
        for name, parameter in self.text_encoder.named_parameters():
            parameter.requires_grad_(name.startswith("tables."))
        self.unet = build_unet(self.patch, config.channels, config.words_width)
        made, seen = self.unet.config.out_channels, self.unet.config.in_channels
        self.detail = DetailHead(made, seen, config.detail_width)

    def forward(
        self, noisy: Tensor, frame: Tensor, maps: Tensor, time: Tensor, shares: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Bands of noisy and given frames, and the slots, to the content and the change mask of the edited band."""
        words = self.text_encoder.vectors(shares)
        return predict(self.unet, self.detail, self.patch, self.config.band[0], noisy, frame, maps, time, words)

    def take_over(self, tensors: dict[str, Tensor]) -> int:
        """Load what has the same shape (all but the first and last layer, from another size); how many that were."""
        own = self.state_dict()
        kept = {k: v.to(own[k].dtype) for k, v in tensors.items() if k in own and v.shape == own[k].shape}
        self.load_state_dict(kept, strict=False)
        return len(kept)

    def pipeline(self) -> CompositeFlowEditPipeline:
        return CompositeFlowEditPipeline(
            unet=self.unet,
            detail=self.detail,
            text_encoder=self.text_encoder,
            patch=self.patch,
            sigma=self.config.sigma,
            band=list(self.config.band),
            candidates=self.config.candidates,
        )


def new_reader(width: int) -> StepReader:
    return StepReader(vocabulary(), [list(values) for values in SLOTS], width, buckets=WORD_BUCKETS)


def build_unet(patch: int, channels: Sequence[int], words_width: int) -> UNet2DConditionModel:
    """The U-Net: attention at its coarsest level only, text by cross-attention and by scale and shift."""
    attends = [False] * (len(channels) - 1) + [True]
    unet = UNet2DConditionModel(
        sample_size=RASTER,
        in_channels=6 * patch * patch + 4,
        out_channels=4 * patch * patch,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=words_width,
        attention_head_dim=tuple(max(1, c // 32) for c in channels),
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    # Twice as fast as fused attention at this size on a CPU.
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def initial_tensors(folder: Path) -> dict[str, Tensor]:
    """Weights of a saved pipeline as `Editor.take_over` wants them."""
    other = CompositeFlowEditPipeline.from_pretrained(folder)
    parts = {"unet": other.unet, "detail": other.detail, "text_encoder": other.text_encoder}
    return {f"{part}.{name}": tensor for part, module in parts.items() for name, tensor in module.state_dict().items()}


def export(editor: Editor, folder: Path) -> None:
    """The weights as a pipeline that `from_pretrained` loads, in half precision."""
    half = copy.deepcopy(editor).to(torch.float16)
    half.pipeline().save_pretrained(folder)
