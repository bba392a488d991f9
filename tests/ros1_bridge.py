"""A STAND-IN for ROS 1's rosbridge server, for tests only: ``/usr/bin/python3 ros1_bridge.py PORT``.

No package registry has the real one (rosbridge_suite), so this is not it and proves nothing about it. What is real
are the roscore and the rospy on its other side: types, checksums, latching, queues and what survives a restart are
theirs. It speaks as much of the rosbridge v2 protocol as our backend uses: advertise, unadvertise, publish, subscribe,
unsubscribe, advertise_service, unadvertise_service, service_response and call_service. There is no authentication, no
compression, no fragmentation, no throttling, and types are never inferred.

It behaves as rosbridge_suite 0.11 documents and does, and where that is lenient, it is strict: a stamp must have
``secs`` and ``nsecs`` and nothing else. What it refuses it says on stderr, one line each beginning with ``refused``;
the client is not told, as rosbridge_suite does not tell it either.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import genpy
import roslib.message
import rospy
import websockets

EARLY_S = 1.0
"""A new publisher's messages of this time are kept for subscribers that are still connecting."""
ANSWER_S = 30.0
TIMES = {"time": genpy.Time, "duration": genpy.Duration}
NUMBERS = ("byte", "char", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
PRIMITIVES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "string": (str,),
    "float32": (int, float),
    "float64": (int, float),
    **dict.fromkeys(NUMBERS, (int,)),
}


def class_of(kind: str, load: Callable[[str], Any]) -> Any:
    found = load(kind) if kind.count("/") == 1 else None
    if found is None:
        raise ValueError(f"ROS 1 has no type {kind}")
    return found


def to_json(kind: str, value: Any) -> Any:
    """A field of a rospy message as rosbridge writes it: bytes are base64, NaN and infinity are null."""
    element, bracket, _ = kind.partition("[")
    if bracket and element in ("uint8", "char"):
        return base64.b64encode(bytes(value)).decode()
    if bracket:
        return [to_json(element, one) for one in value]
    if kind in TIMES:
        return {"secs": value.secs, "nsecs": value.nsecs}
    if kind in PRIMITIVES:
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return message_to_json(value)


def message_to_json(message: Any) -> dict[str, Any]:
    kinds = zip(message.__slots__, message._slot_types, strict=True)
    return {name: to_json(kind, getattr(message, name)) for name, kind in kinds}


