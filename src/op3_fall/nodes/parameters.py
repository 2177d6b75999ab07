# SPDX-License-Identifier: Apache-2.0
"""ROS parameters declared from the configuration dataclasses, and read back as them."""

from collections.abc import Callable, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from op3_fall.errors import BadInputError
from op3_fall.settings import descriptions

__all__ = ["NodeSettings", "Values", "declare", "read"]

T = TypeVar("T")
Values = dict[type, Any]
"""A configuration of each type."""


def declare(node: Node, config: Any) -> None:
    """Declare a parameter for each field of a configuration, with description and range.

    Two configurations may share a parameter, such as the voltage.
    """
    texts = descriptions(type(config))
    for f in _parameters(config):
        default = getattr(config, f.name)
        if node.has_parameter(f.name):
            continue
        descriptor = ParameterDescriptor(description=texts.get(f.name, ""))
        if "choices" in f.metadata:
            descriptor.additional_constraints = "one of " + ", ".join(f.metadata["choices"])
        if "range" in f.metadata:
            low, high = f.metadata["range"]
            if isinstance(default, int):
                descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
            else:
                span = FloatingPointRange(from_value=float(low), to_value=float(high))
                descriptor.floating_point_range = [span]
        node.declare_parameter(f.name, default, descriptor)


def _parameters(config: Any) -> list[Field[Any]]:
    """Its fields but those that are configurations themselves, which are declared apart."""
    return [f for f in fields(config) if not is_dataclass(getattr(config, f.name))]


def read(node: Node, config_type: type[T], changes: Sequence[Parameter] = ()) -> T:
    """The configuration that the node's parameters make, with `changes` on top.

    Raises:
        BadInputError: a value, or the values together, are not allowed.
    """
    names = [f.name for f in _parameters(config_type())]
    values = {name: node.get_parameter(name).value for name in names}
    values |= {p.name: p.value for p in changes if p.name in values}
    return config_type(**values)


class NodeSettings:
    """Keeps a node's configurations in step with its parameters.

    Parameters that are set together (atomically) are checked together: all are taken or none.
    """

    def __init__(
        self, node: Node, *configs: Any, changed: Callable[[], None],
        agree: Callable[[Values], None] = lambda values: None,
    ) -> None:  # fmt: skip
        """Declare every field of `configs`.

        Args:
            node: whose parameters they become.
            configs: with their defaults.
            changed: called after each accepted change.
            agree: raises BadInputError where configurations do not fit each other.

        Raises:
            BadInputError: what the parameter file or the command line gave is not allowed.
        """
        self._node, self._changed, self._agree = node, changed, agree
        self._types = [type(config) for config in configs]
        for config in configs:
            declare(node, config)
        self._values = self._read()
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take)

    def __getitem__(self, kind: type[T]) -> T:
        """The configuration of that type as it is now."""
        return self._values[kind]

    def _check(self, changes: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._read(changes)
        except (BadInputError, TypeError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take(self, _: Sequence[Parameter]) -> None:
        self._values = self._read()
        self._changed()

    def _read(self, changes: Sequence[Parameter] = ()) -> Values:
        values = {kind: read(self._node, kind, changes) for kind in self._types}
        self._agree(values)
        return values
