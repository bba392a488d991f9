"""What a trainer's steps learn from, made ahead by other processes where a GPU would else wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

Made = TypeVar("Made")


class _Steps(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Any:
        return self.make(step)


def feed(make: Callable[[int], Made], steps: Iterable[int], workers: int = 0) -> Iterator[Made]:
    """``make(step)`` for every one of ``steps``, in order.

    Args:
        make: may hang on nothing but the step, so that a resumed run is fed the same.
        workers: processes that make some steps ahead; 0 makes each here, when its turn comes. They are forked: what
            ``make`` reaches is as it was at the start.
    """
    if not workers:
        yield from map(make, steps)
        return
    loader: DataLoader[Any] = DataLoader(
        _Steps(make),
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        prefetch_factor=4,
        multiprocessing_context="fork",
        worker_init_fn=_one_thread,
    )
    yield from loader


def _unchanged(made: Made) -> Made:
    return made


def _one_thread(worker: int) -> None:
    import torch

    torch.set_num_threads(1)
