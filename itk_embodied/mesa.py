"""Triton and Mesa's software renderer each bring an LLVM: loading Triton after a picture was rendered is a crash.

Whatever renders and runs models in one process calls `load_triton_first` before it renders.
"""

from __future__ import annotations

import contextlib


def load_triton_first() -> None:
    """Load Triton now, where it is installed (xgrammar brings it along); nothing happens elsewhere."""
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
