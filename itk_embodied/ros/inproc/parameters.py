"""A node's parameters, shaped as ``rclpy.parameter``: declared, typed, overridable, guarded by callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, TypeAlias

from itk_embodied.ros.messages import ParameterDescriptor, SetParametersResult


class ParameterException(Exception):
    """Root of parameter errors."""


class ParameterNotDeclaredException(ParameterException):
    """A parameter that nobody declared."""


class ParameterAlreadyDeclaredException(ParameterException):
    """A parameter that was declared before."""


class InvalidParameterTypeException(ParameterException):
    """A value of another type than the parameter's."""


class InvalidParameterValueException(ParameterException):
    """A value that a callback or a range refuses."""


class ParameterUninitializedException(ParameterException):
    """A parameter declared with a type but without a value."""


class ParameterImmutableException(ParameterException):
    """A read-only parameter cannot change."""


class Parameter:
    """A name, a type and a value."""

    class Type(Enum):
        NOT_SET = 0
        BOOL = 1
        INTEGER = 2
        DOUBLE = 3
        STRING = 4
        BYTE_ARRAY = 5
        BOOL_ARRAY = 6
        INTEGER_ARRAY = 7
        DOUBLE_ARRAY = 8
        STRING_ARRAY = 9

        @classmethod
        def from_parameter_value(cls, value: Any) -> Parameter.Type:
            scalar = {type(None): cls.NOT_SET, bool: cls.BOOL, int: cls.INTEGER, float: cls.DOUBLE, str: cls.STRING}
            if type(value) in scalar:
                return scalar[type(value)]
            if isinstance(value, (list, tuple)):
                kinds = {type(item) for item in value}
                if kinds <= {bytes}:
                    return cls.BYTE_ARRAY
                for kind, array in ((bool, cls.BOOL_ARRAY), (int, cls.INTEGER_ARRAY), (float, cls.DOUBLE_ARRAY)):
                    if kinds == {kind}:
                        return array
                if kinds == {str}:
                    return cls.STRING_ARRAY
            raise TypeError(f"The given value is not one of the allowed types '{value!r}'.")

    def __init__(self, name: str, type_: Parameter.Type | None = None, value: Any = None) -> None:
        actual = Parameter.Type.from_parameter_value(value)
        self.name = name
        self.type_ = actual if type_ is None else type_
        if self.type_ is not actual:
            raise ValueError(f"Type '{self.type_}' and value '{value!r}' do not agree")
        self.value = list(value) if isinstance(value, tuple) else value

    def __eq__(self, other: object) -> bool:
        mine = (self.name, self.type_, self.value)
        return isinstance(other, Parameter) and mine == (other.name, other.type_, other.value)

    def __repr__(self) -> str:
        return f"Parameter(name={self.name!r}, type_={self.type_}, value={self.value!r})"


SetCallback: TypeAlias = Callable[[list[Parameter]], SetParametersResult]


