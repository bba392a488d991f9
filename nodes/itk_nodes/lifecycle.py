"""A managed node's state machine and its standard interface, on any backend.

Services ``~/change_state``, ``~/get_state``, ``~/get_available_states``, ``~/get_available_transitions`` and
``~/get_transition_graph``, and the topic ``~/transition_event``, all of lifecycle_msgs: what ``ros2 lifecycle``,
lifecycle managers and `rclpy.lifecycle` nodes speak. It is our own so that it is the same on backends without rclpy,
and so that configuring may go on in the background while the node keeps answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from itk_embodied import ros
from itk_embodied.errors import ItkError
from itk_nodes.lifecycle_graph import EDGES, ERROR, FAILURE, SUCCESS, Edge, State, edge, leaving

Progress: TypeAlias = Callable[[], bool | None]
"""Asked again and again: None while it goes on, then whether it succeeded."""
Hook: TypeAlias = Callable[[], bool | Progress]
"""Does a transition's work: whether it succeeded, or a `Progress`. It may raise."""

_WAIT_S = 0.02


class Lifecycle:
    """The machine of one node.

    Args:
        hooks: by label: configure, activate, deactivate, cleanup, shutdown, and ``error`` (after one that raised).
        on_wait: called while a caller of ``~/change_state`` is kept waiting for a long transition: ROS answers when it
            is over, and nothing else of the node runs meanwhile.
        on_event: given every TransitionEvent that is published.
    """

    def __init__(
        self,
        node: Any,
        hooks: Mapping[str, Hook],
        *,
        on_wait: Callable[[], None] = lambda: None,
        on_event: Callable[[Any], None] = lambda event: None,
    ) -> None:
        self.state = State.UNCONFIGURED
        self.error: BaseException | None = None
        self._node = node
        self._hooks = hooks
        self._on_wait, self._on_event = on_wait, on_event
        self._progress: Progress | None = None
        self._types = {name: ros.message_type(f"lifecycle_msgs/msg/{name}") for name in _MESSAGES}
        self._events = node.create_publisher(self._types["TransitionEvent"], "~/transition_event", 10)
        for name, kind, answer in (
            ("change_state", "ChangeState", self._on_change),
            ("get_state", "GetState", self._on_get_state),
            ("get_available_states", "GetAvailableStates", self._on_get_states),
            ("get_available_transitions", "GetAvailableTransitions", self._on_get_transitions),
            ("get_transition_graph", "GetAvailableTransitions", self._on_get_graph),
        ):
            node.create_service(ros.message_type(f"lifecycle_msgs/srv/{kind}"), f"~/{name}", answer)

    @property
    def active(self) -> bool:
        return self.state is State.ACTIVE

    def begin(self, wanted: int | str) -> bool | None:
        """Start a transition: whether it succeeded, or None where it goes on (`poll` it). False too where the state
        has no such transition. What a hook raised is in ``error``."""
        way = edge(self.state, wanted)
        if way is None or way.goal.value < State.CONFIGURING:
            return False
        self.error = None
        self._enter(way)
        try:
            hook = self._hooks.get(way.label)
            result = hook() if hook else True
        except Exception as error:
            return self._broke(error)
        if callable(result):
            self._progress = result
            return self.poll()
        return self._finish(SUCCESS if result else FAILURE)

    def poll(self) -> bool | None:
        """Go on with a transition that takes long; None while it does, and where there is none."""
        if self._progress is None:
            return None
        try:
            done = self._progress()
        except Exception as error:
            return self._broke(error)
        return None if done is None else self._finish(SUCCESS if done else FAILURE)

    def change(self, wanted: int | str) -> bool:
        """A whole transition, waiting for its end."""
        result = self.begin(wanted)
        while result is None:
            time.sleep(_WAIT_S)
            self._on_wait()
            result = self.poll()
        return result

    def _finish(self, outcome: str) -> bool:
        self._progress = None
        way = edge(self.state, outcome)
        assert way is not None
        self._enter(way)
        return outcome == SUCCESS

    def _broke(self, error: BaseException) -> bool:
        self.error = error
        said = str(error) if isinstance(error, ItkError) else f"{type(error).__name__}: {error}"
        self._node.get_logger().error(f"{self.state.label} failed: {' '.join(said.split())}")
        self._finish(ERROR)
        try:
            hook = self._hooks.get("error")
            healed = hook() if hook else True
        except Exception as second:
            self._node.get_logger().error(f"error processing failed: {second}")
            healed = False
        self._finish(SUCCESS if healed else FAILURE)
        return False

    def _enter(self, way: Edge) -> None:
        self.state = way.goal
        event = self._types["TransitionEvent"](
            timestamp=self._node.get_clock().now().nanoseconds,
            transition=self._transition(way),
            start_state=self._state(way.start),
            goal_state=self._state(way.goal),
        )
        self._events.publish(event)
        self._on_event(event)
        self._node.get_logger().info(f"lifecycle: {way.start.label} -> {way.goal.label}")

    def _on_change(self, request: Any, response: Any) -> Any:
        wanted: int | str = request.transition.label or request.transition.id
        response.success = self.change(wanted)
        return response

    def _on_get_state(self, request: Any, response: Any) -> Any:
        response.current_state = self._state(self.state)
        return response

    def _on_get_states(self, request: Any, response: Any) -> Any:
        response.available_states = [self._state(state) for state in State]
        return response

    def _on_get_transitions(self, request: Any, response: Any) -> Any:
        response.available_transitions = [self._description(way) for way in leaving(self.state)]
        return response

    def _on_get_graph(self, request: Any, response: Any) -> Any:
        response.available_transitions = [self._description(way) for way in EDGES]
        return response

    def _state(self, state: State) -> Any:
        return self._types["State"](id=state.value, label=state.label)

    def _transition(self, way: Edge) -> Any:
        return self._types["Transition"](id=way.id, label=way.label)

    def _description(self, way: Edge) -> Any:
        return self._types["TransitionDescription"](
            transition=self._transition(way), start_state=self._state(way.start), goal_state=self._state(way.goal)
        )


_MESSAGES = ("State", "Transition", "TransitionDescription", "TransitionEvent")
