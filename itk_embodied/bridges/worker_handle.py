"""One worker process and the socket pair to it: started afresh, ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

from itk_embodied.bridges.worker_link import FROM_WORKER, Exit, Link


class Handle:
    """Starts the process; raises OSError where the system refuses."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "itk_embodied.bridges.worker_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal reaches the service, which ends the worker in order
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self.link = Link(ours, FROM_WORKER)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self, patience_s: float) -> int:
        """Tell it to exit, wait up to ``patience_s``, then kill it and all its own; returns its exit code."""
        if patience_s > 0:
            self.link.queue(Exit())
            self.link.flush()
        self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if patience_s > 0:
                self._process.wait(patience_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


def death(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or somebody ended it)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _environment() -> dict[str, str]:
    """Ours, with the places our own modules come from, so that the worker finds the same ones."""
    places = [place or os.getcwd() for place in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}
