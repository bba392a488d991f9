"""One Qwen3-VL model behind both roles: pictures and a prompt go in, the answer's text comes out."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import PIL.Image
import torch
from transformers import GenerationConfig, LogitsProcessorList, Qwen3VLForConditionalGeneration, StoppingCriteriaList

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.checkpoints import Checkpoint, find_adapter, find_checkpoint
from itk_embodied.agents.devices import choose_device
from itk_embodied.agents.pictures import fit_longest_side
from itk_embodied.agents.qwen3vl.decoding import (
    AnswerGrammar,
    BooleanProbe,
    GrammarMask,
    SeededSampler,
    Watch,
    to_text,
)
from itk_embodied.agents.qwen3vl.processor import ImageOnlyQwen3VLProcessor
from itk_embodied.agents.settings import VisionLanguageSettings
from itk_embodied.errors import CheckpointError, MissingDependencyError
from itk_embodied.types import Image

NOTES_FILE = "itk.json"
_LOCK_POLL_S = 0.02


@dataclass(frozen=True)
class ModelAnswer:
    """What the model wrote, and P(true) at the boolean that was asked about (None where it never came to it)."""

    text: str
    true_probability: float | None


class Qwen3VLAgentModel:
    """A `Qwen3VLForConditionalGeneration` and its processor. One call at a time; others wait and can be cancelled."""

    def __init__(self, model: Any, processor: Any, *, name: str, notes: Mapping[str, Any] | None = None) -> None:
        self.model = model.eval()
        self.processor = processor
        self._ends = _end_tokens(model, processor.tokenizer)
        # Greedy whatever the checkpoint's own generation config says; sampling is `SeededSampler`'s part.
        pad = processor.tokenizer.pad_token_id
        model.generation_config = GenerationConfig(do_sample=False, eos_token_id=sorted(self._ends), pad_token_id=pad)
        self.name = name
        self.notes = dict(notes or {})
        self._grammar = AnswerGrammar(processor.tokenizer, int(model.get_output_embeddings().weight.shape[0]))
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: VisionLanguageSettings, folder: Path | None = None) -> Qwen3VLAgentModel:
        """Load a checkpoint, or take the one that another role loaded already.

        Raises:
            CheckpointError: it is missing or broken; names the hub id and how to fetch it.
            ConfigError: the device is not there.
        """
        checkpoint, adapter = find_checkpoint(settings, folder), find_adapter(settings, folder)
        device, dtype = choose_device(settings)
        tuned = adapter.location if adapter else None
        key = (checkpoint.location, checkpoint.revision, tuned, str(device), str(dtype))
        with _loading:
            model = _loaded.get(key)
            if model is None:
                model = _loaded[key] = cls._read(checkpoint, adapter, device, dtype)
        return model

    @classmethod
    def _read(
        cls, checkpoint: Checkpoint, adapter: Checkpoint | None, device: torch.device, dtype: torch.dtype
    ) -> Qwen3VLAgentModel:
        options: dict[str, Any] = {"local_files_only": checkpoint.local_only}
        if checkpoint.revision:
            options["revision"] = checkpoint.revision
        with checkpoint.loading():
            model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
                checkpoint.location, dtype=dtype, use_safetensors=True, **options
            )
            processor = ImageOnlyQwen3VLProcessor.from_pretrained(checkpoint.location, **options)
            model = model.to(device)
        if adapter is None:
            return cls(model, processor, name=checkpoint.given, notes=_read_notes(checkpoint))
        notes = _read_notes(checkpoint) | _read_notes(adapter)
        return cls(_merged(model, adapter), processor, name=f"{checkpoint.given}+{adapter.given}", notes=notes)

    def answer(
        self,
        messages: tuple[str, str],
        images: Sequence[Image],
        schema: Mapping[str, Any],
        settings: VisionLanguageSettings,
        context: CallContext,
        boolean_key: str | None = None,
    ) -> ModelAnswer:
        """Ask once. ``messages`` are system and user text; the pictures stand before the user's text.

        Raises:
            CancelledError, BudgetExceededError: at the next token after the context says so.
        """
        context.check()
        while not self._lock.acquire(timeout=_LOCK_POLL_S):
            context.check()
        try:
            return self._answer(messages, images, schema, settings, context, boolean_key)
        finally:
            self._lock.release()

    @torch.inference_mode()
    def _answer(
        self,
        messages: tuple[str, str],
        images: Sequence[Image],
        schema: Mapping[str, Any],
        settings: VisionLanguageSettings,
        context: CallContext,
        boolean_key: str | None,
    ) -> ModelAnswer:
        tokenizer = self.processor.tokenizer
        inputs = self._inputs(messages, images, settings.image_px)
        length = inputs["input_ids"].shape[1]
        probe = BooleanProbe(tokenizer, boolean_key, length) if boolean_key else None
        mask = None
        if settings.constrained:
            mask = GrammarMask(self._grammar.compile(schema), tokenizer, settings.max_think_chars, length)
        processors = [probe, mask, SeededSampler(settings.temperature, context.seed) if settings.temperature else None]
        context.check()
        output = self.model.generate(
            **inputs,
            max_new_tokens=settings.max_new_tokens,
            logits_processor=LogitsProcessorList([p for p in processors if p is not None]),
            stopping_criteria=StoppingCriteriaList([Watch(context, tokenizer, length, mask)]),
        )
        written = output[0, length:].tolist()
        while written and written[-1] in self._ends:
            written.pop()
        return ModelAnswer(to_text(tokenizer, written), probe.probability if probe else None)

    def _inputs(self, messages: tuple[str, str], images: Sequence[Image], image_px: int | None) -> dict[str, Any]:
        system, user = (defuse(message) for message in messages)
        pictures = [PIL.Image.fromarray(fit_longest_side(image, image_px)) for image in images]
        content = [{"type": "image", "image": picture} for picture in pictures] + [{"type": "text", "text": user}]
        chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system:
            chat.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        inputs = self.processor.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        return {name: value.to(self.model.device) for name, value in inputs.items()}


_loaded: WeakValueDictionary[tuple[str | None, ...], Qwen3VLAgentModel] = WeakValueDictionary()
_loading = threading.Lock()


def _merged(model: Any, adapter: Checkpoint) -> Any:
    """The model with a LoRA adapter's change added to its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingDependencyError('a LoRA adapter needs PEFT: pip install "itk-embodied[models]"') from error
    with adapter.loading():
        return PeftModel.from_pretrained(model, adapter.location).merge_and_unload()


def defuse(text: str) -> str:
    """Break control tokens such as ``<|im_end|>`` that a task sentence may carry, so that they stay plain text."""
    return text.replace("<|", "< |")


def _read_notes(checkpoint: Checkpoint) -> dict[str, Any]:
    """What training left beside the weights for the adapter, such as ``accept_threshold``."""
    path = checkpoint.folder and checkpoint.folder / NOTES_FILE
    if not path or not path.is_file():
        return {}
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}). {checkpoint.remedy}") from error
    if not isinstance(notes, dict):
        raise CheckpointError(f"{path} must hold a JSON object. {checkpoint.remedy}")
    return notes


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id, *(own if isinstance(own, list) else [own])}
    return {token for token in ends if token is not None}
