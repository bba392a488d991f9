"""Decoding under watch: a grammar that lets only well-formed answers through, seeded sampling, cancel at every token,
and the probability of the critic's boolean, read from the model's own logits before anything masks them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import xgrammar
from transformers import LogitsProcessor, StoppingCriteria

from itk_embodied.agents.base import CallContext

ANSWER_END = "</answer>"
_TAGS = ("<think>", "</think>", "<answer>", ANSWER_END)
_MAX_WHITESPACE = 16  # room for pretty-printed JSON, an end to a model that only writes blanks
_WINDOW = 48  # tokens looked back at; the text looked for is far shorter


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, ids: Any, **options: Any) -> str: ...


def to_text(tokenizer: Tokenizer, ids: Sequence[int] | torch.Tensor) -> str:
    """Tokens as text, nothing left out: the tags may be special tokens of the vocabulary."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@dataclass(frozen=True)
class CompiledAnswer:
    """``whole``: from the first token on. ``closing``: from ``</think>`` on, for a thought that has grown too long."""

    whole: xgrammar.CompiledGrammar
    closing: xgrammar.CompiledGrammar


class AnswerGrammar:
    """Compiles ``<think>…</think><answer>{json of a schema}</answer>`` for one tokenizer; keeps what it compiled."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        # Control tokens (end of turn, padding, picture marks) count as stop tokens, which are never part of an answer;
        # as plain text they could stand in any string.
        control = [i for i in tokenizer.all_special_ids if to_text(tokenizer, [i]) not in _TAGS]
        self._compiler = xgrammar.GrammarCompiler(
            xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size, stop_token_ids=control),
            max_threads=2,
        )
        self._compiled: dict[str, CompiledAnswer] = {}

    def compile(self, schema: Mapping[str, Any]) -> CompiledAnswer:
        """Upper bounds on lengths are left out: in a grammar they cost milliseconds a token, and with a vocabulary of
        150,000 many seconds to compile. `GrammarMask` bounds the thought, ``max_new_tokens`` and the parser the rest.
        """
        text = json.dumps(_without_max_length(schema))
        if text not in self._compiled:
            parts = [
                # Thought is any text without a closing tag; "<" stands in place names such as <x12>.
                xgrammar.Grammar.from_ebnf('root ::= "<think>" ([^<] | "<" [^/])*'),
                xgrammar.Grammar.from_ebnf('root ::= "</think>" [ \\n]{0,2} "<answer>"'),
                xgrammar.Grammar.from_json_schema(text, any_whitespace=True, max_whitespace_cnt=_MAX_WHITESPACE),
                xgrammar.Grammar.from_ebnf(f'root ::= [ \\n]{{0,2}} "{ANSWER_END}"'),
            ]
            whole, closing = (xgrammar.Grammar.concat(*parts[first:]) for first in (0, 1))
            compiled = CompiledAnswer(self._compiler.compile_grammar(whole), self._compiler.compile_grammar(closing))
            self._compiled[text] = compiled
        return self._compiled[text]


class GrammarMask(LogitsProcessor):
    """Masks every token that the grammar does not allow next. One object serves one call of ``generate``.

    A thought that reaches ``max_think_chars`` is closed: from there on only the rest of the answer is allowed.
    """

    def __init__(
        self, compiled: CompiledAnswer, tokenizer: Tokenizer, max_think_chars: int, prompt_tokens: int
    ) -> None:
        self._matcher = xgrammar.GrammarMatcher(compiled.whole, terminate_without_stop_token=True)
        self._bitmask = xgrammar.allocate_token_bitmask(1, compiled.whole.tokenizer_info.vocab_size)
        self._compiled, self._tokenizer = compiled, tokenizer
        self._max_think_chars = max_think_chars + len("<think>")
        self._thought: str | None = ""  # None once it is closed
        self._accepted = prompt_tokens
        self._stuck = False

    def accept(self, ids: torch.Tensor) -> None:
        """Follow the tokens that were chosen since the last call; ``ids`` has shape (1, length)."""
        for token in ids[0, self._accepted :].tolist():
            if self.finished:
                break
            if not self._matcher.accept_token(token):
                self._stuck = True  # no token of this vocabulary fits; what was written so far stays malformed
            elif self._thought is not None:
                self._follow_thought(self._thought + to_text(self._tokenizer, [token]))
        self._accepted = ids.shape[1]

    def _follow_thought(self, thought: str) -> None:
        self._thought = None if "</think>" in thought else thought
        if self._thought is not None and len(thought) >= self._max_think_chars:
            self._thought = None
            self._matcher = xgrammar.GrammarMatcher(self._compiled.closing, terminate_without_stop_token=True)

    @property
    def finished(self) -> bool:
        return self._stuck or self._matcher.is_terminated()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.accept(input_ids)
        if self.finished:
            return scores
        self._matcher.fill_next_token_bitmask(self._bitmask, 0)
        xgrammar.apply_token_bitmask_inplace(scores, self._bitmask.to(scores.device))
        return scores


class SeededSampler(LogitsProcessor):
    """Makes greedy search draw from ``softmax(scores / temperature)`` by adding Gumbel noise.

    So the draw depends on its own generator alone, not on torch's global one, which other threads may use.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(scores.shape, generator=self._generator, dtype=torch.float64)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
        return scores / self._temperature + gumbel.to(scores.device, scores.dtype)


