"""The same arithmetic as transformers' Qwen3-VL, arranged for training on a CPU.

Pictures of one size go through one attention call, patches through a matrix product, and text layers compiled. What is
saved afterwards is the plain model.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision


def speed_up(model: Qwen3VLForConditionalGeneration, *, compiled: bool = False) -> None:
    """Change how ``model`` computes, not what. Needs pictures of one size in a batch, and additive attention masks."""
    AttentionInterface.register(_NAME, _attend_in_rows)
    model.model.language_model.config._attn_implementation = _NAME
    visual = model.model.visual
    visual.patch_embed.forward = MethodType(_embed_patches, visual.patch_embed)
    for block in visual.blocks:
        block.attn.forward = MethodType(_attend_by_picture, block.attn)
    if compiled:
        # Rows of many lengths: each may cost a few variants before the compiler settles on a general one.
        torch._dynamo.config.recompile_limit = 64
        for layer in model.model.language_model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        for block in visual.blocks:
            block.forward = torch.compile(block.forward, dynamic=True)


_NAME = "itk_rows"


def _attend_in_rows(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, **ignored: Any
) -> tuple[Tensor, None]:
    """Attention as two matrix products: for rows of a few hundred tokens a CPU does this, and above all its gradient,
    several times as fast as the fused kernel. Heads that share a key are stacked instead of repeating the key."""
    count, heads, length, width = query.shape
    groups = key.shape[1]
    stacked = (query * scaling).reshape(count, groups, heads // groups * length, width)
    scores = torch.matmul(stacked, key.transpose(2, 3)).reshape(count, heads, length, length) + mask
    shares = torch.softmax(scores.float(), -1).to(value.dtype)
    mixed = torch.matmul(shares.reshape(count, groups, heads // groups * length, length), value)
    return mixed.reshape(count, heads, length, width).transpose(1, 2).contiguous(), None


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
