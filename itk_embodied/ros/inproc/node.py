"""A node, shaped as ``rclpy.node.Node``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from itk_embodied.ros import names
from itk_embodied.ros.arguments import RosArguments, parse
from itk_embodied.ros.inproc.context import Context, get_default_context
from itk_embodied.ros.inproc.entities import (
    Client,
    GuardCondition,
    Publisher,
    Service,
    Subscription,
    Timer,
    Waitable,
)
from itk_embodied.ros.inproc.logger import Logger
from itk_embodied.ros.inproc.parameters import Parameter, ParameterStore, SetCallback
from itk_embodied.ros.inproc.qos import QoSProfile, as_profile
from itk_embodied.ros.inproc.time import Clock
from itk_embodied.ros.messages import ParameterDescriptor, SetParametersResult


class NotInitializedException(Exception):
    """``init`` has not been called."""

    def __init__(self) -> None:
        super().__init__("rclpy.init() has not been called")


class Node:
    """One node of the in-process graph. Names, remaps and parameters come from ``--ros-args``, as in ROS 2."""

    def __init__(
        self,
        node_name: str,
        *,
        context: Context | None = None,
        cli_args: Sequence[str] | None = None,
        namespace: str | None = None,
        use_global_arguments: bool = True,
        parameter_overrides: Sequence[Parameter] | None = None,
        allow_undeclared_parameters: bool = False,
        automatically_declare_parameters_from_overrides: bool = False,
    ) -> None:
        self._context = context or get_default_context()
        if not self._context.ok():
            raise NotInitializedException
        arguments = _together(parse(cli_args or []), self._context.arguments if use_global_arguments else None)
        self._name = names.check_node_name(names.special(arguments.remaps, "__node", node_name) or node_name)
        self._namespace = names.check_namespace(names.special(arguments.remaps, "__ns", node_name) or (namespace or ""))
        self._remaps = arguments.remaps
        overrides = arguments.parameters_of(self._name, self._namespace)
        overrides.update({parameter.name: parameter.value for parameter in parameter_overrides or ()})
        self._parameters = ParameterStore(overrides)
        self._allow_undeclared = allow_undeclared_parameters
        self._logger = Logger(self._name if self._namespace == "/" else f"{self._namespace[1:]}.{self._name}")
        if arguments.log_level is not None:
            self._logger.set_level(arguments.log_level)
        self._clock = Clock()
        self._graph = self._context.graph
        self._entities: list[Any] = []
        self.waitables: list[Waitable] = []
        self.executor: Any = None
        self._graph.nodes.append(self)
        if automatically_declare_parameters_from_overrides:
            for name, parameter in self._parameters.overrides.items():
                self.declare_parameter(name, parameter.value)

    @property
    def context(self) -> Context:
        return self._context

    def get_name(self) -> str:
        return self._name

    def get_namespace(self) -> str:
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        return names.expand("~", self._name, self._namespace)

    def get_logger(self) -> Logger:
        return self._logger

    def get_clock(self) -> Clock:
        return self._clock

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        if only_expand:
            return names.expand(topic, self._name, self._namespace)
        return names.remapped(topic, self._remaps, self._name, self._namespace)

    def resolve_service_name(self, service: str, *, only_expand: bool = False) -> str:
        if only_expand:
            return names.expand(service, self._name, self._namespace, kind="service")
        return names.remapped(service, self._remaps, self._name, self._namespace, kind="service")

    def create_publisher(
        self, msg_type: type[Any], topic: str, qos_profile: QoSProfile | int, *, callback_group: Any = None
    ) -> Publisher:
        profile = as_profile(qos_profile)
        publisher = Publisher(self._graph, msg_type, self.resolve_topic_name(topic), profile)
        self._entities.append(publisher)
        return publisher

    def create_subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[[Any], Any],
        qos_profile: QoSProfile | int,
        *,
        callback_group: Any = None,
    ) -> Subscription:
        profile = as_profile(qos_profile)
        return self._waits_for(Subscription(self._graph, msg_type, self.resolve_topic_name(topic), callback, profile))

    def create_timer(
        self, timer_period_sec: float, callback: Callable[[], Any], callback_group: Any = None, clock: Any = None
    ) -> Timer:
        return self._waits_for(Timer(self._graph, timer_period_sec, callback))

    def create_guard_condition(self, callback: Callable[[], Any], callback_group: Any = None) -> GuardCondition:
        return self._waits_for(GuardCondition(self._graph, callback))

    def create_service(
        self,
        srv_type: Any,
        srv_name: str,
        callback: Callable[[Any, Any], Any],
        *,
        qos_profile: QoSProfile | None = None,
        callback_group: Any = None,
    ) -> Service:
        return self._waits_for(Service(self._graph, srv_type, self.resolve_service_name(srv_name), callback))

    def create_client(
        self, srv_type: Any, srv_name: str, *, qos_profile: QoSProfile | None = None, callback_group: Any = None
    ) -> Client:
        return self._waits_for(Client(self._graph, srv_type, self.resolve_service_name(srv_name)))

    def _waits_for(self, entity: Any) -> Any:
        self._entities.append(entity)
        with self._graph.changed:
            self.waitables.append(entity)
            self._graph.changed.notify_all()
        return entity

    def _destroy(self, entity: Any) -> bool:
        if entity not in self._entities:
            return False
        self._entities.remove(entity)
        with self._graph.changed:
            if entity in self.waitables:
                self.waitables.remove(entity)
        entity.destroy()
        return True

    destroy_publisher = destroy_subscription = destroy_timer = _destroy
    destroy_service = destroy_client = destroy_guard_condition = _destroy

    def destroy_node(self) -> None:
        if self.executor is not None:
            self.executor.remove_node(self)
        for entity in list(self._entities):
            self._destroy(entity)
        if self in self._graph.nodes:
            self._graph.nodes.remove(self)

    def count_publishers(self, topic_name: str) -> int:
        return self._graph.count_publishers(self.resolve_topic_name(topic_name))

    def count_subscribers(self, topic_name: str) -> int:
        return self._graph.count_subscribers(self.resolve_topic_name(topic_name))

    def get_topic_names_and_types(self, no_demangle: bool = False) -> list[tuple[str, list[str]]]:
        return self._graph.topics()

    def get_node_names(self) -> list[str]:
        return [node.get_name() for node in self._graph.nodes]

    def declare_parameter(
        self,
        name: str,
        value: Any = None,
        descriptor: ParameterDescriptor | None = None,
        ignore_override: bool = False,
    ) -> Parameter:
        return self._parameters.declare(name, value, descriptor, ignore_override=ignore_override)

    def declare_parameters(
        self, namespace: str, parameters: Sequence[tuple[Any, ...]], ignore_override: bool = False
    ) -> list[Parameter]:
        start = f"{namespace}." if namespace else ""
        declared = []
        for name, *rest in parameters:
            value, descriptor = [*rest, None, None][:2]
            declared.append(self.declare_parameter(f"{start}{name}", value, descriptor, ignore_override))
        return declared

    def undeclare_parameter(self, name: str) -> None:
        self._parameters.undeclare(name)

    def has_parameter(self, name: str) -> bool:
        return self._parameters.has(name)

    def get_parameter(self, name: str) -> Parameter:
        if self._allow_undeclared and not self._parameters.has(name):
            return self._parameters.overrides.get(name, Parameter(name))
        return self._parameters.get(name)

    def get_parameters(self, parameter_names: Sequence[str]) -> list[Parameter]:
        return [self.get_parameter(name) for name in parameter_names]

    def get_parameter_or(self, name: str, alternative_value: Parameter | None = None) -> Parameter:
        return self.get_parameter(name) if self.has_parameter(name) else alternative_value or Parameter(name)

    def get_parameters_by_prefix(self, prefix: str) -> dict[str, Parameter]:
        return self._parameters.by_prefix(prefix)

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        return self._parameters.descriptor(name)

    def set_parameters(self, parameter_list: Sequence[Parameter]) -> list[SetParametersResult]:
        self._declare_missing(parameter_list)
        return [self._parameters.set_one(parameter) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> SetParametersResult:
        self._declare_missing(parameter_list)
        return self._parameters.set_atomically(parameter_list)

    def _declare_missing(self, parameters: Sequence[Parameter]) -> None:
        for parameter in parameters:
            if self._allow_undeclared and not self._parameters.has(parameter.name):
                dynamic = ParameterDescriptor(dynamic_typing=True)
                self._parameters.declare(parameter.name, parameter.value, dynamic, ignore_override=True)

    def add_on_set_parameters_callback(self, callback: SetCallback) -> None:
        self._parameters.add_callback(callback)

    def remove_on_set_parameters_callback(self, callback: SetCallback) -> None:
        self._parameters.remove_callback(callback)


def _together(own: RosArguments, everybodys: RosArguments | None) -> RosArguments:
    """A node's own rules come before the global ones; its own parameters win over the global ones."""
    if everybodys is None:
        return own
    return RosArguments(
        remaps=own.remaps + everybodys.remaps,
        parameters=everybodys.parameters + own.parameters,
        log_level=everybodys.log_level if own.log_level is None else own.log_level,
    )
