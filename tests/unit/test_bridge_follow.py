"""Both clients' judgement, alone: what to ask for, what to deliver, when a service counts as lost."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from itk_embodied.bridges import wire
from itk_embodied.bridges.client_actions import Ask, Deliver, Ended, FollowRules, Listen, Resubmit
from itk_embodied.bridges.client_calls import Submitted, SubmittedTasks, Waiter
from itk_embodied.bridges.client_exchange import Exchange
from itk_embodied.bridges.client_follow import Follower
from itk_embodied.bridges.client_link import Link, LinkRules
from itk_embodied.bridges.codec import Received, encode
from itk_embodied.errors import ConfigError, InputError, TransportError

RULES = LinkRules("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", timeout_s=5.0, dead_after_s=3.0, patience_s=20.0)
INFO = wire.ImageInfo(encoding="raw", height=1, width=1, size_bytes=3)


def goal(seq: int, step: int, *, status: str = "verified", session: str = "a", pixels: str = "") -> Received:
    message = wire.SubgoalMessage(
        session=session,
        task_id="t",
        seq=seq,
        step=step,
        step_count=9,
        instruction="go",
        status=status,
        image=None if status == "failed" else INFO,
        image_sha256=pixels or f"{step:064x}",
    )
    return Received(message, b"" if status == "failed" else b"rgb")


def plan(seq: int = 1, session: str = "a") -> Received:
    return Received(wire.PlanMessage(session=session, task_id="t", seq=seq, task="go", seed=0, steps=()), b"")


def end(seq: int, status: str = "verified", session: str = "a") -> Received:
    return Received(wire.EndMessage(session=session, task_id="t", seq=seq, status=status), b"")


def beat(active: str = "t", seq: int = 0, pending: str = "", session: str = "a") -> Received:
    return Received(wire.Heartbeat(session=session, state="ready", active=active, active_seq=seq, pending=pending), b"")


def reply(place: str = "active", last: int = 0, session: str = "a", count: int = 0) -> wire.SnapshotReply:
    return wire.SnapshotReply(session=session, request_id="r", task_id="t", place=place, last_seq=last, count=count)


def mine(session: str = "a", listening: bool = False) -> Submitted:
    """The task as this client submitted it."""
    request = wire.Submit(request_id="r", task_id="abcdefgh", task="go", stamp_ns=0, frame_id="", image=INFO)
    return Submitted(request, b"rgb", sent_s=100.0, session=session, listening=listening)


class World:
    """A service as the follower sees it: numbered messages, some of which arrive."""

    def __init__(self, messages: list[Received], **rules: Any) -> None:
        self.messages = messages
        self.now_s = 100.0
        self.delivered: list[int] = []
        self.links: list[str] = []
        self.heard: list[Any] = []
        self.asked = 0
        self.follower = Follower(
            "t",
            FollowRules(**{"deadline_s": 60.0, **rules}),
            RULES,
            now_s=self.now_s,
            submitted=mine(),
            on_message=self.heard.append,
            on_link=lambda state, why: self.links.append(state),
        )

    def act(self) -> Any:
        """The follower's next action; what it delivers is noted, what it asks for is answered."""
        action = self.follower.next(self.now_s)
        if isinstance(action, Deliver):
            message: Any = action.received.message
            self.delivered.append(message.step)
        elif isinstance(action, Ask):
            self.asked += 1
            last = len(self.messages)
            missed = self.messages[action.after_seq :]
            self.follower.on_snapshot(reply(last=last, count=len(missed)), missed, self.now_s)
        return action

    def run(self, arrivals: list[Received]) -> None:
        """Listen to the arrivals, then to heartbeats, until the task has ended."""
        waiting = list(arrivals)
        for _ in range(1000):
            action = self.act()
            if isinstance(action, Ended):
                return
            if isinstance(action, Listen):
                self.now_s += 0.01
                last = len(self.messages)
                self.follower.on_stream(waiting.pop(0) if waiting else beat(seq=last), self.now_s)
        raise AssertionError("the task did not end")


SEQUENCE = [plan(), goal(2, 1), goal(3, 2), goal(4, 3, status="unverified"), goal(5, 4), end(6, "partial")]


