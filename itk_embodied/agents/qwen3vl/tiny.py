"""The embedded planner and critic: Qwen3-VL's own architecture, small enough for a CPU and trained from scratch.

They see a 128 px picture's middle band (64 rows: all of the table that is used), in patches of 8 px merged 2 x 2. The
user's message is the prompt file's text alone (``embedded-planner.md``, ``embedded-critic.md``), without a system
message. Places are tokens: ``<x00>`` to ``<x31>`` across, ``<y00>`` to ``<y31>`` down the whole picture.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from itk_embodied.agents.qwen3vl.processor import ImageOnlyQwen3VLProcessor, image_processor

SIDE_PX = 128
CROP_ROWS = (36 / 128, 100 / 128)
GRID = 32
PLACES = tuple(f"<{axis}{i:02d}>" for axis in "xy" for i in range(GRID))
CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# The fixed parts of an answer are one token each, so that what is decided stands close together.
SKELETON = (
    '{"execution_plan":[',
    '{"step_number":',
    ',"step_name":"',
    '","instruction":"',
    '","instruction":null,"prompt":null,"auxiliary_text":"',
    '","prompt":"',
    '","auxiliary_text":null}',
    '"}',
    "]}",
    '{"previous_step_success":',
    ',"refine_prompt":"',
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part.type == 'text' %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class TinySize:
    """How large a model is. The defaults make about 3.2 million parameters."""

    patch_px: int = 8
    merge: int = 2
    vision_width: int = 128
    vision_layers: int = 4
    width: int = 192
    layers: int = 4
    heads: int = 6
    mlp: int = 512


def build_tokenizer(corpus: Iterable[str], vocab_size: int = 1200) -> PreTrainedTokenizerFast:
    """Byte-level BPE over ``corpus``: frequent words become one token, unknown ones fall to pieces, nothing is lost."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in (*TAGS, *SKELETON, *PLACES)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, *, pair_frames: bool) -> ImageOnlyQwen3VLProcessor:
    """The processor that goes with the tiny models."""
    size = TinySize()
    rows = round((CROP_ROWS[1] - CROP_ROWS[0]) * SIDE_PX)
    return ImageOnlyQwen3VLProcessor(
        image_processor(SIDE_PX, rows, size.patch_px, size.merge),
        tokenizer,
        chat_template=CHAT_TEMPLATE,
        pair_frames=pair_frames,
        crop_rows=CROP_ROWS,
        side_px=SIDE_PX,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, size: TinySize | None = None, seed: int = 0
) -> Qwen3VLForConditionalGeneration:
    """A new model with random weights, scaled by fan-in, and waves as the vision tower's position embedding."""
    size = size or TinySize()

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))  # type: ignore[arg-type]

    head = size.width // size.heads
    grid = SIDE_PX // size.patch_px
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
            "hidden_size": size.width,
            "intermediate_size": size.mlp,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads // 2,
            "head_dim": head,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [head // 4, head // 8, head // 8],
                "mrope_interleaved": True,
                "rope_theta": 1e4,
            },
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_width * 3,
            "num_heads": size.vision_width // 32,
            "in_channels": 3,
            "patch_size": size.patch_px,
            "spatial_merge_size": size.merge,
            "temporal_patch_size": 2,
            "out_hidden_size": size.width,
            "num_position_embeddings": grid * grid,
            "deepstack_visual_indexes": [size.vision_layers // 2],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    _initialise(model, grid)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = token("<|endoftext|>")
    return model


@torch.no_grad()
def _initialise(model: Qwen3VLForConditionalGeneration, grid: int) -> None:
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            torch.nn.init.normal_(parameter, std=0.06)
        elif "pos_embed" in name:
            width = parameter.shape[-1]
            frequency = torch.exp(-torch.arange(width // 4) / (width // 4) * math.log(100.0))
            place = torch.arange(grid).float() * 2
            waves = torch.cat([torch.sin(place[:, None] * frequency), torch.cos(place[:, None] * frequency)], 1)
            both = torch.cat([waves[:, None].expand(grid, grid, -1), waves[None].expand(grid, grid, -1)], -1)
            parameter.copy_(0.5 * both.reshape(grid * grid, width))
        elif parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=1 / math.sqrt(parameter[0].numel()))


@torch.no_grad()
def deepened(model: Qwen3VLForConditionalGeneration, layers: int) -> Qwen3VLForConditionalGeneration:
    """The same function with more text layers, for more training: the new ones add nothing yet."""
    config = copy.deepcopy(model.config)
    text: Any = config.text_config
    old = text.num_hidden_layers
    if layers <= old:
        return model
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = ["full_attention"] * layers
    grown = Qwen3VLForConditionalGeneration(config)
    grown.load_state_dict(model.state_dict(), strict=False)
    for layer in grown.model.language_model.layers[old:]:
        for parameter in layer.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    grown.generation_config = model.generation_config
    return grown


def notes(**values: object) -> str:
    """The text of ``itk.json``, which tells the adapter what training found, such as ``accept_threshold``."""
    return json.dumps(values, indent=2) + "\n"
