# SPDX-License-Identifier: Apache-2.0
"""What `ros2 lifecycle set`, `param set` and `service call` do, without ros2cli."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
import yaml
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import try_shutdown
from std_srvs.srv import Trigger

from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.nodes import topics

__all__ = ["main"]

_PATIENCE_S = 5.0
_ARMED = ("gain_scheduler", "policy")


class _Remote:
    """Calls services of the running graph."""

    def __init__(self) -> None:
        self._node = Node("op3_fall_remote")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer.

        Raises:
            Op3FallError: nobody answers.
        """
        client = self._node.create_client(kind, name)
        if client.wait_for_service(_PATIENCE_S):
            future = client.call_async(request)
            rclpy.spin_until_future_complete(self._node, future, timeout_sec=_PATIENCE_S)
            if future.done():
                return future.result()
        raise Op3FallError(
            f"{name} does not answer within {_PATIENCE_S:g} s; is the graph running, with the "
            "same ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE?"
        )

    def go(self, node: str, *transitions: int) -> None:
        """Take a lifecycle node through those of the transitions that apply to its state."""
        applies = {
            Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_UNCONFIGURED,
            Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_INACTIVE,
            Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_ACTIVE,
        }
        for transition in transitions:
            state = self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state
            if state.id != applies[transition]:
                continue
            request = ChangeState.Request(transition=Transition(id=transition))
            if not self.call(ChangeState, f"/{node}/change_state", request).success:
                raise Op3FallError(f"{node} refuses; see its messages")
        state = self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state
        print(f"{node}: {state.label}")


def _arm(remote: _Remote) -> None:
    for node in _ARMED:
        remote.go(node, Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def _arm_gains(remote: _Remote) -> None:
    remote.go(_ARMED[0], Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def _disarm(remote: _Remote) -> None:
    for node in reversed(_ARMED):
        remote.go(node, Transition.TRANSITION_DEACTIVATE)


def _trigger(name: str) -> Callable[[_Remote], None]:
    def call(remote: _Remote) -> None:
        answer = remote.call(Trigger, name, Trigger.Request())
        print(answer.message or ("done" if answer.success else "refused"))

    return call


_ACTIONS = {
    "arm": _arm, "arm-gains": _arm_gains, "disarm": _disarm, "estop": _trigger(topics.ESTOP),
    "clear-estop": _trigger(topics.CLEAR_ESTOP), "reset": _trigger("/sim/reset"),
}  # fmt: skip


def _set(remote: _Remote, node: str, settings: Sequence[str]) -> None:
    """Set parameters together, or none of them; 1 is taken for 1.0 where that is meant."""
    values = {}
    for text in settings or ("",):
        name, equals, value = text.partition("=")
        if not equals:
            raise BadInputError(f"'{text}' is no setting; allowed is name=value; add the value")
        values[name] = yaml.safe_load(value)
    name = f"/{node.strip('/')}/set_parameters_atomically"

    def send(given: dict[str, Any]) -> Any:
        parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in given.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        return remote.call(SetParametersAtomically, name, request).result

    result = send(values)
    if not result.successful and "Type.DOUBLE" in result.reason:
        result = send({k: float(v) if type(v) is int else v for k, v in values.items()})
    if not result.successful:
        unknown = "undeclared" in result.reason
        reason = "it has no such parameter; docs/ros.md lists them" if unknown else result.reason
        raise BadInputError(f"{node} refuses {', '.join(settings)}: {reason}")
    print(f"{node}: {', '.join(settings)}")


def main(argv: Sequence[str] | None = None) -> int:
    """`ACTION`, or `set NODE name=value ...`; exit status 0, 1 no answer, 2 refused."""
    action, *rest = sys.argv[1:] if argv is None else argv
    rclpy.init()
    try:
        remote = _Remote()
        if action == "set":
            _set(remote, rest[0], rest[1:])
        else:
            _ACTIONS[action](remote)
    except Op3FallError as error:
        print(f"op3-fall: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInputError) else 1
    finally:
        try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