@given(st.lists(st.integers(0, len(SEQUENCE) - 1), max_size=40))
def test_whatever_arrives_however_often_and_in_whatever_order_each_goal_is_delivered_once(order: list[int]) -> None:
    world = World(SEQUENCE)
    world.run([SEQUENCE[index] for index in order])
    assert world.delivered == [1, 2, 4]
    assert [message.seq for message in world.heard] == [1, 2, 3, 4, 5, 6]
    assert world.follower.end is not None and world.follower.end.status == "partial"


def test_without_loss_one_snapshot_is_asked_for_and_no_more() -> None:
    world = World([])
    world.act()
    for received in SEQUENCE:
        world.messages.append(received)
        world.follower.on_stream(received, world.now_s)
        world.follower.on_stream(beat(seq=len(world.messages)), world.now_s)
    assert not isinstance(world.act(), Ask)
    assert world.asked == 1


def test_a_client_that_listened_when_it_submitted_needs_no_snapshot() -> None:
    follower = Follower("t", FollowRules(60.0), RULES, now_s=100.0, submitted=mine(listening=True))
    delivered = []
    for received in SEQUENCE:
        assert isinstance(follower.next(100.0), Listen)
        follower.on_stream(received, 100.0)
        while isinstance(action := follower.next(100.0), Deliver):
            delivered.append(action.received.message.step)  # type: ignore[union-attr]
    assert delivered == [1, 2, 4] and isinstance(follower.next(100.0), Ended)


def test_a_snapshot_may_come_in_pieces() -> None:
    follower = Follower("t", FollowRules(60.0), RULES, now_s=100.0)
    asked = []
    while not isinstance(action := follower.next(100.0), Ended):
        if isinstance(action, Ask):
            asked.append(action.after_seq)
            piece = SEQUENCE[action.after_seq : action.after_seq + 2]
            follower.on_snapshot(reply(last=6, count=len(piece)), piece, 100.0)
    assert asked == [0, 2, 4]


def test_everything_is_delivered_where_it_is_asked_for() -> None:
    world = World(SEQUENCE, verified_only=False)
    world.run([])
    assert world.delivered == [1, 2, 3, 4]


def test_latest_only_delivers_the_newest_and_counts_the_others() -> None:
    world = World(SEQUENCE[:3], latest_only=True)
    while not world.delivered:
        if isinstance(world.act(), Listen):
            world.follower.quiet(world.now_s)
    assert world.delivered == [2] and world.follower.skipped == 1
    world.messages.extend(SEQUENCE[3:])
    world.run(SEQUENCE[3:])
    assert world.delivered == [2, 4] and world.follower.skipped == 1


def test_latest_only_is_not_held_up_by_a_sender_that_never_pauses() -> None:
    world = World(SEQUENCE[:2], latest_only=True)
    for _ in range(1000):
        if isinstance(world.act(), Listen):
            world.follower.on_stream(beat(seq=2), world.now_s)
        if world.delivered:
            break
    assert world.delivered == [1]


@pytest.mark.parametrize("age_s", [1.0, 4.0])
@pytest.mark.parametrize("accept", [False, True])
def test_a_goal_that_is_older_than_its_task_allows_is_counted_not_delivered(age_s: float, accept: bool) -> None:
    """By the age that the service tells, so that no jump of a clock makes an old goal young."""
    follower = Follower("t", FollowRules(60.0, accept_expired=accept), RULES, now_s=100.0)
    short = Received(msgspec.structs.replace(goal(2, 1).message, stamp_ns=7, valid_until_ns=3_000_000_007), b"rgb")
    messages = [plan(), short, goal(3, 2), end(4)]
    follower.on_snapshot(msgspec.structs.replace(reply(last=4, count=4), age_s=age_s), messages, 100.0)
    delivered = {}
    while isinstance(action := follower.next(100.0), Deliver):
        delivered[action.received.message.step] = action.expires_s  # type: ignore[union-attr]
    late = age_s > 3.0
    assert delivered == ({1: 100.0 - age_s + 3.0, 2: None} if accept or not late else {2: None})
    assert follower.expired == (1 if late and not accept else 0)


