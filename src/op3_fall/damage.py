# SPDX-License-Identifier: Apache-2.0
"""What a part takes, and how near a fall came to it: the damage index.

No source says what an OP3 takes. Every tolerance here is a judgement, with its reason; another one
goes into a copy of config/tolerances.yaml (`op3-fall evaluate --tolerances FILE`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.truth import Measurement

__all__ = ["Tolerances", "damage_index", "damage_shares"]

Array = NDArray[np.float64]

_STALL_N_M = robot.Servo().stall_torque_n_m


@dataclass(frozen=True)
class Tolerances(Settings):
    """What is tolerable once in a fall, by what it happens to."""

    head_speed_m_s: float = setting(1.0, 0.01, 10.0, unit="m/s")
    """Head at its first contact with the floor: a drop from 5 cm onto the camera."""
    head_acceleration_g: float = setting(100.0, 1.0, 1000.0, unit="g")
    """Head, in g of 9.81 m/s^2: what a stiff fall onto the arms gives it; onto torso or back it is
    150 g."""
    head_force_n: float = setting(145.0, 1.0, 10_000.0, unit="N")
    """Floor on the head: 100 g on its own mass, 0.148 kg. It carries the camera."""
    torso_force_n: float = setting(1323.0, 1.0, 10_000.0, unit="N")
    """Floor on the torso: 100 g on its own mass, 1.349 kg. It carries computer and battery."""
    servo_case_force_n: float = setting(1000.0, 1.0, 10_000.0, unit="N")
    """Floor on upper arms, hips and thighs, which land on the servos' cases: what each hand takes
    in a stiff fall onto both."""
    frame_force_n: float = setting(1500.0, 1.0, 10_000.0, unit="N")
    """Floor on forearms with hands, shins and feet: frames with nothing in them, so half again
    as much."""
    gear_load_n_m: float = setting(10 * _STALL_N_M, 0.1, 1000.0, unit="N m")
    """Torque through a gear train: ten times the stall torque. No source says what the XM430's
    metal gears take; stiff falls load them with 30 to 80 N m."""
    servo_torque_n_m: float = setting(_STALL_N_M, 0.1, 100.0, unit="N m")
    """Torque that a motor's current makes: the data sheet's stall torque at 12 V."""
    servo_impulse_n_m_s: float = setting(5 * _STALL_N_M, 0.1, 1000.0, unit="N m s")
    """Torque over time in one servo: five seconds of stall, after which the XM430's overload
    protection would long have cut in."""
    servo_energy_j: float = setting(2.0, 0.01, 100.0, unit="J")
    """Work that the fall does on one servo: four times what its rotor holds at no-load speed
    (0.5 J), a quarter of what the whole robot loses in a fall (8 J)."""

    @property
    def floor_force_n(self) -> Array:
        """Of each part in `robot.PARTS`, N, (14,)."""
        return np.array([self._floor_force_n(part) for part in robot.PARTS])

    def _floor_force_n(self, part: str) -> float:
        if part in ("head", "torso"):
            return float(getattr(self, f"{part}_force_n"))
        bare = part.endswith(("forearm", "shank", "foot"))
        return self.frame_force_n if bare else self.servo_case_force_n


def damage_shares(truth: Measurement, tolerances: Tolerances) -> Mapping[str, Array]:
    """Each load of n falls over its tolerance, (n,) each; NaN for a fall that diverged.

    All from the first contact of a part other than the feet on; 0 for who did not fall.
    """
    peak = truth.impact_peak
    shares = {
        "head_speed": np.nan_to_num(truth.head_contact_speed) / tolerances.head_speed_m_s,
        "head_acceleration": peak.head_acceleration / (GRAVITY * tolerances.head_acceleration_g),
        "floor_force": (peak.floor_force / tolerances.floor_force_n).max(axis=-1),
        "gear_load": peak.gear_load.max(axis=-1) / tolerances.gear_load_n_m,
        "servo_torque": peak.torque.max(axis=-1) / tolerances.servo_torque_n_m,
        "servo_impulse": truth.impact_impulse.max(axis=-1) / tolerances.servo_impulse_n_m_s,
        "servo_energy": truth.impact_energy.max(axis=-1) / tolerances.servo_energy_j,
    }
    return {name: np.where(truth.diverged, np.nan, share) for name, share in shares.items()}


def damage_index(truth: Measurement, tolerances: Tolerances) -> Array:
    """The worst of the shares, (n,): above 1 something took more than it should."""
    return np.max(list(damage_shares(truth, tolerances).values()), axis=0)
