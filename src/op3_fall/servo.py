# SPDX-License-Identifier: Apache-2.0
"""The XM430-W350 of the OP3's joints: registers, data sheet and SI.

Register values are those of its control table. Sources are named beside the numbers: "e-manual"
is ROBOTIS' XM430-W350 page, "driver" is ROBOTIS-GIT/ROBOTIS-OP3 `jazzy-devel`, "MJCF" is
robotis_op3 in ROBOTIS-GIT/robotis_mujoco_menagerie.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.errors import BadInputError

__all__ = ["Servo", "stall_torque"]

_DATASHEET_V = (11.1, 12.0, 14.8)


def stall_torque(voltage_v: ArrayLike) -> NDArray[np.float64]:
    """Torque at standstill and full duty for supply voltages (...), N m (e-manual)."""
    return np.asarray(np.interp(np.asarray(voltage_v, dtype=float), _DATASHEET_V, (3.8, 4.1, 4.8)))


@dataclass(frozen=True)
class Servo:
    """XM430-W350-R in position mode at a supply voltage: registers <-> SI, as a linear DC motor.

    Position mode commands a voltage, not a current: u = clip(P and D terms) in supply volts and
    torque = stall_torque * (u - speed / no_load_speed). So back-EMF always damps.
    """

    NOMINAL_P = 800
    """position_p_gain that the driver writes at start (dxl_init_OP3.yaml); nominal D is 0."""
    NOMINAL_D = 0

    voltage_v: float = 12.0
    """Supply voltage; 11.1 V (the OP3's battery) to 14.8 V, where the e-manual gives figures."""
    derivative_time_s: float = 1e-3
    """Sampling time inside the servo's D term. ROBOTIS does not publish it: an assumption."""
    nominal_p: int = NOMINAL_P
    """position_p_gain that scale 1 stands for."""
    nominal_d: int = NOMINAL_D
    """position_d_gain that scale 1 stands for."""

    MAX_GAIN = 16383
    """Largest P and D register value (e-manual)."""
    MAX_PWM = 885
    """Largest goal_pwm register value, 100 % duty (e-manual)."""
    ARMATURE_KG_M2 = 0.045
    """Rotor inertia seen through the 353.5:1 gear train (MJCF)."""
    FRICTION_N_M = 0.03
    """Dry friction at the output (MJCF; the e-manual's performance graph suggests up to 0.23)."""

    def __post_init__(self) -> None:
        """Refuse voltages the data sheet says nothing about.

        Raises:
            BadInputError: voltage outside 11.1 to 14.8 V or a derivative time that is not > 0.
        """
        if not 11.1 <= self.voltage_v <= 14.8:
            raise BadInputError(
                f"voltage is {self.voltage_v} V; allowed is 11.1 to 14.8 V; "
                "give the voltage measured under load"
            )
        if not 0 < self.derivative_time_s < 1:
            raise BadInputError(
                f"derivative time is {self.derivative_time_s} s; allowed is above 0 and below 1 "
                "s; give the sampling time of the servo's D term"
            )

    def _datasheet(self, values: tuple[float, float, float]) -> float:
        return float(np.interp(self.voltage_v, _DATASHEET_V, values))

    @cached_property
    def stall_torque_n_m(self) -> float:
        """Torque at standstill and full duty (e-manual)."""
        return float(stall_torque(self.voltage_v))

    @cached_property
    def stall_current_a(self) -> float:
        """Current at standstill and full duty (e-manual)."""
        return self._datasheet((2.1, 2.3, 2.7))

    @cached_property
    def no_load_speed_rad_s(self) -> float:
        """Speed without load at full duty (e-manual: 43, 46, 57 rpm)."""
        return self._datasheet((43, 46, 57)) * 2 * math.pi / 60

    @cached_property
    def back_emf_damping(self) -> float:
        """Damping that no register can take away, unit N m s/rad."""
        return self.stall_torque_n_m / self.no_load_speed_rad_s

    @cached_property
    def stiffness_per_p(self) -> float:
        """Stiffness of one P count, N m/rad: duty = (P/128) * counts / 885 (e-manual)."""
        return self.stall_torque_n_m * (4096 / (2 * math.pi)) / (128 * self.MAX_PWM)

    @cached_property
    def damping_per_d(self) -> float:
        """Damping of one D count, N m s/rad: duty = (D/16) * counts per sample / 885."""
        counts_per_rad = 4096 / (2 * math.pi)
        return (
            self.stall_torque_n_m * counts_per_rad * self.derivative_time_s / (16 * self.MAX_PWM)
        )

    @cached_property
    def effort_per_n_m(self) -> float:
        """The driver's effort reading for one N m of torque made by the motor's current.

        The driver multiplies the current by 2.4817 N m/A (1 / (149.795386991 * 2.69 mA)), the
        ideal motor; the data sheet's stall point is what the output shaft really has.
        """
        return self.stall_current_a / self.stall_torque_n_m / (149.795386991 * 2.69e-3)

    def p_register(self, stiffness_scale: ArrayLike) -> NDArray[np.int64]:
        """P register for a scale (...) on the nominal stiffness, rounded and clamped."""
        raw = np.rint(np.asarray(stiffness_scale, dtype=float) * self.nominal_p)
        return np.minimum(np.maximum(raw, 0), self.MAX_GAIN).astype(np.int64)

    def d_register(self, damping_scale: ArrayLike) -> NDArray[np.int64]:
        """D register for a scale (...) on the *total* nominal damping, rounded and clamped.

        The driver's D is 0, so a factor on the register would do nothing. The scale is on what
        the joint feels, back-EMF included, which no register can take away: D ends at 0.
        """
        nominal = self.back_emf_damping + self.nominal_d * self.damping_per_d
        extra = (np.asarray(damping_scale, dtype=float) - 1.0) * nominal
        raw = np.rint(self.nominal_d + extra / self.damping_per_d)
        return np.minimum(np.maximum(raw, 0), self.MAX_GAIN).astype(np.int64)

    @cached_property
    def max_damping_scale(self) -> float:
        """The damping scale that the largest D register gives."""
        return 1.0 + self.MAX_GAIN * self.damping_per_d / self.back_emf_damping
