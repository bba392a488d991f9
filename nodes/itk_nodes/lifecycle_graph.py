"""The states of a managed ROS 2 node and the ways between them, number for number as rcl_lifecycle has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """lifecycle_msgs/State. `label` is what ROS tools show."""

    UNKNOWN = 0
    UNCONFIGURED = 1
    INACTIVE = 2
    ACTIVE = 3
    FINALIZED = 4
    CONFIGURING = 10
    CLEANINGUP = 11
    SHUTTINGDOWN = 12
    ACTIVATING = 13
    DEACTIVATING = 14
    ERRORPROCESSING = 15

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Edge:
    """One transition."""

    id: int
    label: str
    start: State
    goal: State


SUCCESS, FAILURE, ERROR = "transition_success", "transition_failure", "transition_error"
_S = State
# label, id, start, state on the way, first id of its outcomes, states after success and failure (an error: see below)
_WAYS = (
    ("configure", ((1, _S.UNCONFIGURED),), _S.CONFIGURING, 10, _S.INACTIVE, _S.UNCONFIGURED),
    ("cleanup", ((2, _S.INACTIVE),), _S.CLEANINGUP, 20, _S.UNCONFIGURED, _S.INACTIVE),
    ("activate", ((3, _S.INACTIVE),), _S.ACTIVATING, 30, _S.ACTIVE, _S.INACTIVE),
    ("deactivate", ((4, _S.ACTIVE),), _S.DEACTIVATING, 40, _S.INACTIVE, _S.ACTIVE),
    (
        "shutdown",
        ((5, _S.UNCONFIGURED), (6, _S.INACTIVE), (7, _S.ACTIVE)),
        _S.SHUTTINGDOWN,
        50,
        _S.FINALIZED,
        _S.FINALIZED,
    ),
)


def _edges() -> tuple[Edge, ...]:
    edges: list[Edge] = []
    for label, starts, middle, outcome, success, failure in _WAYS:
        edges += [Edge(number, label, start, middle) for number, start in starts]
        goals = (success, failure, State.ERRORPROCESSING)
        edges += _outcomes(outcome, middle, goals)
    edges += _outcomes(60, State.ERRORPROCESSING, (State.UNCONFIGURED, State.FINALIZED, State.FINALIZED))
    return tuple(edges)


def _outcomes(first: int, start: State, goals: tuple[State, State, State]) -> list[Edge]:
    labels = (SUCCESS, FAILURE, ERROR)
    return [Edge(first + i, label, start, goal) for i, (label, goal) in enumerate(zip(labels, goals, strict=True))]


EDGES = _edges()


def leaving(state: State) -> tuple[Edge, ...]:
    """What can happen in a state."""
    return tuple(edge for edge in EDGES if edge.start is state)


def edge(state: State, wanted: int | str) -> Edge | None:
    """The transition of an id or label out of a state, where there is one."""
    return next((e for e in leaving(state) if wanted in (e.id, e.label)), None)
