"""Topics and services of one process: who publishes what to whom, by the rules of ROS.

One lock guards the graph; its condition wakes every executor that waits. Callbacks never run under it.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from itk_embodied.ros.inproc.qos import DurabilityPolicy, QoSProfile, incompatibility
from itk_embodied.ros.messages import copied

if TYPE_CHECKING:
    from itk_embodied.ros.inproc.entities import Client, Future, Publisher, Service, Subscription
    from itk_embodied.ros.inproc.node import Node

log = logging.getLogger("ros.inproc")


class Graph:
    """What one context's nodes share."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.nodes: list[Node] = []
        self._publishers: dict[str, list[Publisher]] = defaultdict(list)
        self._subscriptions: dict[str, list[Subscription]] = defaultdict(list)
        self._services: dict[str, list[Service]] = defaultdict(list)
        self._clients: dict[str, list[Client]] = defaultdict(list)
        self._warned: set[tuple[str, str]] = set()

    def close(self) -> None:
        """The context was shut down."""

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def add_publisher(self, publisher: Publisher) -> None:
        with self.changed:
            self._publishers[publisher.topic_name].append(publisher)
            for subscription in self._subscriptions[publisher.topic_name]:
                self._matches(publisher, subscription)  # warns where they never will
            self.changed.notify_all()

    def add_subscription(self, subscription: Subscription) -> None:
        """A transient local subscription is given at once what transient local publishers keep."""
        with self.changed:
            self._subscriptions[subscription.topic_name].append(subscription)
            latched = subscription.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
            for publisher in self._publishers[subscription.topic_name]:
                if self._matches(publisher, subscription) and latched:
                    for message in publisher.kept:
                        subscription.queue.append(copied(message))
            self.changed.notify_all()

    def publish(self, publisher: Publisher, message: Any) -> None:
        with self.changed:
            if publisher.kept is not None and publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                publisher.kept.append(copied(message))
            for subscription in self._subscriptions[publisher.topic_name]:
                if self._matches(publisher, subscription):
                    subscription.queue.append(copied(message))
            self.changed.notify_all()

    def deliver(self, subscription: Subscription, item: Any) -> None:
        """Call back with what was taken off a subscription's queue."""
        subscription.callback(item)

    def _matches(self, publisher: Publisher, subscription: Subscription) -> bool:
        topic = publisher.topic_name
        if publisher.msg_type is not subscription.msg_type:
            names = f"{publisher.msg_type.TYPE} is published, {subscription.msg_type.TYPE} is subscribed to"
            self._warn(topic, f"the message types differ: {names}")
            return False
        problem = incompatibility(publisher.qos_profile, subscription.qos_profile)
        if problem:
            self._warn(topic, f"the QoS is incompatible: {problem}")
            return False
        return True

    def _warn(self, topic: str, problem: str) -> None:
        if (topic, problem) not in self._warned:
            self._warned.add((topic, problem))
            log.warning("topic %s: no messages will pass, because %s", topic, problem)

    def subscription_count(self, publisher: Publisher) -> int:
        with self.changed:
            return sum(self._matches(publisher, s) for s in self._subscriptions[publisher.topic_name])

    def publisher_count(self, subscription: Subscription) -> int:
        with self.changed:
            return sum(self._matches(p, subscription) for p in self._publishers[subscription.topic_name])

    def count_publishers(self, topic: str) -> int:
        with self.changed:
            return len(self._publishers[topic])

    def count_subscribers(self, topic: str) -> int:
        with self.changed:
            return len(self._subscriptions[topic])

    def topics(self) -> list[tuple[str, list[str]]]:
        found: dict[str, set[str]] = defaultdict(set)
        with self.changed:
            for ends in (self._publishers, self._subscriptions):
                for topic, entities in ends.items():
                    for entity in entities:
                        found[topic].add(entity.msg_type.TYPE)  # type: ignore[attr-defined]
        return sorted((topic, sorted(types)) for topic, types in found.items())

    def add_service(self, service: Service) -> None:
        with self.changed:
            self._services[service.srv_name].append(service)
            self.changed.notify_all()

    def add_client(self, client: Client) -> None:
        with self.changed:
            self._clients[client.srv_name].append(client)

    def service_for(self, client: Client) -> Service | None:
        with self.changed:
            matching = (s for s in self._services[client.srv_name] if s.srv_type is client.srv_type)
            return next(matching, None)

    def call(self, client: Client, request: Any, future: Future) -> None:
        """As in ROS: a request to nobody is lost, and the future stays open."""
        with self.changed:
            service = self.service_for(client)
            if service is not None:
                service.queue.append((request, client, future))
                self.changed.notify_all()

    def remove(self, entity: Any) -> None:
        with self.changed:
            for table in (self._publishers, self._subscriptions, self._services, self._clients):
                for entities in table.values():
                    if entity in entities:
                        entities.remove(entity)
            self.changed.notify_all()


def bounded(qos: QoSProfile) -> deque[Any]:
    """A queue as long as the profile says; the oldest message makes room."""
    return deque(maxlen=qos.queue_length)