class ParameterStore:
    """All parameters of one node."""

    def __init__(self, overrides: dict[str, Any]) -> None:
        self._overrides = {name: Parameter(name, value=value) for name, value in overrides.items()}
        self._parameters: dict[str, Parameter] = {}
        self._descriptors: dict[str, ParameterDescriptor] = {}
        self._callbacks: list[SetCallback] = []

    @property
    def overrides(self) -> dict[str, Parameter]:
        return dict(self._overrides)

    def add_callback(self, callback: SetCallback) -> None:
        self._callbacks.insert(0, callback)

    def remove_callback(self, callback: SetCallback) -> None:
        self._callbacks.remove(callback)

    def declare(
        self, name: str, value: Any, descriptor: ParameterDescriptor | None, *, ignore_override: bool
    ) -> Parameter:
        if name in self._parameters:
            raise ParameterAlreadyDeclaredException(f"parameter {name!r} is declared already")
        if not name:
            raise ParameterException("a parameter needs a name")
        descriptor = descriptor or ParameterDescriptor(name=name)
        kind = value if isinstance(value, Parameter.Type) else Parameter.Type.from_parameter_value(value)
        parameter = Parameter(name) if isinstance(value, Parameter.Type) else Parameter(name, value=value)
        override = self._overrides.get(name)
        if override is not None and not ignore_override:
            dynamic = descriptor.dynamic_typing or kind is Parameter.Type.NOT_SET
            if not dynamic and override.type_ is not kind:
                raise InvalidParameterTypeException(
                    f"parameter {name!r} has type {kind.name}; its override {override.value!r} is {override.type_.name}"
                )
            parameter = override
        descriptor.name, descriptor.type = name, kind.value
        problem = _range_problem(parameter, descriptor)
        if parameter.type_ is not Parameter.Type.NOT_SET:
            problem = problem or self._ask([parameter]).reason
        if problem:
            raise InvalidParameterValueException(f"parameter {name!r} cannot be {parameter.value!r}: {problem}")
        self._descriptors[name] = descriptor
        self._parameters[name] = parameter
        return parameter

    def undeclare(self, name: str) -> None:
        self.descriptor(name)
        if self._descriptors[name].read_only:
            raise ParameterImmutableException(f"parameter {name!r} is read-only")
        del self._parameters[name], self._descriptors[name]

    def has(self, name: str) -> bool:
        return name in self._parameters

    def get(self, name: str) -> Parameter:
        if name not in self._parameters:
            raise ParameterNotDeclaredException(f"parameter {name!r} is not declared")
        parameter = self._parameters[name]
        kind = Parameter.Type(self._descriptors[name].type)
        if parameter.type_ is Parameter.Type.NOT_SET and kind is not Parameter.Type.NOT_SET:
            raise ParameterUninitializedException(f"parameter {name!r} has no value yet")
        return parameter

    def descriptor(self, name: str) -> ParameterDescriptor:
        if name not in self._parameters:
            raise ParameterNotDeclaredException(f"parameter {name!r} is not declared")
        return self._descriptors[name]

    def by_prefix(self, prefix: str) -> dict[str, Parameter]:
        start = f"{prefix}." if prefix else ""
        return {name[len(start) :]: p for name, p in self._parameters.items() if name.startswith(start)}

    def set_one(self, parameter: Parameter) -> SetParametersResult:
        return self.set_atomically([parameter])

    def set_atomically(self, parameters: Iterable[Parameter]) -> SetParametersResult:
        """All or none; the reason says why none."""
        wanted = list(parameters)
        for parameter in wanted:
            if parameter.name not in self._parameters:
                raise ParameterNotDeclaredException(f"parameter {parameter.name!r} is not declared")
            problem = self._problem(parameter)
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        result = self._ask(wanted)
        if result.successful:
            self._parameters.update({parameter.name: parameter for parameter in wanted})
        return result

    def _problem(self, parameter: Parameter) -> str:
        descriptor = self._descriptors[parameter.name]
        if descriptor.read_only:
            return f"parameter {parameter.name!r} is read-only"
        kind = Parameter.Type(descriptor.type)
        if not descriptor.dynamic_typing and kind not in (Parameter.Type.NOT_SET, parameter.type_):
            return f"Wrong parameter type, expected '{kind}' got '{parameter.type_}'"
        return _range_problem(parameter, descriptor)

    def _ask(self, parameters: list[Parameter]) -> SetParametersResult:
        for callback in self._callbacks:
            result = callback(parameters)
            if not result.successful:
                reason = result.reason or "a callback refused it"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)


def _range_problem(parameter: Parameter, descriptor: ParameterDescriptor) -> str:
    ranges: list[Any] = []
    if parameter.type_ is Parameter.Type.INTEGER:
        ranges = descriptor.integer_range
    elif parameter.type_ is Parameter.Type.DOUBLE:
        ranges = descriptor.floating_point_range
    for limits in ranges[:1]:
        if not limits.from_value <= parameter.value <= limits.to_value:
            return f"{parameter.value} is out of range; allowed: {limits.from_value} to {limits.to_value}"
    return ""
