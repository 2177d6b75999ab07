# SPDX-License-Identifier: Apache-2.0
"""One phase of a curriculum: what is drawn anew for each episode, and from which ranges.

Nothing else in an episode is random; `draws` makes a scenario of it. All fields are numbers and
flags, so that a phase is a flat mapping in YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from op3_fall.errors import BadInputError, check_choice
from op3_fall.settings import Settings, setting

__all__ = ["Phase", "changed", "check_flag"]

_MASS = (0.0, 0.0, 0.5)
_PAIRS = (
    ("friction_low", "friction_high"),
    ("voltage_low_v", "voltage_high_v"),
    ("push_start_low_s", "push_start_high_s"),
    ("push_duration_low_s", "push_duration_high_s"),
)
_ANY_OF = (
    ("push_weak", "push_normal", "push_strong"),
    ("push_head", "push_torso", "push_hips"),
    ("start_stand", "start_walkready", "start_ini_pose"),
)


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        BadInputError: with what was given, what is allowed and what to do.
    """
    if not isinstance(value, bool):
        raise BadInputError(f"{name} is {value!r}; allowed are true and false; give one of them")


def _flag(default: bool) -> Any:
    return field(default=default, metadata={"flag": True})


@dataclass(frozen=True)
class Phase(Settings):
    """What differs from episode to episode; by default an exact robot, pushed weakly from behind.

    "Up to" a size means: even over minus to plus that size, each component by itself.
    """

    mass_arms: float = setting(*_MASS)
    """Mass and inertia of each part of the arms differ by up to this share; 0 for not at all."""
    mass_legs: float = setting(*_MASS)
    """The same of each part of the legs."""
    mass_head: float = setting(*_MASS)
    """The same of the head."""
    mass_torso: float = setting(*_MASS)
    """The same of the torso."""
    joint_offset_rad: float = setting(0.0, 0.0, 0.2, unit="rad", label="joint offset")
    """Each encoder reads up to this much beside the true angle, rad."""
    joint_noise_rad: float = setting(0.0, 0.0, 0.05, unit="rad", label="joint noise")
    """White noise on the measured angles: each robot's standard deviation is even from 0 to this,
    rad."""
    imu_errors: float = setting(0.0, 0.0, 5.0)
    """Bias, noise and mounting of the IMU, as a multiple of what the detectors were measured with
    (docs/detection.md): 1 is up to 1.1 deg/s, 15 mg and 1.2 degrees; 0 is an exact IMU."""
    friction_low: float = setting(0.0, 0.0, 2.0)
    """Least sliding friction of the floor; 0 here and in friction_high keeps the model's."""
    friction_high: float = setting(0.0, 0.0, 2.0)
    """Largest sliding friction of the floor."""
    voltage_low_v: float = setting(12.0, 11.1, 14.8, unit="V", label="least voltage")
    """Least supply voltage, V: it sets what the servos can do."""
    voltage_high_v: float = setting(12.0, 11.1, 14.8, unit="V", label="largest voltage")
    """Largest supply voltage, V."""
    servo_strength: float = setting(0.0, 0.0, 0.5)
    """The servos' strength differs from what the voltage gives by up to this share."""
    latency_s: float = setting(0.0, 0.0, 0.05, unit="s", label="command latency")
    """Commands take longer by a time that is even from 0 to this, s."""
    slope_rad: float = setting(0.0, 0.0, 0.15, unit="rad", label="slope")
    """The floor is inclined by an angle that is even from 0 to this, any way, rad."""
    bumps: bool = _flag(False)
    """Ridges of 2 cm lie around the robot, clear of its feet."""
    push_front: bool = _flag(True)
    """Pushes to the front, within 22.5 degrees. What lies between two of front, back and sides,
    the diagonals, comes with both of them; all three are all around. Without any of the three
    nobody pushes."""
    push_back: bool = _flag(False)
    """Pushes to the back, likewise."""
    push_sides: bool = _flag(False)
    """Pushes to the left and to the right, likewise."""
    push_weak: bool = _flag(True)
    """Pushes that topple a standing robot to the front, but not always elsewhere: 1.3 to 1.8 N s
    at the head of a standing robot. Other parts and poses get the same moment about the floor."""
    push_normal: bool = _flag(False)
    """Pushes that topple it to any side: 1.8 to 3 N s, likewise."""
    push_strong: bool = _flag(False)
    """Violent pushes: 3 to 4 N s, likewise."""
    push_head: bool = _flag(True)
    """Some pushes are at the head."""
    push_torso: bool = _flag(False)
    """Some pushes are at the torso."""
    push_hips: bool = _flag(False)
    """Some pushes are at the left or right hip."""
    push_duration_low_s: float = setting(0.1, 0.02, 0.5, unit="s", label="shortest push")
    """Shortest push, s; a longer one of the same impulse is softer."""
    push_duration_high_s: float = setting(0.1, 0.02, 0.5, unit="s", label="longest push")
    """Longest push, s."""
    push_start_low_s: float = setting(0.5, 0.35, 2.0, unit="s", label="earliest push")
    """Earliest begin of the push, s; the detector knows nothing before it has settled (0.3 s)."""
    push_start_high_s: float = setting(0.5, 0.35, 2.0, unit="s", label="latest push")
    """Latest begin of the push, s; an episode lasts 5 s."""
    start_stand: bool = _flag(True)
    """Some episodes begin standing upright, arms hanging."""
    start_walkready: bool = _flag(False)
    """Some begin in the posture in which the robot walks."""
    start_ini_pose: bool = _flag(False)
    """Some begin in the driver's deep crouch."""
    pose_jitter_rad: float = setting(0.0175, 0.0, 0.1, unit="rad", label="pose jitter")
    """Each start angle differs by up to this much, rad."""

    def __post_init__(self) -> None:
        """Check every field, and what must fit together.

        Raises:
            BadInputError: a value of the wrong kind or outside its range, a range that ends
                before it begins, or nothing to choose from.
        """
        super().__post_init__()
        for f in fields(self):
            if "flag" in f.metadata:
                check_flag(f.name.replace("_", " "), getattr(self, f.name))
        for low, high in _PAIRS:
            self._check_pair(low, high)
        for names in _ANY_OF:
            if not any(getattr(self, name) for name in names):
                raise BadInputError(
                    f"none of {', '.join(names)} is true; allowed is one or more; choose from them"
                )

    def _check_pair(self, low: str, high: str) -> None:
        least, most = getattr(self, low), getattr(self, high)
        if least > most:
            raise BadInputError(
                f"{low} is {least:g}, {high} {most:g}; allowed is a range from low to high; give "
                "both, low first"
            )


def changed(phase: Phase, values: Mapping[Any, Any]) -> Phase:
    """`phase` with these fields, by name, in place of its own.

    Raises:
        BadInputError: an unknown field, or a value that `Phase` refuses.
    """
    for name in values:
        check_choice("field", name, (f.name for f in fields(Phase)), remedy="correct the name")
    return replace(phase, **values)
