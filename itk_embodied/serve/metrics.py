"""What the service has done, for Prometheus: ``/metrics``; and ``/healthz`` for whoever restarts it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from itk_embodied.bridges.sockets import check_address
from itk_embodied.bridges.tally import BUCKETS_S, Timings
from itk_embodied.errors import MissingDependencyError, TransportError
from itk_embodied.serve.config import split_place
from itk_embodied.service import SubgoalService

STATES = ("loading", "warming", "ready", "broken", "stopping")
_PREFIX = "itk_embodied_"


def _library() -> Any:
    try:
        import prometheus_client.core
        import prometheus_client.registry
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'metrics need prometheus-client, which is not installed: pip install "itk-embodied[serve]"'
        ) from error
    return prometheus_client


class Collector:
    """Reads a service's tally whenever somebody asks; keeps nothing itself."""

    def __init__(self, service: SubgoalService) -> None:
        self._service = service
        self._core = _library().core

    def collect(self) -> Iterable[Any]:
        tally = self._service.tally
        yield self._by("tasks", "Tasks that ended, by terminal status.", "status", tally.tasks)
        yield self._by("subgoals", "Subgoals, by status.", "status", tally.subgoals)
        yield self._count("tasks_submitted", "Tasks taken in.", tally.submitted)
        yield self._count("attempts", "Pictures painted and judged, or broken.", tally.attempts)
        yield self._count("requests_refused", "Requests answered with a refusal.", tally.refused)
        yield self._count("replies_dropped", "Replies that their client did not take.", tally.dropped)
        yield self._count("messages_resent", "Messages sent again to clients that had missed them.", tally.resent)
        yield self._count("strangers_refused", "Connections without an allowed key.", tally.strangers)
        yield self._count("worker_restarts", "Worker processes that died or hung and were replaced.", tally.restarts)
        queue = {"active": tally.active, "pending": tally.pending}
        yield self._gauges("queue", "Tasks that run and that wait.", "place", queue)
        state = self._service.state[0]
        yield self._gauges("state", "1 for the state it is in.", "state", {name: int(name == state) for name in STATES})
        yield self._histogram("stage_seconds", "Seconds in each model.", tally.stages)
        first = {"first_subgoal": tally.first}
        yield self._histogram("latency_seconds", "Seconds from submit to the first verified subgoal.", first)

    def _count(self, name: str, text: str, value: int) -> Any:
        return self._core.CounterMetricFamily(_PREFIX + name, text, value=value)

    def _by(self, name: str, text: str, label: str, values: dict[str, int]) -> Any:
        family = self._core.CounterMetricFamily(_PREFIX + name, text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def _gauges(self, name: str, text: str, label: str, values: dict[str, int]) -> Any:
        family = self._core.GaugeMetricFamily(_PREFIX + name, text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def _histogram(self, name: str, text: str, values: dict[str, Timings]) -> Any:
        family = self._core.HistogramMetricFamily(_PREFIX + name, text, labels=["stage"])
        for key, timings in values.items():
            limits = [(str(limit), float(count)) for limit, count in zip(BUCKETS_S, timings.buckets, strict=True)]
            family.add_metric([key], [*limits, ("+Inf", float(timings.count))], sum_value=timings.sum_s)
        return family


class MetricsServer:
    """Serves them over HTTP on a loopback address, in a thread of its own.

    Raises:
        ConfigError: an address that other machines could reach: HTTP has no keys.
        TransportError: the port is taken.
    """

    def __init__(self, service: SubgoalService, bind: str) -> None:
        host, port = split_place(bind, default_port=9464)
        check_address(f"tcp://{host}:{port}")
        library = _library()
        registry = library.registry.CollectorRegistry()
        registry.register(Collector(service))

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path.partition("?")[0] == "/metrics":
                    self._answer(200, library.generate_latest(registry), library.CONTENT_TYPE_LATEST)
                elif self.path == "/healthz":
                    state, detail = service.state
                    body = json.dumps({"state": state, "detail": detail}).encode()
                    self._answer(200 if state == "ready" else 503, body, "application/json")
                else:
                    self._answer(404, b"/metrics or /healthz\n", "text/plain")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *words: Any) -> None:
                return

        try:
            self._server = ThreadingHTTPServer((host.strip("[]").replace("localhost", "127.0.0.1"), port), Handler)
        except OSError as error:
            raise TransportError(
                f"the metrics cannot be served at {host}:{port}: {error.strerror}. Give another port."
            ) from error
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
