"""One worker process and the socket pair to it: started afresh, ended with all that it started."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque

from itk_embodied.bridges.worker_link import FROM_WORKER, Exit, Link

log = logging.getLogger("itk_embodied.worker")

_OUTPUT_S = 1.0


class Handle:
    """Starts the process; raises OSError where the system refuses."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, "-m", "itk_embodied.bridges.worker_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
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
        self._words: deque[str] = deque(maxlen=20)
        self._listener = threading.Thread(target=self._listen, name="worker-output", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """What it prints (libraries' progress bars, a crash's last words) goes to our log, not between our lines."""
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                if line.strip():
                    self._words.append(line.strip())
                    log.info("%s", line.rstrip())

    @property
    def last_words(self) -> str:
        """The last line it printed."""
        return self._words[-1][:500] if self._words else ""

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
        code = self._process.wait()
        self._listener.join(_OUTPUT_S)
        return code


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
