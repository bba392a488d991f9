"""lifecycle_msgs, field for field, for backends that have no generated ones."""

from __future__ import annotations

from dataclasses import field

from itk_embodied.ros.messages import Message, _message, _service


@_message("lifecycle_msgs/msg/State")
class State(Message):
    id: int = 0
    label: str = ""


@_message("lifecycle_msgs/msg/Transition")
class Transition(Message):
    id: int = 0
    label: str = ""


@_message("lifecycle_msgs/msg/TransitionDescription")
class TransitionDescription(Message):
    transition: Transition = field(default_factory=Transition)
    start_state: State = field(default_factory=State)
    goal_state: State = field(default_factory=State)


@_message("lifecycle_msgs/msg/TransitionEvent")
class TransitionEvent(Message):
    timestamp: int = 0
    transition: Transition = field(default_factory=Transition)
    start_state: State = field(default_factory=State)
    goal_state: State = field(default_factory=State)


@_service("lifecycle_msgs/srv/ChangeState")
class ChangeState:
    """Service: a transition in, by id or label; whether it was made out."""

    @_message()
    class Request(Message):
        transition: Transition = field(default_factory=Transition)

    @_message()
    class Response(Message):
        success: bool = False


@_service("lifecycle_msgs/srv/GetState")
class GetState:
    """Service: nothing in; the current state out."""

    @_message()
    class Request(Message):
        pass

    @_message()
    class Response(Message):
        current_state: State = field(default_factory=State)


@_service("lifecycle_msgs/srv/GetAvailableStates")
class GetAvailableStates:
    """Service: nothing in; all states out."""

    @_message()
    class Request(Message):
        pass

    @_message()
    class Response(Message):
        available_states: list[State] = field(default_factory=list)


@_service("lifecycle_msgs/srv/GetAvailableTransitions")
class GetAvailableTransitions:
    """Service: nothing in; what can be done now, or the whole graph, out."""

    @_message()
    class Request(Message):
        pass

    @_message()
    class Response(Message):
        available_transitions: list[TransitionDescription] = field(default_factory=list)
