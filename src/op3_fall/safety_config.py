# SPDX-License-Identifier: Apache-2.0
"""What the gate lets through, and when the sensors count as broken."""

from dataclasses import dataclass

from op3_fall.compliance import DAMPING_RANGE, STIFFNESS_RANGE
from op3_fall.errors import BadInputError
from op3_fall.settings import Settings, setting

__all__ = ["SafetyConfig"]


@dataclass(frozen=True)
class SafetyConfig(Settings):
    """What is let through, and when the sensors count as broken."""

    warn_after_s: float = setting(0.024, 0.008, 10.0, unit="s", label="warning age")
    """A sensor reading older than this is a warning, s; 0.024 is three cycles of the driver."""
    fault_after_s: float = setting(0.1, 0.008, 10.0, unit="s", label="fault age")
    """A sensor reading older than this is a fault, s."""
    frozen_after_s: float = setting(0.1, 0.016, 10.0, unit="s", label="frozen time")
    """An IMU that turns and yet repeats itself for longer than this is a fault, s."""
    noisy_imu: bool = False
    """The IMU has noise, as every real one: then repeating itself is a fault at rest too."""
    max_time_step_s: float = setting(0.5, 0.016, 60.0, unit="s", label="time step")
    """Stamps that jump forward by more than this, or backward at all, are a fault, s."""
    recover_after_s: float = setting(0.5, 0.0, 60.0, unit="s", label="recovery time")
    """A sensor fault ends when the sensors have been healthy for this long, s."""
    max_target_speed_rad_s: float = setting(25.0, 0.1, 1000.0, unit="rad/s", label="target speed")
    """Fastest change of a target, rad/s. The default lets 0.5 rad through in 20 ms; 0.217 rad
    already saturate a servo at P 800, so a target that is slowed down slows no joint."""
    damped_stiffness_scale: float = setting(0.2, *STIFFNESS_RANGE)
    """Stiffness on a fault, share of the nominal one."""
    damped_damping_scale: float = setting(2.0, *DAMPING_RANGE)
    """Damping on a fault, multiple of the nominal one, back-EMF included."""

    def __post_init__(self) -> None:
        """Refuse what protects nothing.

        Raises:
            BadInputError: a value outside its range, or a fault before its warning.
        """
        super().__post_init__()
        if self.warn_after_s > self.fault_after_s:
            raise BadInputError(
                f"warning age is {self.warn_after_s:g} s, fault age {self.fault_after_s:g} s; "
                "allowed is a warning no later than the fault; set both together"
            )
