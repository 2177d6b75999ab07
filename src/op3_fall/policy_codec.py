# SPDX-License-Identifier: Apache-2.0
"""What stands between signals and a policy's network: the same in training and on the robot."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.action import ActionDecoder, Targets
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.observation import ObservationBuilder, Observed
from op3_fall.policy import Contract
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

__all__ = ["PolicyCodec"]

Array = NDArray[np.float64]


class PolicyCodec:
    """Makes observations from signals and commands from actions, for robots of any shape (...)."""

    def __init__(self, contract: Contract) -> None:
        """Prepare for the contract; `reset` starts."""
        self.contract = contract
        servo = robot.Servo(contract.voltage_v)
        self._servo, self._effort_per_n_m = servo, servo.effort_per_n_m
        self._builder = ObservationBuilder(contract.observation)
        self._decoder = ActionDecoder(contract.action)
        self._targets: Targets | None = None
        self._command: JointCommand | None = None
        self._history: Array | None = None
        self._last_action = np.zeros(contract.action_length)
        self.refused: NDArray[np.bool_] = np.zeros((), dtype=bool)
        """Robots (...) whose last action, observation or measured pose was not finite."""

    def reset(self, reading: SensorReading) -> JointCommand:
        """Start at the measured pose: the first command holds it with the nominal gains.

        Raises:
            BadInputError: the pose is not finite.
        """
        position = np.array(reading.position, dtype=float)
        if not np.isfinite(position).all():
            raise BadInputError(
                "the measured pose has values that are not finite; allowed are angles in rad; "
                "see that the driver reads every joint"
            )
        shape = position.shape[:-1]
        self._targets = Targets(position, np.ones(position.shape), np.ones(position.shape))
        self._history = None
        self._last_action = np.zeros((*shape, self.contract.action_length))
        self.refused = np.zeros(shape, dtype=bool)
        self._command = self._to_command(self._targets, None)
        return self._command

    def observe(self, reading: SensorReading, fall: FallEstimate) -> NDArray[np.float32]:
        """The network's input (..., `observation_length`) at this control step.

        Raises:
            Op3FallError: called before `reset`.
        """
        targets = self._started()
        seen = Observed(
            reading, fall, self._effort_per_n_m,
            targets.stiffness_scale, targets.damping_scale, self._last_action,
        )  # fmt: skip
        now = self._builder.build(seen)
        n = self.contract.history
        if n > 1 and self._history is not None:
            now = np.concatenate([self._history[..., now.shape[-1] :], now], axis=-1)
        elif n > 1:
            now = np.tile(now, n)
        self._history = now
        return now.astype(np.float32)

    def act(self, action: ArrayLike, reading: SensorReading) -> JointCommand:
        """The command for an action (..., `action_length`).

        Where the action or the measured pose is not finite the last targets and gains stay, and
        `refused` says so.

        Raises:
            Op3FallError: called before `reset`.
        """
        last, action = self._started(), np.asarray(action, dtype=float)
        both = np.concatenate([action, reading.position], axis=-1)
        good = np.asarray(np.isfinite(both).all(axis=-1, keepdims=True))
        self.refused = np.asarray(~good[..., 0])
        targets = self._decoder.decode(action, reading.position, last)
        if self.refused.any():
            targets = Targets(*(np.where(good, *pair) for pair in zip(targets, last, strict=True)))
            action = np.where(good, action, self._last_action)
        self._last_action = np.minimum(np.maximum(action, -1.0), 1.0)
        self._targets, self._command = targets, self._to_command(targets, self._command)
        return self._command

    def _started(self) -> Targets:
        if self._targets is None:
            raise Op3FallError("the policy has no pose to start from; call reset(reading) first")
        return self._targets

    def _to_command(self, targets: Targets, last: JointCommand | None) -> JointCommand:
        if last is not None and not self._decoder.sets_gains:
            return JointCommand(targets.position, last.p_gain, last.d_gain, last.goal_pwm)
        return JointCommand(
            position=targets.position,
            p_gain=self._servo.p_register(targets.stiffness_scale),
            d_gain=self._servo.d_register(targets.damping_scale),
            goal_pwm=np.full(targets.position.shape, self.contract.nominal_gains.goal_pwm),
        )
