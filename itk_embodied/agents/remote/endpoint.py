"""One HTTP endpoint: requests that can be cancelled, retried within their deadline, and never log the key."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.settings import EndpointSettings
from itk_embodied.errors import ConfigError, TransportError

_POLL_S = 0.05
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes
    retry_after_s: float | None


class _DroppedError(Exception):
    """The connection broke after it stood; worth another try."""


class _TooLargeError(Exception):
    """The body is larger than allowed."""


class Endpoint:
    """Posts to one server. Safe to use from several threads; every call has its own connection.

    Raises:
        ConfigError: the environment variable that should hold the key is not set, or ``base_url`` has no host.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        try:
            url = httpx.URL(settings.base_url.rstrip("/"))
        except httpx.InvalidURL as error:
            raise ConfigError(f"base_url {settings.base_url!r} is not a URL: {error}") from error
        if not url.host:
            raise ConfigError(f"base_url {settings.base_url!r} has no host; write it as http://host:port/v1.")
        self._url, self._settings = url, settings
        self._key = _read_key(settings.api_key_env)
        # Reading the certificates takes long, so once; and not at all for plain HTTP, where they play no part.
        self._tls: Any = httpx.create_ssl_context() if url.scheme == "https" else False
        self.address = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"

    def post(
        self,
        path: str,
        context: CallContext,
        *,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
    ) -> Any:
        """Post JSON (``body``) or a form, and return the JSON of the reply.

        Raises:
            TransportError: no connection, no answer in time, a refusal, or a reply that is no JSON.
            CancelledError, BudgetExceededError: within a moment of the context saying so.
        """
        content: dict[str, Any] = {"json": body} if body is not None else {"data": form, "files": files}
        for attempt in range(self._settings.max_retries + 1):
            context.check()
            problem: str
            pause_s = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
            try:
                reply = self._exchange(path, content, context)
            except _DroppedError as error:
                problem = f"dropped the connection ({error})"
            else:
                if reply.status < 300:
                    return self._json(reply.body)
                problem = f"answered {reply.status}{self._excerpt(reply.body)}"
                if reply.status not in _TRY_AGAIN:
                    raise TransportError(f"{self.address} {problem}. {_remedy(reply.status)}")
                if reply.retry_after_s is not None:
                    pause_s = min(reply.retry_after_s, _LONGEST_PAUSE_S)
            if attempt < self._settings.max_retries:
                self._pause(pause_s, context, problem)
        raise TransportError(
            f"{self.address} {problem}, {self._settings.max_retries + 1} times. "
            "Look at the server's log, or raise max_retries in the stack."
        )

    def _pause(self, pause_s: float, context: CallContext, problem: str) -> None:
        ends_s = time.monotonic() + pause_s
        if context.deadline_s is not None and ends_s > context.deadline_s:
            raise TransportError(f"{self.address} {problem}, and the call's budget leaves no time to try again.")
        while (left_s := ends_s - time.monotonic()) > 0:
            context.cancel.wait(min(left_s, _POLL_S))
            context.check()

    def _exchange(self, path: str, content: dict[str, Any], context: CallContext) -> _Reply:
        """One request on a thread of its own, so that a cancel is seen while the server thinks."""
        budget_s = self._settings.timeout_s
        if context.deadline_s is not None:
            budget_s = min(budget_s, max(0.001, context.deadline_s - time.monotonic()))
        job = _Job(lambda: self._request(path, content, budget_s))
        try:
            while not job.done.wait(_POLL_S):
                context.check()
        except BaseException:
            job.stop()
            raise
        error = job.error
        if error is None:
            assert job.reply is not None
            context.check()
            return job.reply
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            context.check()  # where the call's own deadline was the nearer one, that is what to say
            raise TransportError(
                f"{self.address} did not answer within {budget_s:g} s. Raise timeout_s in the stack, "
                "or look whether the server is overloaded."
            ) from error
        if isinstance(error, httpx.ConnectError):
            raise TransportError(
                f"cannot connect to {self.address} ({error}; budget {budget_s:g} s). "
                "Start the server there, or correct base_url in the stack."
            ) from error
        if isinstance(error, _TooLargeError):
            limit = f"{self._settings.max_response_mb:g} MB"
            raise TransportError(f"{self.address} sent more than {limit}; raise max_response_mb if that is right.")
        if isinstance(error, httpx.TransportError):
            raise _DroppedError(f"{type(error).__name__}") from error
        raise error

    async def _request(self, path: str, content: dict[str, Any], budget_s: float) -> _Reply:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limit = self._settings.max_response_mb * 1e6
        # A proxy for the machine itself makes no sense, but environments that set one for everything exist.
        trust_env = not _is_loopback(self._url.host)
        async with (
            asyncio.timeout(budget_s),
            httpx.AsyncClient(headers=headers, timeout=budget_s, trust_env=trust_env, verify=self._tls) as client,
            client.stream("POST", f"{self._url}{path}", **content) as response,
        ):
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise _TooLargeError
            return _Reply(response.status_code, bytes(body), _seconds(response.headers.get("retry-after")))

    def _json(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TransportError(
                f"{self.address} sent a reply that is not JSON{self._excerpt(body)}. Does base_url end in /v1?"
            ) from error

    def _excerpt(self, body: bytes) -> str:
        text = " ".join(body.decode("utf-8", "replace").split())
        if self._key:
            text = text.replace(self._key, "***")
        return f": {text[:200]}" if text else ""


class _Job:
    """A coroutine on an event loop and thread of its own."""

    def __init__(self, request: Any) -> None:
        self.reply: _Reply | None = None
        self.error: Exception | None = None
        self.done = threading.Event()
        self._request = request
        self._stopping = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[_Reply] | None = None
        threading.Thread(target=self._run, name="itk-endpoint", daemon=True).start()

    def stop(self) -> None:
        """Abort the request; its connection closes soon after."""
        self._stopping.set()
        if not self.done.is_set():
            try:
                self._loop.call_soon_threadsafe(self._cancel)
            except RuntimeError:  # the loop closed in between: the request is over
                return

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        async def main() -> _Reply:
            self._task = asyncio.current_task()  # type: ignore[assignment]
            if self._stopping.is_set():
                raise asyncio.CancelledError
            return await self._request()

        try:
            self.reply = self._loop.run_until_complete(main())
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.error = error
        finally:
            self._loop.close()
            self.done.set()


def _read_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"the environment variable {variable} is not set; put the endpoint's API key there.")
    return key


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Check api_key_env in the stack and the key's rights."
    if status == 404:
        return "Check base_url (it should end in /v1) and model in the stack."
    if status == 413:
        return "The pictures are too large for this server; set image_px in the stack."
    return "Check the stack's settings against what the server supports."


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:  # a date; the usual pause will do
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
