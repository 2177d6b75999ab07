# SPDX-License-Identifier: Apache-2.0
"""The gain schedule of one robot, fall after fall: what the gain scheduler node runs."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from op3_fall.compliance import (
    DAMPING_RANGE,
    STIFFNESS_RANGE,
    ComplianceConfig,
    ComplianceSchedule,
    Phase,
)
from op3_fall.controller import pose_error
from op3_fall.errors import BadInputError
from op3_fall.robot import Servo
from op3_fall.settings import Settings, choice, setting
from op3_fall.signals import FallEstimate, ImpactEstimate

__all__ = ["GainConfig", "GainPhase", "GainSchedule", "Scales"]

Array = NDArray[np.float64]
_LEAD_S = 0.1
"""The policy's targets lead from the measured pose to its goal within this time of the alarm;
before, the goal that the driver reports is not yet the pose that counts as reached."""


class GainPhase(IntEnum):
    """Where the gains stand: the schedule's phases, and damped on a fault."""

    STIFF = Phase.STIFF
    SOFT = Phase.SOFT
    RESTORE = Phase.RESTORE
    DONE = Phase.DONE
    DAMPED = 4


@dataclass(frozen=True)
class GainConfig(Settings):
    """What the gains are multiples of, and between which bounds."""

    mode: str = choice("compliant", "compliant", "stiff", "soft")
    """compliant: soft for the impact; stiff: nominal always; soft: the scales at once, to try."""
    min_stiffness_scale: float = setting(STIFFNESS_RANGE[0], *STIFFNESS_RANGE)
    """Smallest stiffness scale that may be set or sent."""
    max_stiffness_scale: float = setting(STIFFNESS_RANGE[1], *STIFFNESS_RANGE)
    """Largest stiffness scale that may be set or sent."""
    min_damping_scale: float = setting(DAMPING_RANGE[0], *DAMPING_RANGE)
    """Smallest damping scale that may be set or sent."""
    max_damping_scale: float = setting(DAMPING_RANGE[1], *DAMPING_RANGE)
    """Largest damping scale that may be set or sent."""
    nominal_p_gain: int = setting(Servo.NOMINAL_P, 1, Servo.MAX_GAIN)
    """position_p_gain register that stiffness scale 1 stands for and that is restored."""
    nominal_i_gain: int = setting(0, 0, Servo.MAX_GAIN)
    """position_i_gain register that is restored."""
    nominal_d_gain: int = setting(Servo.NOMINAL_D, 0, Servo.MAX_GAIN)
    """position_d_gain register that damping scale 1 stands for and that is restored."""
    nominal_goal_pwm: int = setting(Servo.MAX_PWM, 1, Servo.MAX_PWM)
    """goal_pwm register that is restored: the cap on the duty."""
    voltage_v: float = setting(12.0, 11.1, 14.8, unit="V")
    """Supply voltage under load, V: 11.1 on the OP3's battery, 12 on its power supply."""

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            BadInputError: a value outside its range, or a range that is empty.
        """
        super().__post_init__()
        for name in ("stiffness", "damping"):
            low, high = getattr(self, f"min_{name}_scale"), getattr(self, f"max_{name}_scale")
            if low > high:
                raise BadInputError(
                    f"min {name} scale {low:g} is above max {name} scale {high:g}; allowed is "
                    "min <= max; set both together"
                )

    @property
    def servo(self) -> Servo:
        """Registers of the scales."""
        return Servo(self.voltage_v, nominal_p=self.nominal_p_gain, nominal_d=self.nominal_d_gain)

    def check_scales(self, compliance: ComplianceConfig) -> None:
        """Refuse scales outside the bounds.

        Raises:
            BadInputError: naming the scale, the bounds and the remedy.
        """
        for name in ("stiffness", "damping"):
            value = getattr(compliance, f"{name}_scale")
            low, high = getattr(self, f"min_{name}_scale"), getattr(self, f"max_{name}_scale")
            if not low <= value <= high:
                raise BadInputError(
                    f"{name} scale is {value:g}; allowed is min_{name}_scale to "
                    f"max_{name}_scale, from {low:g} to {high:g}; choose a value in that range"
                )


@dataclass(frozen=True)
class Scales:
    """What the gains shall be."""

    phase: GainPhase
    """Why."""
    stiffness: float
    """Multiple of the nominal stiffness."""
    damping: float
    """Multiple of the nominal total damping."""


class GainSchedule:
    """One robot's schedule; it starts anew with every fall."""

    def __init__(
        self, gains: GainConfig, compliance: ComplianceConfig, damped: tuple[float, float]
    ) -> None:
        """Wait for a fall; `damped` are the scales of stiffness and damping on a fault.

        Raises:
            BadInputError: the scales are outside the bounds.
        """
        self.damped = Scales(GainPhase.DAMPED, *damped)
        """What holds while a fault or the e-stop lasts."""
        self._posture: Array | None = None
        self._alarm_s = np.inf
        self.change(gains, compliance)

    def change(self, gains: GainConfig, compliance: ComplianceConfig) -> None:
        """Go on with other settings; a fall that is under way keeps its phase.

        Raises:
            BadInputError: the scales are outside the bounds.
        """
        gains.check_scales(compliance)
        self._gains, self._compliance = gains, compliance
        if self._posture is None:
            self._rearm()
        else:
            self._schedule.change(compliance)

    def _rearm(self) -> None:
        self._posture = None
        self._schedule = ComplianceSchedule(self._gains.servo, (), self._compliance)

    @property
    def busy(self) -> bool:
        """A fall is under way, or its gains are not back yet; otherwise `standing` will do."""
        return self._posture is not None

    def standing(self) -> Scales:
        """The scales of a robot that does not fall."""
        return self._by_mode(Phase.STIFF, 1.0, 1.0)

    def step(
        self, time_s: float, position: Array, goal: Array, fall: FallEstimate,
        impact: ImpactEstimate,
    ) -> Scales:  # fmt: skip
        """Take one reading in.

        Args:
            time_s: its stamp.
            position: measured angles (20,), rad.
            goal: goals that the driver reports (20,), rad.
            fall: of this reading, shape ().
            impact: of this reading, shape ().
        """
        falling = bool(fall.falling)
        if falling and self._posture is None:
            self._posture, self._alarm_s = goal, time_s
        error = np.inf
        if self._posture is not None and time_s - self._alarm_s >= _LEAD_S:
            error = float(pose_error(position, goal, self._posture))
        stiffness, damping = self._schedule.step(np.array(time_s), np.array(error), impact)
        phase = Phase(int(self._schedule.phase))
        if not falling and self._posture is not None and phase in (Phase.STIFF, Phase.DONE):
            self._rearm()
            phase = Phase.STIFF
        return self._by_mode(phase, float(stiffness), float(damping))

    def _by_mode(self, phase: Phase, stiffness: float, damping: float) -> Scales:
        if self._gains.mode == "stiff":
            return Scales(GainPhase.STIFF, 1.0, 1.0)
        if self._gains.mode == "soft":
            soft = self._compliance
            return Scales(GainPhase.SOFT, soft.stiffness_scale, soft.damping_scale)
        return Scales(GainPhase(phase), stiffness, damping)