def test_a_program_that_has_the_sources_clock_refuses_by_it_too() -> None:
    for now_ns, steps in ((3_000_000_007, [1]), (3_000_000_008, [])):
        follower = Follower("t", FollowRules(60.0), RULES, now_s=100.0, clock_ns=lambda now_ns=now_ns: now_ns)
        short = Received(msgspec.structs.replace(goal(2, 1).message, stamp_ns=7, valid_until_ns=3_000_000_007), b"rgb")
        follower.on_snapshot(reply(last=3, count=3), [plan(), short, end(3)], 100.0)
        delivered = []
        while isinstance(action := follower.next(100.0), Deliver):
            delivered.append(action.received.message.step)  # type: ignore[union-attr]
        assert delivered == steps


def test_a_restarted_service_ends_the_task_once() -> None:
    world = World(SEQUENCE[:2])
    world.act()
    world.act()
    assert world.delivered == [1]
    world.follower.on_stream(beat(active="", session="b"), world.now_s)
    assert isinstance(world.follower.next(world.now_s), Ask)
    world.follower.on_snapshot(reply("unknown", session="b"), [], world.now_s)
    assert isinstance(world.act(), Ended)
    assert world.follower.end is not None and world.follower.end.status == "failed"
    assert "restarted" in world.follower.end.reason and RULES.requests in world.follower.end.reason
    world.follower.on_stream(end(9, session="b"), world.now_s)
    assert isinstance(world.act(), Ended) and [m.seq for m in world.heard] == [1, 2, 0]


@pytest.mark.parametrize("same", [True, False])
def test_a_task_that_is_submitted_again_goes_on_where_it_was_or_says_why_not(same: bool) -> None:
    world = World(SEQUENCE[:2], resubmit=True)
    world.act()
    world.act()
    world.follower.on_stream(beat(active="", session="b"), world.now_s)
    world.follower.next(world.now_s)
    world.follower.on_snapshot(reply("unknown", session="b"), [], world.now_s)
    assert isinstance(world.follower.next(world.now_s), Resubmit)
    world.follower.on_resubmitted("b", world.now_s)
    anew = [
        plan(session="b"),
        goal(2, 1, session="b", pixels="" if same else "f" * 64),
        goal(3, 2, session="b"),
        end(4, session="b"),
    ]
    action = world.follower.next(world.now_s)
    assert isinstance(action, Ask) and action.after_seq == 0
    world.follower.on_snapshot(reply(session="b", last=4, count=4), anew, world.now_s)
    while not isinstance(world.act(), Ended):
        pass
    assert world.follower.end is not None
    if same:
        assert world.delivered == [1, 2] and world.follower.end.status == "verified"
    else:
        assert world.delivered == [1] and "another goal for step 1" in world.follower.end.reason


def test_late_messages_of_a_service_that_is_no_more_are_not_taken() -> None:
    world = World(SEQUENCE[:1])
    world.act()
    world.follower.on_stream(goal(2, 7, session="old"), world.now_s)
    assert isinstance(world.follower.next(world.now_s), Ask)
    assert world.delivered == []


def test_a_task_nobody_knows_is_an_error() -> None:
    for session, why in (("", "it was restarted, or"), ("a", "the task ended long ago")):
        follower = Follower("t", FollowRules(9.0), RULES, now_s=0.0, submitted=mine(session) if session else None)
        with pytest.raises(TransportError, match=f"does not know task t: {why}"):
            follower.on_snapshot(reply("unknown"), [], 0.0)


