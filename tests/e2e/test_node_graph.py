"""The node on the in-process backend: topics in, topics and ZeroMQ out, refusals, cancel, late joiners."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from node_bench import ANYWHERE, NODE, Bench, pipeline_of
from scripted import gradient_image

from itk_embodied import ros
from itk_embodied.bridges import SubgoalClient
from itk_embodied.bridges.images import encode_image
from itk_embodied.errors import ConfigError, InputError, ItkError, TransportError
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.ros.pictures import header, rgb_of_compressed, stamp_ns
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_nodes import topics
from itk_nodes.graph import NodeGraph
from itk_nodes.policies import Goal
from itk_nodes.policy_node import PolicyNode


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    ros.try_shutdown()


def test_a_frame_and_a_sentence_become_verified_subgoals(bench: Any) -> None:
    b = bench(pipeline_of(False, True, True))
    taken_ns = b.show()
    b.ask("put both away")
    b.finish()
    (plan,) = [json.loads(m.data) for m in b.heard["plan"]]
    subgoals = [json.loads(m.data) for m in b.heard["subgoal"]]
    pictures = b.heard["subgoal/compressed"]
    b.until(lambda: len(pictures) == 2)
    assert [step["instruction"] for step in plan["steps"]] == ["put a in b", "put c in d"]
    assert [(s["step"], s["status"]) for s in subgoals] == [(1, "verified"), (2, "verified")]
    assert [s["state"] for s in b.statuses] == ["accepted", "running", "verified"]
    assert len(pictures) == 2
    for words, picture in zip(subgoals, pictures, strict=True):
        assert words["stamp_ns"] == taken_ns == stamp_ns(picture.header), "the source's stamp, to the nanosecond"
        assert words["frame_id"] == picture.header.frame_id == "wrist"
        assert words["image"]["sha256"] == hashlib.sha256(picture.data).hexdigest()
        assert rgb_of_compressed(picture).shape == gradient_image().shape
        assert words["task_id"] == plan["task_id"] == b.ends[0]["task_id"]
    assert (b.ends[0]["verified"], b.ends[0]["attempts"], b.ends[0]["task"]) == (2, 3, "put both away")


def test_the_same_subgoals_go_out_over_zeromq(bench: Any) -> None:
    b = bench(pipeline_of())
    service = b.subject.service
    with SubgoalClient(service.stream_address, service.requests_address) as client:
        b.show()
        b.ask("go")
        b.finish()
        goals = list(client.subgoals(b.ends[0]["task_id"], deadline_s=5))
    assert [goal.message.image_sha256 for goal in goals] == [
        json.loads(m.data)["image_sha256"] for m in b.heard["subgoal"]
    ]


def test_an_unverified_picture_is_never_published_as_a_picture(bench: Any) -> None:
    b = bench(pipeline_of(False, False, True))
    b.show()
    b.ask("go")
    b.finish()
    subgoals = [json.loads(m.data) for m in b.heard["subgoal"]]
    assert [s["status"] for s in subgoals] == ["unverified", "verified"]
    b.until(lambda: b.heard["subgoal/compressed"])
    (picture,) = b.heard["subgoal/compressed"]
    assert hashlib.sha256(picture.data).hexdigest() == subgoals[1]["image"]["sha256"]
    assert b.ends[0]["state"] == "partial" and "step 1" in b.ends[0]["reason"]


@pytest.mark.parametrize(
    ("age_s", "says"),
    [(None, "no camera frame has come yet"), (3.0, "s old; at most 1 s"), (-3.0, "ahead of this machine's clock")],
)
def test_without_a_fresh_frame_a_task_is_refused_with_the_reason(bench: Any, age_s: float | None, says: str) -> None:
    b = bench(pipeline_of(), ("--ros-args", "-p", "frame_wait_s:=0.1"))
    if age_s is not None:
        b.show(age_s)
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "failed" and b.ends[0]["refused"] and says in b.ends[0]["reason"]
    assert b.heard["subgoal"] == []


def test_a_task_waits_a_moment_for_a_fresh_frame(bench: Any) -> None:
    b = bench(pipeline_of(), ("--ros-args", "-p", "frame_wait_s:=5.0"))
    b.show(age_s=60)
    b.ask("go")
    b.until(lambda: b.subject._waiting is not None)
    b.show()
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "verified"


def test_the_newest_frame_wins(bench: Any) -> None:
    b = bench(pipeline_of())
    for age_s in (0.5, 0.4, 0.3):
        taken_ns = b.show(age_s)
    b.ask("go")
    b.finish()
    assert json.loads(b.heard["plan"][0].data)["stamp_ns"] == taken_ns


def test_limits_come_with_the_task_and_mistakes_are_refused(bench: Any) -> None:
    b = bench(pipeline_of(False))
    b.show()
    b.ask('{"task": "go", "max_attempts": 1, "seed": 5}')
    b.finish()
    assert b.ends[0]["attempts"] == 2 and json.loads(b.heard["plan"][0].data)["seed"] == 5
    for text, says in (("", "empty"), ("{", "JSON"), ('{"task": "go", "max_tries": 1}', "Did you mean")):
        count = len(b.ends)
        b.ask(text)
        b.until(lambda count=count: len(b.ends) > count)
        assert b.ends[-1]["refused"] and says in b.ends[-1]["reason"]


def test_a_deadline_expires(bench: Any) -> None:
    b = bench(pipeline_of(paint_s=60))
    b.show()
    b.ask('{"task": "go", "deadline_s": 0.3}')
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "expired"


def test_cancel_ends_every_task_with_a_status(bench: Any) -> None:
    b = bench(pipeline_of(paint_s=60))
    b.show()
    b.ask("first")
    b.until(lambda: any(s["state"] == "running" for s in b.statuses))
    b.ask("second")
    b.until(lambda: sum(s["state"] == "accepted" for s in b.statuses) == 2)
    b.stop.publish(ros.message_type(topics.EMPTY)())
    b.until(lambda: len(b.ends) == 2)
    assert {(s["task"], s["state"]) for s in b.ends} == {("first", "cancelled"), ("second", "cancelled")}


def test_a_newer_task_replaces_one_that_waits_for_a_frame(bench: Any) -> None:
    b = bench(pipeline_of(), ("--ros-args", "-p", "frame_wait_s:=5.0"))
    b.ask("first")
    b.ask("second")
    b.until(lambda: b.ends)
    b.show()
    b.until(lambda: len(b.ends) == 2)
    assert [(s["task"], s["state"]) for s in b.ends] == [("first", "cancelled"), ("second", "verified")]
    assert b.ends[0]["reason"] == "replaced by a newer task"


def test_a_late_subscriber_sees_the_current_plan_and_subgoals(bench: Any) -> None:
    b = bench(pipeline_of())
    b.show()
    b.ask("go")
    b.finish()
    string = ros.message_type(topics.STRING)
    plans = b.listen(f"{NODE}/plan", string, topics.current())
    subgoals = b.listen(f"{NODE}/subgoal", string, topics.current())
    b.until(lambda: plans and len(subgoals) == 2)


def test_diagnostics_say_how_it_is(bench: Any) -> None:
    loaded = threading.Event()

    def load() -> VisualSubgoalPipeline:
        assert loaded.wait(10)
        return pipeline_of()

    b = bench(load)
    Status = ros.message_type("diagnostic_msgs/msg/DiagnosticStatus")

    def level() -> Any:
        return b.heard["diagnostics"][-1].status[0].level if b.heard["diagnostics"] else None

    b.until(lambda: level() == Status.WARN)
    assert "loading" in b.heard["diagnostics"][-1].status[0].message
    loaded.set()
    b.until(lambda: level() == Status.STALE)

    def fresh() -> bool:
        b.show()
        return bool(level() == Status.OK)

    b.until(fresh)


def test_models_that_do_not_load_are_an_error_in_diagnostics(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")

    def load() -> VisualSubgoalPipeline:
        raise ConfigError("no such stack")

    b = bench(load)
    b.until(lambda: b.heard["diagnostics"] and b.heard["diagnostics"][-1].status[0].level == b"\x02")
    assert "no such stack" in b.heard["diagnostics"][-1].status[0].message
    b.show()
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "failed" and "no such stack" in b.ends[0]["reason"]


def test_parameters_are_checked(bench: Any) -> None:
    b = bench(pipeline_of())
    (result,) = b.at.set_parameters([ros.Parameter("max_frame_age_s", value=-1.0)])
    assert not result.successful and "at least" in result.reason
    assert b.at.set_parameters([ros.Parameter("max_frame_age_s", value=5.0)])[0].successful
    b.show(age_s=3)
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "verified"


def test_raw_pictures_are_no_compressed_images(bench: Any) -> None:
    with pytest.raises(ConfigError, match="png or jpeg, not raw"):
        bench(pipeline_of(), service=ServiceConfig(encoding="raw"))


def test_the_policy_gets_verified_goals_only_and_in_order(bench: Any) -> None:
    b = bench(pipeline_of(False, False, True, True))
    goals: list[Goal] = []
    policy = PolicyNode(b.node("policy_node"), goals.append)
    b.show()
    b.ask("go")
    b.until(lambda: b.ends and goals)
    assert [(goal.step, goal.instruction) for goal in goals] == [(2, "put c in d")]
    b.ask("again")
    b.until(lambda: len(b.ends) == 2 and len(goals) == 3)
    policy.close()
    assert [goal.step for goal in goals] == [2, 1, 2]
    assert len({goal.task_id for goal in goals}) == 2
    assert [step for _, step in policy.finished] == [2, 1, 2]


def test_a_cancel_stops_the_policy_in_the_middle_of_a_goal(bench: Any) -> None:
    b = bench(pipeline_of())
    holds = threading.Event()
    let_go: list[int] = []

    def hold(goal: Goal) -> None:
        holds.set()
        if goal.stop.wait(10):
            let_go.append(goal.step)

    policy = PolicyNode(b.node("policy_node"), hold)
    words = {"status": "verified", "image": {"sha256": ""}, "task_id": "t", "step": 1, "step_count": 1}
    words |= {"instruction": "x", "stamp_ns": time.time_ns()}
    _give(policy, words)
    assert holds.wait(5)
    policy._on_status(topics.text(json.dumps({"task_id": "t", "state": "cancelled", "reason": "user"})))
    b.until(lambda: let_go)
    _give(policy, {**words, "step": 2})
    policy.close()
    assert let_go == [1] and policy.finished == []


def test_a_stale_goal_and_a_goal_with_another_picture_are_dropped(bench: Any) -> None:
    b = bench(pipeline_of())
    goals: list[Goal] = []
    policy = PolicyNode(b.node("policy_node"), goals.append)
    words = {"status": "verified", "image": {"sha256": ""}, "task_id": "t", "step": 1, "step_count": 1}
    words |= {"instruction": "x", "stamp_ns": time.time_ns() - 3_600_000_000_000}
    _give(policy, words)
    policy._on_words(topics.text(json.dumps({**words, "image": {"sha256": "f" * 64}, "stamp_ns": time.time_ns()})))
    policy.close()
    assert goals == []


def _give(policy: PolicyNode, words: dict[str, Any]) -> None:
    """A verified subgoal on both topics, words last."""
    _, payload = encode_image(gradient_image())
    picture = ros.message_type(topics.COMPRESSED)(header=header(words["stamp_ns"], "f"), format="png", data=payload)
    policy._on_picture(picture)
    digest = hashlib.sha256(payload).hexdigest()
    policy._on_words(topics.text(json.dumps({**words, "image": {"sha256": digest}})))


def test_a_refused_task_is_an_error_of_the_graph_at_once() -> None:
    class NoCamera:
        def read(self, timeout_s: float) -> None:
            time.sleep(timeout_s)

        def close(self) -> None: ...

    with NodeGraph(pipeline_of(), frames=NoCamera(), service=ANYWHERE, frame_wait_s=0.1) as graph:
        with pytest.raises(TransportError, match="no camera frame came within"):
            graph.wait_ready(0.3)
        with pytest.raises(InputError, match="no camera frame has come yet"):
            graph.run_task("go", deadline_s=20)
        with pytest.raises(InputError, match="the task is empty"):
            graph.run_task(" ", deadline_s=20)
    graph.close()
    assert not ros.ok()


def test_a_graph_whose_models_do_not_load_says_so_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")

    def load() -> VisualSubgoalPipeline:
        raise ConfigError("no such stack")

    with NodeGraph(load, frames="tcp://127.0.0.1:9", service=ANYWHERE) as graph:
        with pytest.raises(ItkError, match="no such stack") as broken:
            graph.wait_ready(20)
        assert not isinstance(broken.value, TransportError)


def test_a_graph_that_cannot_start_leaves_nothing_behind() -> None:
    with SubgoalService(pipeline_of(), ANYWHERE) as other:
        taken = ServiceConfig(stream=other.stream_address, requests="tcp://127.0.0.1:0")
        with pytest.raises(TransportError, match="another process has that port"):
            NodeGraph(pipeline_of(), frames="tcp://127.0.0.1:9", service=taken)
    assert not ros.ok()
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("camera_node", "nodes")]
