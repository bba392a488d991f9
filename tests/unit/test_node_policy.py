"""policy_node: which goals reach a policy, when it is stopped, and what is said of it. One terminal status a task."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted import gradient_image

from itk_embodied import ros
from itk_embodied.bridges.images import encode_image
from itk_embodied.errors import ConfigError
from itk_embodied.ros.pictures import header
from itk_nodes import topics
from itk_nodes.goal_desk import Dropped, GoalDesk, Matched, staleness
from itk_nodes.policies import Goal, PolicyStopped, TaskEnd, load_policy
from itk_nodes.policy_node import PolicyNode

S = 1_000_000_000
_, PNG = encode_image(gradient_image())
DIGEST = hashlib.sha256(PNG).hexdigest()
NODE = "/visual_subgoal_node"


def words(step: int = 1, **changed: Any) -> dict[str, Any]:
    plain = {"status": "verified", "image": {"sha256": DIGEST}, "task_id": "t", "step": step, "step_count": 2}
    return {**plain, "instruction": f"do {step}", "stamp_ns": time.time_ns(), "valid_until_ns": 0, **changed}


def picture(payload: bytes = PNG) -> Any:
    return ros.message_type(topics.COMPRESSED)(header=header(0, "f"), format="png", data=payload)


class Stage:
    """A policy node, and somebody who speaks for visual_subgoal_node."""

    def __init__(self, policy: Any, *ros_args: str) -> None:
        ros.use_backend("inproc")
        ros.init(args=["--ros-args", *ros_args])
        self.executor = ros.SingleThreadedExecutor()
        self.at, other = ros.create_node("policy_node"), ros.create_node("other")
        for node in (self.at, other):
            self.executor.add_node(node)
        self.subject = PolicyNode(self.at, policy)
        String = ros.message_type(topics.STRING)
        self._subgoal = other.create_publisher(String, f"{NODE}/subgoal", topics.current())
        self._picture = other.create_publisher(
            ros.message_type(topics.COMPRESSED), f"{NODE}/subgoal/compressed", topics.current()
        )
        self._status = other.create_publisher(String, f"{NODE}/status", topics.current())
        self._diagnostics = other.create_publisher(ros.message_type(topics.DIAGNOSTICS), "/diagnostics", topics.words())
        self.said: list[dict[str, Any]] = []
        other.create_subscription(
            String, "/policy_node/status", lambda m: self.said.append(json.loads(m.data)), topics.current()
        )

    def give(self, *steps: dict[str, Any]) -> None:
        for step in steps:
            self._subgoal.publish(topics.text(json.dumps(step)))
            self._picture.publish(picture())

    def status(self, state: str, task_id: str = "t", session: str = "s1", **more: Any) -> None:
        terminal = state not in ("accepted", "running")
        status = {"task_id": task_id, "state": state, "terminal": terminal, "reason": "", "session": session, **more}
        self._status.publish(topics.text(json.dumps(status)))

    def beat(self, session: str = "s1") -> None:
        Array, Status = ros.message_type(topics.DIAGNOSTICS), ros.message_type("diagnostic_msgs/msg/DiagnosticStatus")
        pair = ros.message_type("diagnostic_msgs/msg/KeyValue")(key="session", value=session)
        self._diagnostics.publish(Array(status=[Status(hardware_id=NODE, values=[pair])]))

    def until(self, condition: Callable[[], Any], budget_s: float = 8.0) -> None:
        ends_s = time.monotonic() + budget_s
        while not condition():
            assert time.monotonic() < ends_s, f"it did not happen in time; said: {self.said}"
            self.executor.spin_once(timeout_sec=0.02)

    def states(self, step: int | None = None) -> list[str]:
        return [said["state"] for said in self.said if said["step"] == step]

    def ends(self) -> list[tuple[str, str]]:
        return [(said["state"], said["reason"]) for said in self.said if said["terminal"]]

    def close(self) -> None:
        self.subject.close()
        ros.try_shutdown()


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(*args: Any) -> Stage:
        made.append(Stage(*args))
        return made[-1]

    yield make
    for one in made:
        one.close()


def hold(goal: Goal) -> None:
    goal.stop.wait(10)


def test_a_task_that_is_carried_out_ends_as_done_once(stage: Any) -> None:
    ended: list[TaskEnd] = []

    class Arm:
        def __call__(self, goal: Goal) -> None: ...

        def ended(self, end: TaskEnd) -> None:
            ended.append(end)

    s = stage(Arm())
    s.status("running", task="two things")
    s.give(words(1), words(2))
    s.status("verified", verified=2, task="two things")
    s.until(lambda: s.ends() and ended)
    assert s.ends() == [("done", "")]
    assert s.states(1) == s.states(2) == ["accepted", "running", "reached"]
    assert (ended[0].state, ended[0].reached, ended[0].task) == ("done", (1, 2), "two things")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": "unverified"}, "it is unverified, not verified"),
        ({"image": None}, "it has no picture"),
        ({"stamp_ns": time.time_ns() - 60 * S}, "from before this policy started"),
        ({"valid_until_ns": 1}, "it expired"),
    ],
)
def test_what_must_not_reach_the_policy_does_not_and_it_is_said(stage: Any, changed: Any, says: str) -> None:
    goals: list[Goal] = []
    s = stage(goals.append)
    s.give(words(1, **changed))
    s.until(lambda: "dropped" in s.states(1))
    assert says in next(said["reason"] for said in s.said if said["state"] == "dropped")
    assert goals == []


@pytest.mark.parametrize("state", ["cancelled", "failed", "expired"])
def test_the_policy_is_stopped_with_its_task(stage: Any, state: str) -> None:
    s = stage(hold)
    s.give(words(1))
    s.until(lambda: "running" in s.states(1))
    s.status(state, reason="so it is")
    s.until(lambda: "stopped" in s.states(1))
    s.give(words(2))
    s.until(lambda: "dropped" in s.states(2))
    assert s.ends() == [(state, f"the task is {state}: so it is")]


def test_a_goal_that_grows_too_old_stops_the_policy(stage: Any) -> None:
    s = stage(hold, "-p", "max_goal_age_s:=0.5")
    s.give(words(1))
    s.until(lambda: s.ends())
    ((state, reason),) = s.ends()
    assert state == "expired" and "max_goal_age_s" in reason
    s.until(lambda: "stopped" in s.states(1))


def test_a_node_that_falls_silent_stops_the_policy(stage: Any) -> None:
    s = stage(hold, "-p", "node_timeout_s:=1.5")
    s.beat()
    s.give(words(1))
    s.until(lambda: s.ends())
    ((state, reason),) = s.ends()
    assert state == "failed" and f"{NODE} has been silent" in reason


def test_a_node_that_was_restarted_has_lost_the_task(stage: Any) -> None:
    s = stage(hold)
    s.beat("s1")
    s.status("running")
    s.give(words(1))
    s.until(lambda: "running" in s.states(1))
    s.beat("s2")
    s.until(lambda: s.ends())
    assert s.ends() == [("failed", f"{NODE} was restarted; the task it worked on is lost")]


def test_a_newer_task_replaces_the_older_one(stage: Any) -> None:
    s = stage(hold)
    s.give(words(1))
    s.until(lambda: "running" in s.states(1))
    s.give(words(1, task_id="u"))
    s.until(lambda: s.ends())
    assert s.ends() == [("replaced", "a newer task has begun")]


def test_a_policy_that_cannot_reach_a_goal_says_why_and_gets_no_more(stage: Any) -> None:
    def stuck(goal: Goal) -> None:
        raise PolicyStopped("the drawer is jammed")

    s = stage(stuck)
    s.give(words(1), words(2))
    s.until(lambda: (s.ends() and "dropped" in s.states(2)) or "stopped" in s.states(2))
    assert s.ends() == [("failed", "step 1: the drawer is jammed")]


def test_a_task_of_which_not_every_step_was_verified_ends_as_partial(stage: Any) -> None:
    s = stage(lambda goal: None)
    s.give(words(1))
    s.status("partial", verified=1, reason="step 2 is unverified")
    s.until(lambda: s.ends())
    assert s.ends() == [("partial", "the task is partial: step 2 is unverified")]


def test_goals_that_the_rules_keep_back_are_missed_and_the_reason_is_given(stage: Any) -> None:
    s = stage(lambda goal: None)
    s.give(words(1, stamp_ns=time.time_ns() - 60 * S))
    s.status("running")
    s.status("verified", verified=1)
    s.until(lambda: s.ends())
    ((state, reason),) = s.ends()
    assert state == "failed" and "1 of its verified goals did not reach the policy" in reason
    assert "from before this policy started" in reason


def test_a_policy_that_cannot_start_is_said_for_every_goal(stage: Any) -> None:
    class Broken:
        def open(self) -> None:
            raise OSError("no arm")

        def __call__(self, goal: Goal) -> None: ...

    s = stage(Broken())
    s.until(lambda: s.subject._broken)
    s.give(words(1))
    s.until(lambda: "dropped" in s.states(1))
    assert "OSError: no arm" in s.said[-1]["reason"]


def test_pictures_are_matched_by_their_bytes_and_steps_come_once_in_order() -> None:
    ros.use_backend("inproc")
    desk = GoalDesk(0)
    other = encode_image(gradient_image(64, 64))[1]
    assert desk.words(json.dumps(words(1))) == [] and desk.picture(picture(bytes(other))) == []
    (matched,) = desk.picture(picture())
    assert isinstance(matched, Matched) and matched.words["step"] == 1
    (again,) = desk.words(json.dumps(words(1)))
    assert isinstance(again, Dropped) and again.verified and "twice" in again.reason
    (next_one,) = desk.words(json.dumps(words(2)))
    assert isinstance(next_one, Matched)
    for nonsense in ("", "{", "[]", '{"task_id": "t"}', "null"):
        (bad,) = desk.words(nonsense)
        assert isinstance(bad, Dropped) and "cannot be read" in bad.reason


def test_staleness_is_of_the_frame_or_of_the_goal() -> None:
    assert staleness(0, None, 5 * S, 10.0) == ""
    assert "5 s old; at most 4 s" in staleness(0, None, 5 * S, 4.0)
    assert staleness(0, 6 * S, 5 * S, 10.0) == "" and "expired 1.0 s ago" in staleness(0, 4 * S, 5 * S, 10.0)


class Armed:
    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def __call__(self, goal: Goal) -> None: ...


def test_policies_are_loaded_by_name_with_options() -> None:
    assert load_policy(f"{__name__}:Armed", '{"speed": 2.0}').speed == 2.0  # type: ignore[attr-defined]
    for options, says in (("{", "no JSON object"), ("[1]", "must be a JSON object"), ('{"sped": 1}', "sped")):
        with pytest.raises(ConfigError, match=says):
            load_policy(f"{__name__}:Armed", options)
    with pytest.raises(ConfigError, match="for a policy that is a class"):
        load_policy(f"{__name__}:hold", '{"a": 1}')
