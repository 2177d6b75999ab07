# SPDX-License-Identifier: Apache-2.0
"""What stands between signals and a policy's network: the same in training and on the robot."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.action import ActionDecoder, Targets
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.observation import ObservationBuilder, Observed
from op3_fall.policy_spec import PolicySpec
from op3_fall.rows import choose
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

__all__ = ["PolicyCodec"]

Array = NDArray[np.float64]


class PolicyCodec:
    """Makes observations from signals and commands from actions, for robots of any shape (...)."""

    def __init__(self, spec: PolicySpec) -> None:
        """Prepare for the spec; `reset` starts."""
        self.spec = spec
        servo = robot.Servo(spec.voltage_v)
        self._servo, self._effort_per_n_m = servo, servo.effort_per_n_m
        self._builder = ObservationBuilder(spec.observation)
        self._decoder = ActionDecoder(spec.action)
        self._targets: Targets | None = None
        self._command: JointCommand | None = None
        self._history: Array | None = None
        self._new: NDArray[np.bool_] = np.ones((), dtype=bool)  # has no history yet
        self._last_action = np.zeros(spec.action_length)
        self.refused: NDArray[np.bool_] = np.zeros((), dtype=bool)
        """Robots (...) whose last action, observation or measured pose was not finite."""

    @property
    def last_action(self) -> Array:
        """As observations have it: limited to [-1, 1], zeros after a reset, (..., actions)."""
        return self._last_action

    def reset(
        self, reading: SensorReading, which: NDArray[np.bool_] | None = None
    ) -> JointCommand:
        """Start at the measured pose: the first command holds it with the nominal gains.

        Args:
            reading: of all robots (...).
            which: robots (...) that start, all if None; the first call must start all.

        Raises:
            BadInputError: the pose is not finite.
        """
        position = np.array(reading.position, dtype=float)
        which = np.ones(position.shape[:-1], dtype=bool) if which is None else which
        if not np.isfinite(position[which]).all():
            raise BadInputError(
                "the measured pose has values that are not finite; allowed are angles in rad; "
                "see that the driver reads every joint"
            )
        last_action = np.zeros((*position.shape[:-1], self.spec.action_length))
        targets = Targets(position, np.ones(position.shape), np.ones(position.shape))
        new, refused = np.ones_like(which), np.zeros_like(which)
        if self._targets is not None and not which.all():
            rows = which[..., None]
            targets = choose(rows, targets, self._targets)
            last_action = np.where(rows, last_action, self._last_action)
            new, refused = which | self._new, self.refused & ~which
        self._targets, self._last_action = targets, last_action
        self._new, self.refused = new, refused
        self._command = self._to_command(targets, None)
        return self._command

    def observe(
        self,
        reading: SensorReading,
        fall: FallEstimate,
        which: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """The network's input (..., `observation_length`) at this control step.

        Args:
            reading: of all robots (...).
            fall: from the same reading.
            which: robots (...) that have not observed in this control step yet, all if None; the
                history of the others stays.

        Raises:
            Op3FallError: called before `reset`.
        """
        targets = self._started()
        seen = Observed(
            reading, fall, self._effort_per_n_m,
            targets.stiffness_scale, targets.damping_scale, self._last_action,
        )  # fmt: skip
        now = self._builder.build(seen)
        if self.spec.history > 1:
            now = self._remembered(now, which)
        self._new = np.zeros_like(self._new) if which is None else self._new & ~which
        return now.astype(np.float32)

    def _remembered(self, now: Array, which: NDArray[np.bool_] | None) -> Array:
        """The last observations up to `now` (..., n), as often as `history` says."""
        seen, old = np.tile(now, self.spec.history), self._history
        if old is not None:
            later = np.concatenate([old[..., now.shape[-1] :], now], axis=-1)
            seen = np.where(self._new[..., None], seen, later)
            if which is not None:
                seen = np.where(which[..., None], seen, old)
        self._history = seen
        return seen

    def act(
        self, action: ArrayLike, reading: SensorReading, which: NDArray[np.bool_] | None = None
    ) -> JointCommand:
        """The command for an action (..., `action_length`).

        Where the action or the measured pose is not finite the last targets and gains stay, and
        `refused` says so.

        Args:
            action: of all robots (...).
            reading: of all robots (...).
            which: robots (...) that act, all if None; targets and gains of the others stay.

        Raises:
            Op3FallError: called before `reset`.
        """
        last, action = self._started(), np.asarray(action, dtype=float)
        both = np.concatenate([action, reading.position], axis=-1)
        acts = np.asarray(np.isfinite(both).all(axis=-1))
        self.refused = np.asarray(~acts)
        if which is not None:
            self.refused, acts = ~acts & which, acts & which
        targets = self._decoder.decode(action, reading.position, last)
        if not acts.all():
            rows = acts[..., None]
            targets = choose(rows, targets, last)
            action = np.where(rows, action, self._last_action)
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
            goal_pwm=np.full(targets.position.shape, self.spec.nominal_gains.goal_pwm),
        )
