"""The same arithmetic as transformers' Qwen3-VL, arranged for training on a CPU.

Pictures of one size go through one attention call, patches through a matrix product, and text layers compiled. What is
saved afterwards is the plain model.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision


def speed_up(model: Qwen3VLForConditionalGeneration, *, compiled: bool = False) -> None:
    """Change how ``model`` computes, not what. Needs pictures of one size in a batch."""
    visual = model.model.visual
    visual.patch_embed.forward = MethodType(_embed_patches, visual.patch_embed)
    for block in visual.blocks:
        block.attn.forward = MethodType(_attend_by_picture, block.attn)
    if compiled:
        for layer in model.model.language_model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        for block in visual.blocks:
            block.forward = torch.compile(block.forward, dynamic=True)


def _embed_patches(self: Any, patches: Tensor) -> Tensor:
    """A convolution whose stride is its kernel is a matrix product."""
    weight = self.proj.weight
    return F.linear(patches.to(weight.dtype), weight.flatten(1), self.proj.bias)


def _attend_by_picture(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any = None, **ignored: Any
) -> Tensor:
    length, pictures = hidden_states.shape[0], cu_seqlens.shape[0] - 1
    query, key, value = self.qkv(hidden_states).reshape(length, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)

    def split(part: Tensor) -> Tensor:
        return part.reshape(pictures, length // pictures, self.num_heads, -1).transpose(1, 2)

    seen = F.scaled_dot_product_attention(split(query), split(key), split(value), scale=self.scaling)
    return self.proj(seen.transpose(1, 2).reshape(length, -1))
