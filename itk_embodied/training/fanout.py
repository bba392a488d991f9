"""The same work on many items: in this process, in several, or on Ray Data where one machine is not enough."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from itk_embodied.errors import InputError, MissingDependencyError

Work = Callable[[int], dict[str, Any]]
"""Takes an item's number and returns what is plain data. It is sent to other processes once, before it has loaded
anything heavy, and called there many times."""
RAY_LINE = 'pip install "itk-embodied[ray]"'

_work: Work | None = None


def fan_out(items: Sequence[int], work: Work, *, workers: int = 1, ray: bool = False) -> Iterator[dict[str, Any]]:
    """Results as they are finished, in any order.

    Args:
        workers: processes, or actors on Ray; 1 without Ray works in this process.
        ray: use the Ray cluster of the environment (``RAY_ADDRESS``), or a local one.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be 1 or more.")
    if not items:
        return
    if ray:
        yield from _on_ray(items, work, workers)
    elif workers == 1:
        for item in items:
            yield work(item)
    else:
        yield from _in_processes(items, work, workers)


def _in_processes(items: Sequence[int], work: Work, workers: int) -> Iterator[dict[str, Any]]:
    # MuJoCo's renderer does not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(items)), mp_context=context, initializer=_take, initargs=(work,))
    whole = False
    try:
        for job in as_completed([pool.submit(_do, item) for item in items]):
            yield job.result()
        whole = True
    finally:
        for child in set(multiprocessing.active_children()) - others if not whole else ():
            with contextlib.suppress(ProcessLookupError):
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGINT)  # it tidies up; in a terminal Ctrl-C has told it already
        pool.shutdown(wait=True, cancel_futures=True)


def _take(work: Work) -> None:
    global _work
    _work = work
    # What a shell starts in the background is born deaf to it, and would finish its item first.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _do(item: int) -> dict[str, Any]:
    """The items that a stopped process has been given in advance are left alone."""
    global _work
    if _work is None:
        raise KeyboardInterrupt
    try:
        return _work(item)
    except KeyboardInterrupt:
        _work = None
        raise


class _Actor:
    """One of Ray Data's actors: holds the work, and whatever that loads."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": self.work(int(row["item"]))}


def _on_ray(items: Sequence[int], work: Work, workers: int) -> Iterator[dict[str, Any]]:
    with ray_session(workers) as ray:
        ray.data.DataContext.get_current().enable_progress_bars = False
        data = ray.data.from_items([{"item": item} for item in items], override_num_blocks=len(items))
        actor: Any = _Actor
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(items)))
        done = data.map(actor, fn_constructor_args=(work,), compute=pool, num_cpus=1)
        for row in done.iter_rows():
            yield row["result"]


@contextlib.contextmanager
def ray_session(workers: int) -> Iterator[Any]:
    """Ray, for several stages one after another: the session that is open, or a new one that is closed at the end.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed; --ray needs: {RAY_LINE}") from error
    if ray.is_initialized():
        yield ray
        return
    # The actors must find what this process can import.
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
    local: dict[str, Any] = {"num_cpus": workers + 1, "include_dashboard": False}
    local["_system_config"] = {"worker_niceness": 0}  # on one machine this is the job, nothing to run beside another
    chosen = {} if os.environ.get("RAY_ADDRESS") else local
    ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, **chosen)
    try:
        yield ray
    finally:
        ray.shutdown()
