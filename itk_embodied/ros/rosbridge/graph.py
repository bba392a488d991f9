"""Topics and services of one process over a rosbridge: the in-process graph, with the bridge in the middle.

Every message takes the way through the bridge, also between two nodes of this process. What the bridge forgets when it
is restarted is told again: advertised topics, subscriptions, services, and what transient local publishers keep.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from typing import Any

import msgspec

from itk_embodied.errors import TransportError, WireError
from itk_embodied.ros.inproc.entities import Client, Future, Publisher, Service, Subscription
from itk_embodied.ros.inproc.graph import Graph, bounded
from itk_embodied.ros.inproc.qos import QoSProfile, ReliabilityPolicy
from itk_embodied.ros.rosbridge import operations
from itk_embodied.ros.rosbridge.link import MAX_BACKLOG, Link
from itk_embodied.ros.rosbridge.operations import Incoming, is_latched
from itk_embodied.ros.rosbridge.options import BridgeOptions
from itk_embodied.ros.rosbridge.wire import from_plain, missing_package, to_plain, type_name

log = logging.getLogger("ros.rosbridge")

_SETTLE_S = 0.5
"""After a restart of the bridge, its new publishers need so long to find their subscribers."""
_WARN_EVERY_S = 5.0


class BridgeGraph(Graph):
    """What one context's nodes share.

    Raises:
        TransportError: no bridge answers.
        MissingDependencyError: roslibpy is not installed.
    """

    def __init__(self, options: BridgeOptions) -> None:
        super().__init__()
        self._version = options.ros_version
        self._up = False
        self._waiting: dict[Publisher, deque[bytes]] = {}
        self._profiles: dict[str, QoSProfile] = {}
        self._seen: dict[str, deque[msgspec.Raw]] = {}
        self._calls: dict[str, tuple[Client, Future]] = {}
        self._numbers = itertools.count()
        self._dropped_s = 0.0
        self._missing: set[str] = set()
        self._link = Link(options, self._restore, self._lost, self._receive)
        self._link.open()

    def close(self) -> None:
        self._link.close()

    @property
    def connected(self) -> bool:
        """Whether the bridge is there now."""
        return self._up

    # Out

    def add_publisher(self, publisher: Publisher) -> None:
        with self.changed:
            first = not self._publishers[publisher.topic_name]
            super().add_publisher(publisher)
            self._waiting[publisher] = bounded(publisher.qos_profile)
            if first:
                self._advertise(publisher)

    def _advertise(self, publisher: Publisher) -> None:
        topic = publisher.topic_name
        if self._exists(publisher):
            self._send(operations.advertise(f"advertise:{topic}", topic, self._kind(publisher), publisher.qos_profile))

    def publish(self, publisher: Publisher, message: Any) -> None:
        if not self._exists(publisher):
            return
        profile = publisher.qos_profile
        frame = operations.publish(publisher.topic_name, to_plain(message, self._version), profile)
        with self.changed:
            if is_latched(profile):
                publisher.kept.append(frame)
                self._send(frame)
            elif not self._up:
                if profile.reliability != ReliabilityPolicy.BEST_EFFORT:
                    self._waiting[publisher].append(frame)
            elif self._link.backlog() > MAX_BACKLOG:
                self._say_dropped(publisher.topic_name)
            else:
                self._send(frame)

    def _say_dropped(self, topic: str) -> None:
        now_s = time.monotonic()
        if now_s - self._dropped_s > _WARN_EVERY_S:
            self._dropped_s = now_s
            log.warning("the rosbridge is too slow for %s: messages are dropped; publish fewer, or as JPEG", topic)

    # In

    def add_subscription(self, subscription: Subscription) -> None:
        """One subscription at the bridge serves all local ones of a topic, with the first one's quality of service."""
        topic, profile = subscription.topic_name, subscription.qos_profile
        with self.changed:
            self._subscriptions[topic].append(subscription)
            for publisher in self._publishers[topic]:
                self._matches(publisher, subscription)  # warns where they never will
            known = self._profiles.get(topic)
            if known is None:
                self._subscribe(topic, profile)
            elif is_latched(profile) and not is_latched(known):
                self._send(operations.unsubscribe(f"subscribe:{topic}", topic))
                self._subscribe(topic, profile)
            elif is_latched(profile):
                subscription.queue.extend(self._seen[topic])
            self.changed.notify_all()

    def _subscribe(self, topic: str, profile: QoSProfile) -> None:
        self._profiles[topic] = profile
        if is_latched(profile):
            self._seen[topic] = bounded(profile)
        first = self._subscriptions[topic][0]
        if self._exists(first):
            self._send(operations.subscribe(f"subscribe:{topic}", topic, self._kind(first), profile))

    def deliver(self, subscription: Subscription, item: Any) -> None:
        """In the executor. Only now is the message decoded: what a short queue dropped has cost nothing."""
        try:
            message = from_plain(subscription.msg_type, msgspec.json.decode(item), self._version)
        except (WireError, msgspec.DecodeError) as error:
            self._warn(subscription.topic_name, str(error))
            return
        subscription.callback(message)

    # Services

    def add_service(self, service: Service) -> None:
        with self.changed:
            super().add_service(service)
            self._offer(service)

    def _offer(self, service: Service) -> None:
        if self._exists(service):
            self._send(operations.advertise_service(service.srv_name, self._kind(service)))

    def call(self, client: Client, request: Any, future: Future) -> None:
        if not self._exists(client):
            client.deliver(future, TransportError(f"ROS 1 has no type {client.srv_type.TYPE}: nobody can be called"))
            return
        identity = f"call:{client.srv_name}:{next(self._numbers)}"
        plain = to_plain(request, self._version)
        with self.changed:
            if self._send(operations.call_service(identity, client.srv_name, self._kind(client), plain)):
                self._calls[identity] = (client, future)

    def _on_call(self, call: Incoming) -> None:
        service = next(iter(self._services[call.service]), None)
        if service is None:
            return
        plain = msgspec.json.decode(call.args) or {}
        request = from_plain(service.srv_type.Request, plain, self._version)
        service.queue.append((request, _Caller(self, call.id, call.service), Future()))
        self.changed.notify_all()

    def _on_answer(self, answer: Incoming) -> None:
        client, future = self._calls.pop(answer.id or "", (None, None))
        if client is None or future is None:
            return
        plain = msgspec.json.decode(answer.values)
        if answer.result:
            client.deliver(future, from_plain(client.srv_type.Response, plain, self._version))
        else:
            client.deliver(future, TransportError(f"service {client.srv_name} did not answer: {plain}"))

    def respond(self, identity: str | None, service: str, response: Any) -> None:
        with self.changed:
            self._send(operations.service_response(identity, service, to_plain(response, self._version)))

    # The link

    def remove(self, entity: Any) -> None:
        with self.changed:
            super().remove(entity)
            gone = b""
            if isinstance(entity, Publisher):
                self._waiting.pop(entity, None)
                if not self._publishers[entity.topic_name]:
                    gone = operations.unadvertise(f"advertise:{entity.topic_name}", entity.topic_name)
            elif isinstance(entity, Subscription) and not self._subscriptions[entity.topic_name]:
                self._profiles.pop(entity.topic_name, None)
                self._seen.pop(entity.topic_name, None)
                gone = operations.unsubscribe(f"subscribe:{entity.topic_name}", entity.topic_name)
            elif isinstance(entity, Service) and not self._services[entity.srv_name]:
                gone = operations.unadvertise_service(entity.srv_name)
            if gone and self._exists(entity):
                self._send(gone)

    def _kind(self, entity: Any) -> str:
        return type_name(_type_of(entity), self._version)

    def _exists(self, entity: Any) -> bool:
        """Whether the ROS behind the bridge has the entity's type. What it has not is left out, and said once."""
        package = missing_package(_type_of(entity), self._version)
        if package is not None and package not in self._missing:
            self._missing.add(package)
            log.info("ROS 1 has no %s: the topics and services that need it are not there", package)
        return package is None

    def _send(self, frame: bytes) -> bool:
        return self._up and self._link.send(frame)

    def _restore(self) -> None:
        with self.changed:
            self._up = True
            for publishers in self._publishers.values():
                for publisher in publishers[:1]:
                    self._advertise(publisher)
            for topic, profile in list(self._profiles.items()):
                self._subscribe(topic, profile)
            for services in self._services.values():
                for service in services[:1]:
                    self._offer(service)
            latched = [p for ps in self._publishers.values() for p in ps if is_latched(p.qos_profile)]
            for frame in (frame for publisher in latched for frame in publisher.kept):
                self._send(frame)
        self._link.later(_SETTLE_S, self._send_waiting)

    def _send_waiting(self) -> None:
        with self.changed:
            for waiting in self._waiting.values():
                while waiting and self._send(waiting[0]):
                    waiting.popleft()

    def _lost(self) -> None:
        with self.changed:
            self._up = False
            calls, self._calls = self._calls, {}
        for client, future in calls.values():
            client.deliver(future, TransportError(f"the rosbridge was lost while {client.srv_name} was called"))

    def _receive(self, frame: bytes) -> None:
        incoming = operations.decode(frame)
        with self.changed:
            if incoming.op == "publish":
                if incoming.topic in self._seen:
                    self._seen[incoming.topic].append(incoming.msg)
                for subscription in self._subscriptions[incoming.topic]:
                    subscription.queue.append(incoming.msg)
                self.changed.notify_all()
            elif incoming.op == "call_service":
                self._on_call(incoming)
            elif incoming.op == "service_response":
                self._on_answer(incoming)
            elif incoming.op == "status" and incoming.level in ("error", "warning"):
                log.error("the rosbridge refused something: %s", msgspec.json.decode(incoming.msg))


def _type_of(entity: Any) -> str:
    return str((entity.msg_type if hasattr(entity, "msg_type") else entity.srv_type).TYPE)


class _Caller:
    """Somebody beyond the bridge who called one of our services."""

    def __init__(self, graph: BridgeGraph, identity: str | None, service: str) -> None:
        self._graph, self._identity, self._service = graph, identity, service

    def deliver(self, future: Future, response: Any) -> None:
        self._graph.respond(self._identity, self._service, response)
