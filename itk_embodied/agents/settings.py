"""The settings of the kinds of agents that come with the library: what a stack file may say. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NonEmpty = Annotated[str, Meta(min_length=1)]
DType = Literal["auto", "float32", "bfloat16", "float16"]


class CheckpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every local model takes.

    Attributes:
        checkpoint: a folder (relative to the stack file), ``package:folder`` inside this package, or a hub id.
        revision: branch, tag or commit of a hub id.
        allow_download: fetch a hub id that is not on this machine yet; else that is an error that says how.
        device: ``auto`` (a GPU where there is one), or a torch device such as ``cpu`` or ``cuda:1``.
        dtype: ``auto`` is bfloat16 on a GPU and float32 on a CPU.
        lora: a LoRA adapter on top, as `itk-embodied train` leaves it: named as ``checkpoint`` is. Merged at loading.
    """

    checkpoint: NonEmpty
    lora: NonEmpty | None = None
    revision: str | None = None
    allow_download: bool = False
    device: NonEmpty = "auto"
    dtype: DType = "auto"


class VisionLanguageSettings(CheckpointSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A planner or critic on a local vision-language model.

    Attributes:
        prompt: a shipped prompt or a file; empty for the role's own.
        temperature: 0 is greedy; else the tokens are drawn with the call's seed.
        max_new_tokens: an answer that is longer counts as malformed.
        max_think_chars: bound on the thought, so that the answer always fits.
        constrained: let only tokens through that the answer's grammar allows.
        image_px: longest side of the pictures as the model gets them; None leaves it to the checkpoint's processor.
    """

    prompt: str = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    max_new_tokens: Positive = 2048
    max_think_chars: Annotated[int, Meta(ge=0, le=20_000)] = 2000
    constrained: bool = True
    image_px: Annotated[int, Meta(ge=32)] | None = None


class Qwen3VLPlannerSettings(VisionLanguageSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``qwen3vl`` as planner. ``max_steps`` bounds the plan."""

    max_steps: Annotated[int, Meta(ge=1, le=24)] = 16


class Qwen3VLCriticSettings(VisionLanguageSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``qwen3vl`` as critic.

    Attributes:
        accept_threshold: least P(true) of a verdict that counts as success; None takes the checkpoint's own
            (``itk.json``), else 0.5.
        looks: with 3, a picture that is refused is looked at twice more (see `qwen3vl.looks`), and the mean P(true)
            decides.
    """

    accept_threshold: Fraction | None = None
    looks: Annotated[int, Meta(ge=1, le=3)] = 1


class EditVerifierSettings(CheckpointSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``edit-verifier`` as critic; ``accept_threshold`` as for `Qwen3VLCriticSettings`, 0.5 unless given."""

    accept_threshold: Fraction = 0.5


class DiffusersSettings(CheckpointSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A generator on a diffusers pipeline. None takes the pipeline's own default (see `generators.specs`).

    Attributes:
        steps: denoising steps.
        guidance: how strongly to follow the prompt.
        image_guidance: how strongly to stay with the picture (instruct-pix2pix only).
        negative_prompt: what not to paint, where the pipeline takes one.
        resolution_px: the model paints at this size squared, keeping the aspect; 0 paints at the picture's own size.
        cpu_offload: keep only the part that is computing on the GPU; slower, needs far less of its memory.
        max_batch: most pictures painted in one call, where many are asked for at once (in training).
        call: further arguments of the pipeline's ``__call__``.
    """

    steps: Positive | None = None
    guidance: Annotated[float, Meta(ge=0)] | None = None
    image_guidance: Annotated[float, Meta(ge=0)] | None = None
    negative_prompt: str | None = None
    resolution_px: Annotated[int, Meta(ge=0, le=4096)] | None = None
    cpu_offload: bool = False
    max_batch: Positive = 8
    call: Mapping[str, Any] = {}


class EndpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenAI-compatible endpoint.

    Attributes:
        base_url: up to and including ``/v1``.
        model: the name that the server knows it by.
        api_key_env: the environment variable that holds the key; None sends none. The key is never logged.
        timeout_s: budget of one request; the call's own deadline counts too where it is nearer.
        max_retries: how often to ask again after 429, 5xx or a dropped connection.
        max_response_mb: a larger answer is refused before it is read.
    """

    base_url: Annotated[str, Meta(pattern="^https?://")]
    model: NonEmpty
    api_key_env: NonEmpty | None = None
    timeout_s: Seconds = 120.0
    max_retries: Annotated[int, Meta(ge=0, le=20)] = 3
    max_response_mb: Seconds = 64.0


class ChatSettings(EndpointSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A planner or critic behind ``/chat/completions``.

    Attributes:
        max_tokens: 0 sends none.
        response_format: ``json_schema`` lets the server constrain the answer (no thought then); ``text`` does not.
        logprobs: ask for token probabilities; without them a critic's score is 1 or 0.
        extra_body: further fields of the request.
    """

    prompt: str = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Meta(ge=0)] = 2048
    response_format: Literal["json_schema", "text"] = "text"
    logprobs: bool = True
    image_px: Annotated[int, Meta(ge=32)] | None = None
    extra_body: Mapping[str, Any] = {}


class ChatCriticSettings(ChatSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``openai`` as critic; ``accept_threshold`` as for `Qwen3VLCriticSettings`, 0.5 unless given."""

    accept_threshold: Fraction = 0.5


class ImageEditSettings(EndpointSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A generator behind ``/images/edits``.

    Attributes:
        size: the ``size`` field of the request, such as ``1024x1024``; empty sends none.
        response_format: the field of that name; empty sends none. The picture must come as base64.
        send_seed: send the seed (vLLM and others take one; OpenAI's own endpoint refuses unknown fields).
        extra_fields: further form fields.
    """

    size: Annotated[str, Meta(pattern="^([0-9]+x[0-9]+|auto|)$")] = ""
    response_format: Literal["b64_json", ""] = "b64_json"
    send_seed: bool = True
    extra_fields: Mapping[str, str] = {}


class PipelineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The optional ``[pipeline]`` table: what `itk_embodied.pipeline.PipelineConfig` should be for this stack."""

    max_attempts: Positive | None = None
    max_steps: Positive | None = None
    plan_s: Seconds | None = None
    image_s: Seconds | None = None
    verdict_s: Seconds | None = None
    sequence_s: Seconds | None = None
    continue_after_unverified: bool | None = None
    anchor: bool | None = None
