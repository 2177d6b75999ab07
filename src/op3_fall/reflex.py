# SPDX-License-Identifier: Apache-2.0
"""The reflex on the robot: on a fall take the joints over, then stream targets at 50 Hz.

The driver ignores targets while a module owns the joints, and a module may be slow to let go.
Until it has, the targets are the measured pose, so that the first one that acts moves nothing.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.fall_detection import FallPhase
from op3_fall.safety import TargetGuard
from op3_fall.settings import Settings, setting
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["FallReflex", "Move", "Policy", "ReflexConfig", "ScriptedPolicy"]

Array = NDArray[np.float64]


class Policy(Protocol):
    """What decides on the targets during a fall."""

    def reset(self, reading: SensorReading) -> JointCommand:
        """A fall begins at this pose."""
        ...

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        """Targets and gains for the next control period."""
        ...


class ScriptedPolicy:
    """Drives to one protective pose, whatever the fall."""

    def __init__(self, goal: ArrayLike) -> None:
        """Goal pose (20,), rad."""
        self._command = JointCommand.hold(goal)

    def reset(self, reading: SensorReading) -> JointCommand:
        """Nothing to forget."""
        return JointCommand.hold(reading.position)

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        """The pose, whatever the reading."""
        return self._command


@dataclass(frozen=True)
class ReflexConfig(Settings):
    """When the reflex streams targets."""

    control_period_s: float = setting(0.02, 0.008, 0.1, unit="s")
    """Time between two targets, s; the driver's cycle is 0.008 s."""
    linger_s: float = setting(1.0, 0.0, 3600.0, unit="s")
    """The last target is repeated for this long once the robot is down, s; then the driver holds
    it."""


@dataclass(frozen=True)
class Move:
    """What to send after a reading."""

    take_over: bool = False
    """Brake a running action and ask for the joints."""
    target: Array | None = None
    """Goal angles (20,), rad; None: nothing is due."""
    gains: JointCommand | None = None
    """What the policy wants the gains to be, with the target."""
    notes: tuple[str, ...] = ()
    """What the guard refused or changed, for the log."""


class FallReflex:
    """Runs a policy through the falls of one robot; every target passes the guard."""

    def __init__(
        self, policy: Policy, guard: TargetGuard, config: ReflexConfig, *, sets_gains: bool
    ) -> None:
        """Wait for a fall; `sets_gains` if the policy's gains count, else the schedule's do."""
        self.policy, self.config = policy, config
        self._sets_gains = sets_gains
        self._guard = guard
        self._due_s = np.inf
        self._sent_s = -np.inf
        self._active = False
        self._moving = False
        self._down_since = np.inf
        self._wanted: JointCommand | None = None

    @property
    def active(self) -> bool:
        """A fall is being met."""
        return self._active

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate, *,
        owned: bool, hold: bool,
    ) -> Move:  # fmt: skip
        """Take one reading of one robot in.

        Args:
            reading: shape ().
            fall: from the same reading.
            impact: from the same reading.
            owned: no module owns a joint, so targets act.
            hold: a fault or the e-stop: no new target, the driver holds the last one.
        """
        now, phase = float(reading.time_s), int(fall.phase)
        down = phase == FallPhase.DOWN
        self._down_since = min(self._down_since, now) if down else np.inf
        over = phase == FallPhase.NORMAL or now - self._down_since > self.config.linger_s
        begins = not self._active and phase in (FallPhase.FALLING, FallPhase.IMPACT)
        self._active = not over and (self._active or begins)
        self._moving &= not begins
        if begins or (owned and not self._moving):  # the pose is due as soon as it can act
            self._due_s = now
        # Half a driver cycle of tolerance: stamps jitter, and 20 ms lie between two cycles.
        if not self._active or hold or now < self._due_s - 0.004:
            return Move(take_over=begins)
        late = now - self._due_s > self.config.control_period_s
        self._due_s = (now if late else self._due_s) + self.config.control_period_s
        since, self._sent_s = now - self._sent_s, now
        if not (self._moving and owned):
            self._moving = owned
            self._guard.start(reading.position)
            self._wanted = self.policy.reset(reading)
            return Move(take_over=begins, target=reading.position)
        # Who lies rests: what a policy does there it has not learned.
        wanted = self._wanted if down and self._wanted else self.policy.step(reading, fall, impact)
        self._wanted = wanted
        target, notes = self._guard.step(wanted.position, reading.position, since)
        return Move(target=target, gains=wanted if self._sets_gains else None, notes=notes)
