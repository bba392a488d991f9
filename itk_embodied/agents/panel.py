"""Several critics as one: each gives its verdict, and the weighted mean of their scores decides.

Critics of different kinds are wrong about different pictures. Whoever refuses and rewrites the prompt, in the order of
the stack's file, is heard on what to paint next.

    [critic]
    kind = "panel"
    [[critic.members]]
    kind = "qwen3vl"                 # any registered kind of critic, with its settings
    …
    [[critic.members]]
    kind = "edit-verifier"
    weight = 2.0                     # 1.0 unless given
    …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from itk_embodied.agents.base import CallContext, Critic
from itk_embodied.agents.registry import RoleSpec, check_settings, get_kind
from itk_embodied.agents.settings import Fraction
from itk_embodied.errors import ConfigError
from itk_embodied.types import Image, Verdict


class PanelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``panel`` as critic.

    Attributes:
        members: two critics or more, each a table with its ``kind``, its settings, and a ``weight`` if it is not 1.
        accept_threshold: least weighted mean of the members' scores that counts as success. The members' own thresholds
            and verdicts play no part in it, only in whose prompt is heard.
    """

    members: Annotated[tuple[Mapping[str, Any], ...], Meta(min_length=2, max_length=9)]
    accept_threshold: Fraction = 0.5

    def seats(self, folder: Path | None = None) -> tuple[tuple[RoleSpec, float], ...]:
        """The members, checked, with their weights.

        Raises:
            ConfigError: a member's kind, key or value is not allowed.
        """
        return tuple(_seat(table, number, folder) for number, table in enumerate(self.members, 1))


def _seat(table: Mapping[str, Any], number: int, folder: Path | None) -> tuple[RoleSpec, float]:
    where = f"member {number} of the panel"
    rest = dict(table)
    name, weight = rest.pop("kind", None), rest.pop("weight", 1.0)
    if not isinstance(name, str):
        raise ConfigError(f'{where} needs kind = "…", a string.')
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise ConfigError(f"{where}: weight is {weight!r}; it must be a number above 0.")
    try:
        kind = get_kind("critic", name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return RoleSpec("critic", name, check_settings(kind, rest, where), folder), float(weight)


@dataclass(frozen=True, eq=False)
class Member:
    """A critic and how much its score counts."""

    critic: Critic
    weight: float = 1.0


class Panel:
    """See `itk_embodied.agents.base.Critic`."""

    def __init__(self, members: Sequence[Member], accept_threshold: float = 0.5) -> None:
        if len(members) < 2:
            raise ConfigError(f"a panel has {len(members)} members; give it two critics or more.")
        self.name = "panel:" + "+".join(member.critic.name for member in members)
        self.members, self.accept_threshold = tuple(members), accept_threshold
        self.remote = any(getattr(member.critic, "remote", False) for member in members)
        hashes = [str(m.critic.prompt_hash) for m in members if hasattr(m.critic, "prompt_hash")]
        if hashes:
            self.prompt_hash = "+".join(hashes)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        verdicts = [member.critic.judge(before, after, instruction, prompt, context) for member in self.members]
        weights = [member.weight for member in self.members]
        score = sum(w * verdict.score for w, verdict in zip(weights, verdicts, strict=True)) / sum(weights)
        success = score >= self.accept_threshold
        heard = verdicts[0] if success else _heard(verdicts, prompt)
        reasoning = "\n".join(
            f"{member.critic.name} ({verdict.score:.2f}): {verdict.reasoning}"
            for member, verdict in zip(self.members, verdicts, strict=True)
        )
        return replace(heard, success=success, score=score, reasoning=reasoning)


def _heard(verdicts: Sequence[Verdict], prompt: str) -> Verdict:
    """Of a refused picture: the first who refused it and says it in other words, else the first who does so."""
    rewriting = [verdict for verdict in verdicts if verdict.refine_prompt.strip() not in ("", prompt.strip())]
    return next((v for v in rewriting if not v.success), rewriting[0] if rewriting else verdicts[0])
