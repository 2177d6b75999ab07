# SPDX-License-Identifier: Apache-2.0
"""Stiffness and damping scales over a fall: soft for the impact, restored when the load subsides.

STIFF -- pose reached, or nearly --> SOFT -- impact felt and load subsided --> RESTORE --> DONE
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.robot import Servo
from op3_fall.settings import Settings, setting
from op3_fall.signals import ImpactEstimate

__all__ = ["ComplianceConfig", "ComplianceSchedule", "Phase"]

Array = NDArray[np.float64]

STIFFNESS_RANGE = (0.05, 1.0)
"""Below (P < 40) a joint no longer holds its own link up; above 1 it is stiffer than stock."""
DAMPING_RANGE = (1.0, 4.0)
"""Back-EMF is always there, so not below 1; the D register ends at 4.6."""


class Phase(IntEnum):
    """Where the schedule stands."""

    STIFF = 0
    SOFT = 1
    RESTORE = 2
    DONE = 3


@dataclass(frozen=True)
class ComplianceConfig(Settings):
    """The scales and when they change."""

    stiffness_scale: float = setting(0.8, *STIFFNESS_RANGE)
    """Stiffness while soft, share of the nominal one; allowed 0.05 to 1."""
    damping_scale: float = setting(1.0, *DAMPING_RANGE)
    """Damping while soft, multiple of the nominal one, back-EMF included; allowed 1 to 4."""
    reached_rad: float = setting(0.3, 0.0, np.pi, unit="rad", label="reached angle")
    """The pose counts as nearly reached when the mean error of the joints it moves is below."""
    restore_s: float = setting(0.5, 0.0, 60.0, unit="s", label="restore time")
    """Duration of the ramp back to nominal, s."""
    longest_soft_s: float = setting(2.0, 0.0, 60.0, unit="s", label="longest soft time")
    """Back to nominal after this long even if the load never subsides, s."""


class ComplianceSchedule:
    """Runs the schedule for robots of any leading shape, each with scales of its own."""

    def __init__(
        self,
        servo: Servo,
        shape: tuple[int, ...],
        config: ComplianceConfig | None = None,
        *,
        stiffness_scale: ArrayLike | None = None,
        damping_scale: ArrayLike | None = None,
        restore_s: ArrayLike | None = None,
    ) -> None:
        """Start stiff.

        Args:
            servo: turns scales into registers.
            shape: leading shape (...) of the robots.
            config: the schedule.
            stiffness_scale: (...) to differ from robot to robot; the config's if None.
            damping_scale: likewise.
            restore_s: likewise.
        """
        self.config = config = config or ComplianceConfig()
        self._servo = servo
        soft_k = config.stiffness_scale if stiffness_scale is None else stiffness_scale
        soft_d = config.damping_scale if damping_scale is None else damping_scale
        self._soft_k = np.broadcast_to(np.clip(soft_k, *STIFFNESS_RANGE), shape)
        self._soft_d = np.broadcast_to(np.clip(soft_d, *DAMPING_RANGE), shape)
        self._ramp_s = np.broadcast_to(config.restore_s if restore_s is None else restore_s, shape)
        self.phase = np.full(shape, Phase.STIFF, dtype=np.int64)
        self._since = np.zeros(shape)

    def change(self, config: ComplianceConfig) -> None:
        """Go on with other settings, the same for all robots; the phase stays."""
        self.config = config
        shape = self.phase.shape
        self._soft_k = np.broadcast_to(config.stiffness_scale, shape)
        self._soft_d = np.broadcast_to(config.damping_scale, shape)
        self._ramp_s = np.broadcast_to(config.restore_s, shape)

    def step(self, time_s: Array, error_rad: Array, impact: ImpactEstimate) -> tuple[Array, Array]:
        """Scales of stiffness and damping, (...) each.

        Args:
            time_s: stamp of the reading.
            error_rad: mean distance to the pose over the joints it moves; inf before the alarm.
            impact: from the same reading.
        """
        c, phase = self.config, self.phase
        soft_for = time_s - self._since
        moves = (
            (phase == Phase.STIFF) & (error_rad < c.reached_rad),
            (phase == Phase.SOFT) & (impact.subsided | (soft_for >= c.longest_soft_s)),
            (phase == Phase.RESTORE) & (soft_for >= self._ramp_s),
        )
        moved = moves[0] | moves[1] | moves[2]
        self.phase = phase + moved
        self._since = np.where(moved, time_s, self._since)
        ramp = (time_s - self._since) / np.maximum(self._ramp_s, 1e-9)
        softness = np.select(
            [self.phase == Phase.SOFT, self.phase == Phase.RESTORE], [1.0, 1 - ramp], 0.0
        )
        return 1 + softness * (self._soft_k - 1), 1 + softness * (self._soft_d - 1)
