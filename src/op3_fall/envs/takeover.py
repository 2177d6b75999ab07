# SPDX-License-Identifier: Apache-2.0
"""Who moves the joints: until the alarm the posture is held, then the policy takes over.

As on the robot, it takes over at the measured pose: in the control step of the alarm the joints
hold where they are, and the first action acts a control step later. Once the robot lies its last
command stays: what a policy does there it has not learned, and it may thrash about.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.fall_detection import FallPhase
from op3_fall.operating_modes import OperatingMode
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import PolicySpec
from op3_fall.rows import Rows, assign
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

__all__ = ["Takeover"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MODES = {"velocity": OperatingMode.VELOCITY, "torque": OperatingMode.CURRENT}


class Takeover:
    """Commands of n robots under one policy."""

    def __init__(self, spec: PolicySpec, reading: SensorReading) -> None:
        """All hold the pose of their first reading (n, ...)."""
        self.codec = PolicyCodec(spec)
        self.acting: Flags = np.zeros(len(reading.time_s), dtype=bool)
        """Where the next action takes effect, (n,)."""
        self.fell: Flags = self.acting
        """From the control step after the alarm until the robot stands again, (n,)."""
        self._begins = self.acting
        self._posture = JointCommand.hold(reading.position)
        self._modes = _modes(spec)
        self.command = self._posture
        """Given last, (n, 20)."""

    def reset(self, reading: SensorReading, rows: Rows, position: Array) -> None:
        """The robots at `rows` (k,) stand in `position` (k, 20), rad; `reading` is (n, ...)."""
        which = np.zeros(len(self.acting), dtype=bool)
        which[rows] = True
        self.codec.reset(reading, which)
        assign(self._posture, rows, JointCommand.hold(position))
        self.acting, self.fell = self.acting & ~which, self.fell & ~which

    def decide(
        self, action: NDArray[np.floating[Any]], reading: SensorReading, fall: FallEstimate
    ) -> JointCommand:
        """The command (n, 20) for actions (n, actions) after the latest reading and estimate."""
        begins = self._begins = fall.falling & ~self.fell & (fall.phase != FallPhase.DOWN)
        if begins.any():
            assign(self._posture, begins, JointCommand.hold(reading.position[begins]))
            self.codec.reset(reading, begins)
        wanted = self.codec.act(action, reading, self.acting)
        if not self.acting.all():
            rows = self.acting[:, None]
            wanted = JointCommand(*(
                np.where(rows, getattr(wanted, name), getattr(self._posture, name))
                for name in ("position", "p_gain", "d_gain", "goal_pwm")
            ))  # fmt: skip
        self.command = wanted
        return wanted

    @property
    def watches(self) -> Flags:
        """Whose observations go on, (n,): those of all but who lies and rests, as on the robot."""
        return self.acting | ~self.fell

    @property
    def modes(self) -> NDArray[np.int64] | None:
        """Operating modes (n, 20) that the latest command is meant in; None: all position."""
        if (self._modes == OperatingMode.POSITION).all():
            return None
        return np.where(self.acting[:, None], self._modes, OperatingMode.POSITION)

    def goals(self, position: Array) -> Array:
        """Goal angles of the latest command, (n, 20); `position` where it has no angle."""
        modes = self.modes
        command = self.command.position
        return command if modes is None else np.where(
            modes == OperatingMode.POSITION, command, position
        )  # fmt: skip

    def follow(self, reading: SensorReading, fall: FallEstimate) -> None:
        """Whose turn is it after this control step?

        Who lies holds the last command, gains included. Who fell and stands again holds its last
        goals until the next alarm.
        """
        fell, goals = self.fell | self._begins, self.goals(reading.position)
        self.fell = fell & fall.falling
        lies, stands = self.acting & (fall.phase == FallPhase.DOWN), fell & ~self.fell
        if lies.any():
            command = self.command
            assign(self._posture, lies, JointCommand(
                goals[lies], command.p_gain[lies], command.d_gain[lies], command.goal_pwm[lies]
            ))  # fmt: skip
        if stands.any():
            assign(self._posture, stands, JointCommand.hold(goals[stands]))
        self.acting = self.fell & (fall.phase != FallPhase.DOWN)


def _modes(spec: PolicySpec) -> NDArray[np.int64]:
    """Operating mode of each joint while the policy acts, (20,)."""
    modes = np.full(robot.NUM_JOINTS, OperatingMode.POSITION)
    for term in (term for block in spec.action for term in block.terms):
        if term.quantity in _MODES:
            modes[[robot.JOINT_INDEX[joint] for joint in term.labels]] = _MODES[term.quantity]
    return modes