class BooleanProbe(LogitsProcessor):
    """Reads P(true) / (P(true) + P(false)) where the model is about to write the value of a boolean key.

    Which tokens those are depends on how the tokenizer splits ``"key":true`` in context, so that is looked up.
    Must be the first processor: it reads the logits and leaves them alone.
    """

    def __init__(self, tokenizer: Tokenizer, key: str, prompt_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._start = prompt_tokens
        self._places = [_place(tokenizer, key, space) for space in ("", " ")]
        self._done = False
        self.probability: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._done:
            return scores
        text = _squash(to_text(self._tokenizer, input_ids[0, max(self._start, input_ids.shape[1] - _WINDOW) :]))
        here = [place for place in self._places if place is not None and text.endswith(place[0])]
        if "<answer>" in text and here:
            true_ids, false_ids = [*{place[1] for place in here}], [*{place[2] for place in here}]
            logs = scores[0].float().log_softmax(-1)
            true, false = (torch.logsumexp(logs[ids], 0) for ids in (true_ids, false_ids))
            self.probability = float(torch.sigmoid(true - false))
        elif self.probability is not None:
            self._done = True
        return scores


class Watch(StoppingCriteria):
    """Looks at the context at every token, and stops after the answer's end."""

    def __init__(
        self, context: CallContext, tokenizer: Tokenizer, prompt_tokens: int, mask: GrammarMask | None
    ) -> None:
        self._context, self._tokenizer, self._start, self._mask = context, tokenizer, prompt_tokens, mask

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self._context.check()
        if self._mask is not None:
            self._mask.accept(input_ids)
            finished = self._mask.finished
        else:
            tail = input_ids[0, max(self._start, input_ids.shape[1] - _WINDOW) :]
            finished = ANSWER_END in to_text(self._tokenizer, tail)
        return torch.tensor([finished], device=input_ids.device)


def _place(tokenizer: Tokenizer, key: str, space: str) -> tuple[str, int, int] | None:
    """The text before the token that decides, and the two tokens; None where they do not differ in one place."""
    true = tokenizer.encode(f'{{"{key}":{space}true', add_special_tokens=False)
    false = tokenizer.encode(f'{{"{key}":{space}false', add_special_tokens=False)
    at = next((i for i, (t, f) in enumerate(zip(true, false, strict=False)) if t != f), None)
    if not at:
        return None
    return _squash(to_text(tokenizer, true[:at])).removeprefix("{"), true[at], false[at]


def _squash(text: str) -> str:
    """Without white space: JSON may be pretty-printed."""
    return "".join(text.split())


def _without_max_length(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _without_max_length(value) for key, value in schema.items() if key != "maxLength"}
    return [_without_max_length(item) for item in schema] if isinstance(schema, list) else schema