def test_silence_is_noticed_after_three_seconds_then_looked_into_with_growing_pauses() -> None:
    world = World([])
    world.act()
    tries: list[float] = []
    began_s = world.now_s
    with pytest.raises(TransportError) as error:
        while True:
            action = world.follower.next(world.now_s)
            if isinstance(action, Ask):
                assert action.afresh
                tries.append(world.now_s - began_s)
                world.now_s += action.budget_s
                world.follower.unanswered(world.now_s)
            else:
                assert isinstance(action, Listen)
                world.now_s = max(world.now_s, action.until_s)
                world.follower.quiet(world.now_s)
            if world.links and len(tries) == 0:
                assert world.now_s - began_s == pytest.approx(3.0)
    assert world.links == ["lost"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses == sorted(pauses) and 4 <= len(tries) <= 7
    for words in ("127.0.0.1:1", "budget 3 s", "patience 20 s", "Check that it runs"):
        assert words in str(error.value)


def test_a_service_that_comes_back_is_asked_for_what_was_missed() -> None:
    world = World([])
    world.act()
    world.now_s += 3.5
    world.follower.quiet(world.now_s)
    assert world.links == ["lost"]
    world.messages.extend(SEQUENCE)
    world.follower.on_stream(beat(seq=6), world.now_s)
    assert world.links == ["lost", "live"]
    world.run([])
    assert world.delivered == [1, 2, 4]


def test_no_patience_gives_up_at_the_first_silence() -> None:
    link = Link(LinkRules("s", "r", dead_after_s=2.0, patience_s=0.0), 0.0)
    link.quiet(1.9)
    with pytest.raises(TransportError, match=r"silent for 2.0 s"):
        link.quiet(2.0)
    for wrong in ({"timeout_s": 0}, {"dead_after_s": -1}, {"patience_s": -1}):
        with pytest.raises(ConfigError):
            LinkRules("s", "r", **wrong)  # type: ignore[arg-type]


def test_a_robot_that_was_moving_does_not_call_the_service_lost() -> None:
    world = World([])
    world.act()
    world.now_s += 50.0
    world.follower.begin(world.now_s)
    world.follower.quiet(world.now_s + 1.0)
    assert world.links == []


def test_the_deadline_of_a_stream_names_the_remedy() -> None:
    world = World([], deadline_s=1.0)
    world.act()
    world.now_s += 1.1
    with pytest.raises(TransportError, match=r"did not end within the 1 s .* give more, or cancel"):
        world.act()


def exchange(request: wire.Request, kind: Any, budget_s: float = 5.0) -> Exchange[Any]:
    return Exchange(request, kind, "tcp://127.0.0.1:2", budget_s=budget_s, now_s=0.0)


def test_a_request_is_sent_again_until_its_budget_is_used_up() -> None:
    call = exchange(wire.Ping(request_id="r"), wire.Pong)
    sent, now_s = [], 0.0
    with pytest.raises(TransportError, match=r"no answer to 'ping' .*127.0.0.1:2 within 5 s.*itk-embodied serve"):
        while True:
            if call.due(now_s):
                sent.append(now_s)
            now_s = max(now_s, call.wake_s)
    assert sent == [0.0, 0.5, 1.5, 3.5]
    once = exchange(wire.Cancel(request_id="r"), wire.CancelReply)
    assert once.due(0.0) and not once.due(4.9), "a second cancel of everything could hit a newer task"


def test_answers_are_matched_and_damaged_ones_waited_out() -> None:
    call = exchange(wire.Ping(request_id="r"), wire.Pong)
    mine = encode(wire.Pong(request_id="r", state="ready"))
    assert call.take(encode(wire.Pong(request_id="other", state="ready"))) is None
    assert call.take([mine[0], mine[1][:-2], b""]) is None and call.malformed == 1
    answer = call.take(mine)
    assert answer is not None and answer.reply.state == "ready"
    with pytest.raises(TransportError, match=r"refused 'ping': no"):
        call.take(encode(wire.Refused(request_id="r", error="no")))
    again = exchange(wire.Ping(request_id="r"), wire.Pong)
    unread = encode(wire.Refused(request_id="", error="could not read that"))
    assert again.due(0.0) and again.take(unread) is None
    assert again.due(0.0), "sent again at once: it may have been damaged on the way"
    assert again.take(unread) is None
    with pytest.raises(TransportError, match="could not read that"):
        again.take(unread)


def test_a_snapshot_that_lacks_frames_is_not_an_answer() -> None:
    call = exchange(wire.Snapshot(request_id="r"), wire.SnapshotReply)
    whole = encode(wire.SnapshotReply(request_id="r", task_id="t", place="active", last_seq=1, count=1))
    assert call.take([*whole, b"plan", b"x"]) is None
    assert call.take([*whole, *encode(plan().message)]) is not None


def test_only_tasks_whose_frame_is_here_can_be_submitted_again() -> None:
    with pytest.raises(InputError, match="leave resubmit=True out"):
        SubmittedTasks().get("t")


def test_waiting_for_a_task_skips_those_that_were_followed() -> None:
    waiter = Waiter(RULES, {"old"}, deadline_s=5.0, now_s=0.0)
    assert waiter.request().after_seq == 2**53
    waiter.on_stream(beat(active="old"), 0.0)
    assert not waiter.found
    waiter.on_stream(beat(active="t"), 0.0)
    assert waiter.found == "t"
    with pytest.raises(TransportError, match="no task was started"):
        waiter.until_s(5.1)