def to_ros(kind: str, value: Any) -> Any:
    """The opposite of `to_json`. Raises ValueError where the value is no such thing."""
    element, bracket, _ = kind.partition("[")
    if bracket and element in ("uint8", "char"):
        return base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
    if bracket:
        return [to_ros(element, one) for one in value]
    if kind in TIMES:
        if not isinstance(value, dict) or set(value) != {"secs", "nsecs"}:
            raise ValueError(f"a {kind} is secs and nsecs, not {value}")
        return TIMES[kind](value["secs"], value["nsecs"])
    if kind in PRIMITIVES:
        if not isinstance(value, PRIMITIVES[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise ValueError(f"{value!r} is no {kind}")
        return value
    return filled(class_of(kind, roslib.message.get_message_class)(), value)


def filled(message: Any, plain: Any) -> Any:
    """The message with the fields of a JSON object; what is missing keeps its default, what is unknown is refused."""
    kinds = dict(zip(message.__slots__, message._slot_types, strict=True))
    if not isinstance(plain, dict) or set(plain) - set(kinds):
        raise ValueError(f"a {message._type} has the fields {sorted(kinds)}, not {plain!r:.200}")
    for name, value in plain.items():
        setattr(message, name, to_ros(kinds[name], value))
    return message


def check_topic_type(topic: str, kind: str) -> None:
    """Raises ValueError where somebody in the graph has another type on the topic."""
    known = dict(rospy.get_master().getTopicTypes()[2]).get(topic, kind)
    if known not in (kind, "*"):
        raise ValueError(f"{topic} has the type {known}, not {kind}")


class Out(rospy.SubscribeListener):
    """One advertised topic."""

    def __init__(self, topic: str, kind: str, latch: bool, queue_size: int) -> None:
        self.type = class_of(kind, roslib.message.get_message_class)
        check_topic_type(topic, kind)
        self._made_s = time.monotonic()
        self._early: list[Any] = []
        self._publisher = rospy.Publisher(
            topic, self.type, subscriber_listener=self, latch=latch, queue_size=queue_size or None
        )

    def publish(self, plain: Any) -> None:
        message = filled(self.type(), plain)
        if time.monotonic() - self._made_s < EARLY_S:
            self._early.append(message)
        self._publisher.publish(message)

    def peer_subscribe(self, topic_name: str, topic_publish: Any, peer_publish: Callable[[Any], None]) -> None:
        if time.monotonic() - self._made_s < EARLY_S:
            for message in list(self._early):
                peer_publish(message)

    def close(self) -> None:
        self._publisher.unregister()


class Offered:
    """One service that the client offers to ROS."""

    _numbers = itertools.count()

    def __init__(self, name: str, kind: str, send: Callable[[dict[str, Any]], None]) -> None:
        self._name, self._send = name, send
        self._type = class_of(kind, roslib.message.get_service_class)
        self._open: dict[str, Future[Any]] = {}
        self._service = rospy.Service(name, self._type, self._ask)

    def _ask(self, request: Any) -> Any:
        """In a thread of rospy's."""
        identity = f"service_request:{self._name}:{next(self._numbers)}"
        answer = self._open[identity] = Future()
        args = message_to_json(request)
        self._send({"op": "call_service", "id": identity, "service": self._name, "args": args})
        return answer.result(ANSWER_S)

    def answer(self, identity: str, values: Any) -> None:
        self._open.pop(identity).set_result(filled(self._type._response_class(), values))

    def close(self) -> None:
        self._service.shutdown()
        for waiting in self._open.values():
            waiting.cancel()


class Client:
    """One WebSocket and what it has advertised and subscribed to."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._loop = socket, asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._out: dict[str, Out] = {}
        self._in: dict[str, rospy.Subscriber] = {}
        self._services: dict[str, Offered] = {}

    async def serve(self) -> None:
        sender = asyncio.create_task(self._send_waiting())
        try:
            async for text in self._socket:
                self._do(json.loads(text))
        except websockets.ConnectionClosed:
            pass
        finally:
            sender.cancel()
            for entity in (*self._out.values(), *self._services.values()):
                entity.close()
            for subscriber in self._in.values():
                subscriber.unregister()

    def _do(self, said: dict[str, Any]) -> None:
        try:
            getattr(self, f"_on_{said['op']}")(said)
        except Exception as error:
            named = said.get("topic") or said.get("service")
            print(f"refused {said.get('op')} {named}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def _on_advertise(self, said: dict[str, Any]) -> None:
        if said["topic"] not in self._out:
            queue_size = said.get("queue_size", 100)
            self._out[said["topic"]] = Out(said["topic"], said["type"], said.get("latch", False), queue_size)

    def _on_unadvertise(self, said: dict[str, Any]) -> None:
        self._out.pop(said["topic"]).close()

    def _on_publish(self, said: dict[str, Any]) -> None:
        self._out[said["topic"]].publish(said["msg"])

    def _on_subscribe(self, said: dict[str, Any]) -> None:
        topic, limit = said["topic"], said.get("queue_length", 0)
        kind = class_of(said["type"], roslib.message.get_message_class)
        check_topic_type(topic, said["type"])

        def heard(message: Any) -> None:
            self._put({"op": "publish", "topic": topic, "msg": message_to_json(message)}, topic, limit)

        self._in[topic] = rospy.Subscriber(topic, kind, heard)

    def _on_unsubscribe(self, said: dict[str, Any]) -> None:
        self._in.pop(said["topic"]).unregister()

    def _on_advertise_service(self, said: dict[str, Any]) -> None:
        self._services[said["service"]] = Offered(said["service"], said["type"], self._put)

    def _on_unadvertise_service(self, said: dict[str, Any]) -> None:
        self._services.pop(said["service"]).close()

    def _on_service_response(self, said: dict[str, Any]) -> None:
        self._services[said["service"]].answer(said["id"], said["values"])

    def _on_call_service(self, said: dict[str, Any]) -> None:
        threading.Thread(target=self._call, args=(said,), daemon=True).start()

    def _call(self, said: dict[str, Any]) -> None:
        answer = {"op": "service_response", "id": said.get("id"), "service": said["service"]}
        try:
            kind = class_of(said["type"], roslib.message.get_service_class)
            request = filled(kind._request_class(), said.get("args") or {})
            values = message_to_json(rospy.ServiceProxy(said["service"], kind)(request))
            self._put({**answer, "values": values, "result": True})
        except Exception as error:
            self._put({**answer, "values": str(error), "result": False})

    def _put(self, what: dict[str, Any], topic: str = "", limit: int = 0) -> None:
        """From any thread. With a limit, the oldest of a topic give way."""
        self._loop.call_soon_threadsafe(self._keep, what, topic, limit)

    def _keep(self, what: dict[str, Any], topic: str, limit: int) -> None:
        same = [one for one in self._waiting if limit and one[0] == topic]
        if len(same) >= max(limit, 1):
            self._waiting.remove(same[0])
        self._waiting.append((topic, what))
        self._ready.set()

    async def _send_waiting(self) -> None:
        while await self._ready.wait():
            self._ready.clear()
            while self._waiting:
                await self._socket.send(json.dumps(self._waiting.popleft()[1]))


async def main(port: int) -> None:
    async def serve(socket: Any) -> None:
        await Client(socket).serve()

    async with websockets.serve(serve, "127.0.0.1", port, max_size=None, compression=None):
        await asyncio.Future()


if __name__ == "__main__":
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    rospy.init_node("rosbridge_websocket", disable_signals=True)
    asyncio.run(main(int(sys.argv[1])))
