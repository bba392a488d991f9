"""The whole graph in one process: no ROS, no sockets, the same behaviour. For tests, demo, machines without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itk_embodied.ros import messages, names
from itk_embodied.ros.inproc import parameters, qos, time
from itk_embodied.ros.inproc.context import Context, get_default_context
from itk_embodied.ros.inproc.entities import Future
from itk_embodied.ros.inproc.executor import ExternalShutdownException, SingleThreadedExecutor
from itk_embodied.ros.inproc.node import Node, NotInitializedException

_CLASSES: tuple[type, ...] = (
    Context,
    Node,
    Future,
    SingleThreadedExecutor,
    ExternalShutdownException,
    NotInitializedException,
    names.NameValidationException,
    names.InvalidTopicNameException,
    names.InvalidServiceNameException,
    names.InvalidNodeNameException,
    names.InvalidNamespaceException,
    parameters.Parameter,
    parameters.ParameterException,
    parameters.ParameterNotDeclaredException,
    parameters.ParameterAlreadyDeclaredException,
    parameters.ParameterUninitializedException,
    parameters.ParameterImmutableException,
    parameters.InvalidParameterTypeException,
    parameters.InvalidParameterValueException,
    qos.QoSProfile,
    qos.HistoryPolicy,
    qos.ReliabilityPolicy,
    qos.DurabilityPolicy,
    qos.LivelinessPolicy,
    qos.QoSPresetProfiles,
    qos.InvalidQoSProfileException,
    time.Time,
    time.Duration,
    time.Clock,
)


class InprocBackend:
    """Implements `itk_embodied.ros.backend.Backend`."""

    name = "inproc"
    names: dict[str, Any] = {  # noqa: RUF012
        **{cls.__name__: cls for cls in _CLASSES},
        "qos_profile_sensor_data": qos.qos_profile_sensor_data,
        "qos_profile_system_default": qos.qos_profile_system_default,
        "qos_profile_services_default": qos.qos_profile_services_default,
        "qos_profile_parameters": qos.qos_profile_parameters,
    }

    def __init__(self) -> None:
        self._executor: SingleThreadedExecutor | None = None

    def init(self, args: Sequence[str] | None = None) -> None:
        get_default_context().init(args)
        self._executor = None

    def shutdown(self) -> None:
        get_default_context().shutdown()

    def try_shutdown(self) -> None:
        get_default_context().try_shutdown()

    def ok(self) -> bool:
        return get_default_context().ok()

    def create_node(self, node_name: str, **options: Any) -> Node:
        return Node(node_name, **options)

    def spin(self, node: Node, executor: SingleThreadedExecutor | None = None) -> None:
        executor = executor or self._global_executor()
        executor.add_node(node)
        try:
            while executor.context.ok():
                executor.spin_once()
        finally:
            executor.remove_node(node)

    def spin_once(
        self, node: Node, *, executor: SingleThreadedExecutor | None = None, timeout_sec: float | None = None
    ) -> None:
        executor = executor or self._global_executor()
        executor.add_node(node)
        try:
            executor.spin_once(timeout_sec=timeout_sec)
        finally:
            executor.remove_node(node)

    def spin_until_future_complete(
        self,
        node: Node,
        future: Future,
        executor: SingleThreadedExecutor | None = None,
        timeout_sec: float | None = None,
    ) -> None:
        executor = executor or self._global_executor()
        executor.add_node(node)
        try:
            executor.spin_until_future_complete(future, timeout_sec)
        finally:
            executor.remove_node(node)

    def message_type(self, name: str) -> type[Any]:
        return messages.message_type(name)

    def _global_executor(self) -> SingleThreadedExecutor:
        if self._executor is None:
            self._executor = SingleThreadedExecutor()
        return self._executor
