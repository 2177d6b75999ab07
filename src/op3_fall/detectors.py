# SPDX-License-Identifier: Apache-2.0
"""Both detectors together: a reading in, what it says of the fall and of the impact out."""

from dataclasses import dataclass, field, replace

from op3_fall import robot
from op3_fall.fall_detection import FallDetector, FallRule
from op3_fall.impact_detection import ImpactDetector, ImpactRule
from op3_fall.rows import Rows
from op3_fall.settings import Settings
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading

__all__ = ["DetectorConfig", "Detectors", "suited"]


@dataclass(frozen=True)
class DetectorConfig(Settings):
    """All that `config/detector.yaml` holds."""

    fall: FallRule = field(default_factory=FallRule)
    """When a robot falls."""
    impact: ImpactRule = field(default_factory=ImpactRule)
    """When a blow is an impact."""


def suited(config: DetectorConfig, profile: str) -> DetectorConfig:
    """For readings of a sensor profile: those of the ideal one have no low-pass and no age."""
    if profile != "ideal":
        return config
    attitude = replace(config.fall.attitude, driver_filter=1.0, age_s=0.0)
    return replace(config, fall=replace(config.fall, attitude=attitude))


class Detectors:
    """Run on a stream of readings of any leading shape."""

    def __init__(
        self, first: SensorReading, servo: robot.Servo, config: DetectorConfig | None = None
    ) -> None:
        """Start from a reading (...) of a robot at rest."""
        config = config or DetectorConfig()
        self.fall = FallDetector(first, config.fall)
        self.impact = ImpactDetector(first, servo, config.impact)

    def change(self, config: DetectorConfig) -> None:
        """Go on with other parameters."""
        self.fall.rule, self.impact.rule = config.fall, config.impact

    def replace(self, rows: Rows, other: "Detectors") -> None:
        """Go on with another's k robots at `rows` (k,) of n; the parameters stay."""
        self.fall.replace(rows, other.fall)
        self.impact.replace(rows, other.impact)

    def step(self, reading: SensorReading) -> tuple[FallEstimate, ImpactEstimate]:
        """Take one reading (...) in."""
        fall = self.fall.step(reading)
        impact = self.impact.step(reading, fall)
        if impact.onset.any():
            fall = self.fall.hit(fall, impact.onset)
        return fall, impact
