"""What may be written on the task topic: a plain sentence, or JSON with limits of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass

from itk_embodied.errors import InputError, did_you_mean
from itk_embodied.types import Plan, Task

_KEYS = ("task", "plan", "deadline_s", "max_attempts", "seed")


@dataclass(frozen=True)
class TaskRequest:
    """A task with its limits; None means the node's own."""

    task: Task
    deadline_s: float | None = None
    max_attempts: int | None = None


def parse_request(text: str, *, seed: int) -> TaskRequest:
    """Read a task message.

    Raises:
        InputError: empty, malformed JSON, an unknown key, or a value out of range.
    """
    if not text.lstrip().startswith("{"):
        return TaskRequest(Task(text, seed=seed))
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InputError(f"the task looks like JSON but is not ({error}); send a sentence or a JSON object.") from error
    for key in given:
        if key not in _KEYS:
            raise InputError(f"the task has an unknown key {key!r}; {did_you_mean(key, _KEYS)}")
    sentence = given.get("task")
    if not isinstance(sentence, str):
        raise InputError('the task needs a sentence: {"task": "put the red cube in the teal bowl"}.')
    deadline_s = given.get("deadline_s")
    if deadline_s is not None and not (_is_number(deadline_s) and 0 < deadline_s <= 86_400):
        raise InputError(f"deadline_s is {deadline_s!r}; it must be a number of seconds, more than 0, at most 86400.")
    max_attempts = given.get("max_attempts")
    if max_attempts is not None and not (type(max_attempts) is int and 1 <= max_attempts <= 100):
        raise InputError(f"max_attempts is {max_attempts!r}; it must be a whole number from 1 to 100.")
    own_seed = given.get("seed", seed)
    if type(own_seed) is not int or not 0 <= own_seed < 2**31:
        raise InputError(f"seed is {own_seed!r}; it must be a whole number from 0 to 2147483647.")
    task = Task(sentence, seed=own_seed, plan=_plan(given["plan"]) if "plan" in given else None)
    return TaskRequest(task, None if deadline_s is None else float(deadline_s), max_attempts)


def _plan(given: object) -> Plan:
    if not isinstance(given, list) or not all(isinstance(step, str) for step in given):
        example = '["open the drawer", "put the red cube in the drawer"]'
        raise InputError(f"the plan is {given!r}; it must be a list of instructions, such as {example}.")
    return Plan.of(given)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
