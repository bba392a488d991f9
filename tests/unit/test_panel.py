"""A panel decides by its members' scores, and hears who rewrites; its stack file is checked as any other."""

from __future__ import annotations

import pytest
from scripted import ScriptedCritic, gradient_image

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.conformance import check_critic
from itk_embodied.agents.panel import Member, Panel
from itk_embodied.agents.registry import register_critic, unregister
from itk_embodied.agents.stacks import build_role, models, parse_stack
from itk_embodied.errors import CheckpointError, ConfigError, ModelOutputError
from itk_embodied.types import Verdict

IMAGE = gradient_image()


def ask(*members: tuple[Verdict | Exception, float], threshold: float = 0.5) -> Verdict:
    panel = Panel([Member(ScriptedCritic(answer), weight) for answer, weight in members], threshold)
    return panel.judge(IMAGE, IMAGE, "put it there", "put it there", CallContext())


def said(score: float, prompt: str = "put it there", success: bool | None = None) -> Verdict:
    return Verdict(score >= 0.5 if success is None else success, prompt, score, reasoning=f"saw {score}")


@pytest.mark.parametrize(
    ("scores", "weights", "threshold", "accepted", "score"),
    [
        ((0.9, 0.3), (1, 1), 0.5, True, 0.6),
        ((0.9, 0.3), (1, 3), 0.5, False, 0.45),
        ((0.9, 0.3), (1, 1), 0.7, False, 0.6),
        ((0.2, 0.9, 1.0), (2, 1, 1), 0.5, True, 0.575),
    ],
)
def test_the_weighted_mean_decides(scores, weights, threshold, accepted, score):
    verdict = ask(*((said(s), w) for s, w in zip(scores, weights, strict=True)), threshold=threshold)
    assert verdict.success is accepted
    assert verdict.score == pytest.approx(score)
    assert all(f"saw {one}" in verdict.reasoning for one in scores)


def test_of_a_refused_picture_who_refuses_and_rewrites_is_heard():
    heard = ask((said(0.9, "praise"), 1), (said(0.1), 1), (said(0.2, "put it HERE"), 1))
    assert not heard.success and heard.refine_prompt == "put it HERE"
    assert ask((said(0.6, "only I rewrite"), 1), (said(0.1), 1)).refine_prompt == "only I rewrite"
    assert ask((said(0.1), 1), (said(0.2), 1)).refine_prompt == "put it there"
    assert ask((said(0.9), 1), (said(0.4, "other words"), 1)).refine_prompt == "put it there"  # accepted


def test_a_member_that_cannot_be_read_is_an_error_as_it_is_alone():
    with pytest.raises(ModelOutputError):
        ask((said(0.9), 1), (ModelOutputError("no verdict", "raw"), 1))


class Sober:
    """Accepts what changed, a little."""

    name = "sober"

    def judge(self, before, after, instruction, prompt, context):
        context.check()
        changed = bool((before != after).any())
        return Verdict(changed, prompt, 0.6 if changed else 0.2)


def test_it_conforms_as_its_members_do():
    assert check_critic(Panel([Member(Sober()), Member(ScriptedCritic(False))])).passed


def test_it_says_which_prompts_were_asked_and_whether_somebody_else_is_paid():
    one, other = Sober(), Sober()
    assert not hasattr(Panel([Member(one), Member(other)]), "prompt_hash")
    one.prompt_hash, other.remote = "abc", True
    panel = Panel([Member(one), Member(other)])
    assert panel.prompt_hash == "abc" and panel.remote and not Panel([Member(one), Member(Sober())]).remote


STACK = """
[planner]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "m"
[generator]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "m"
[critic]
kind = "panel"
accept_threshold = 0.4
[[critic.members]]
kind = "sober"
weight = 2
[[critic.members]]
kind = "edit-verifier"
checkpoint = "not/there/at/all"
"""


@pytest.fixture
def sober():
    register_critic("sober", lambda spec: Sober())
    yield
    unregister("critic", "sober")


def test_a_stack_names_the_members(sober):
    critic = parse_stack(STACK, source="test").critic
    assert [model.kind for model in models(critic)] == ["sober", "edit-verifier"]
    twice = parse_stack(
        STACK.replace("edit-verifier", "sober").replace('checkpoint = "not/there/at/all"', ""), source="t"
    )
    panel = build_role(twice.critic)
    assert [member.weight for member in panel.members] == [2.0, 1.0] and panel.accept_threshold == 0.4


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('kind = "edit-verifier"', 'kind = "edit-verifyer"', "member 2 of the panel: there is no critic"),
        ("weight = 2", "weight = 0", "member 1 of the panel: weight is 0"),
        ('checkpoint = "not', 'chekpoint = "not', "member 2 of the panel has no setting 'chekpoint'"),
        ('[[critic.members]]\nkind = "sober"\nweight = 2\n', "", "members"),
        ('kind = "sober"\n', "", "member 1 of the panel needs kind"),
    ],
)  # fmt: skip
def test_errors_name_the_member(sober, old, new, told):
    with pytest.raises(ConfigError, match="critic") as caught:
        parse_stack(STACK.replace(old, new), source="test")
    assert told in str(caught.value)


def test_what_a_member_lacks_is_said_before_anything_loads(sober):
    from itk_embodied.agents.stacks import build

    with pytest.raises(CheckpointError, match=r"\[critic\] there is no checkpoint folder not/there/at/all"):
        build(parse_stack(STACK, source="test"))


def test_a_panel_of_one_is_refused():
    with pytest.raises(ConfigError, match="two critics or more"):
        Panel([Member(Sober())])
