# SPDX-License-Identifier: Apache-2.0
"""One simulated OP3 behind its simulated driver, a driver cycle at a time: the node `sim` bare."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike

from op3_fall import robot, sensors
from op3_fall.driver import Driver, DriverCycle
from op3_fall.driver_events import CYCLE_S
from op3_fall.model import load_model
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.settings import Settings, choice, setting
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import Simulation

__all__ = ["SimConfig", "Twin", "TwinCycle"]

_OTHERS = np.array([part not in ("l_foot", "r_foot") for part in robot.PARTS])
_COMMAND = fields(JointCommand)


@dataclass(frozen=True)
class SimConfig(Settings):
    """What is simulated. All but the real-time factor takes effect at start and at a reset."""

    real_time_factor: float = setting(1.0, 0.0, 100.0, label="real-time factor")
    """Simulated seconds in a second; 0 for as many as the machine can. At once."""
    stop_after_s: float = setting(0.0, 0.0, 1e6, unit="s", label="stop time")
    """The node ends after this simulated time, resets included, s; 0 to run on."""
    profile: str = choice("stock", *sensors.PROFILES)
    """What the driver reads; stock: velocity and effort are zero (ROBOTIS' own OP3.robot)."""
    start_pose: str = choice("stand", "stand", "ini_pose")
    """stand: upright, joints owned by base_module at rest; ini_pose: the driver's own start in
    its crouch, which base_module holds for 4 s."""
    merge_bug: bool = True
    """Register items that arrive in one driver cycle spoil each other, as in the real driver."""
    voltage_v: float = setting(12.0, 11.1, 14.8, unit="V", label="voltage")
    """Supply voltage under load, V: 11.1 on the OP3's battery, 12 on its power supply."""
    model: str = ""
    """MJCF file with the OP3's joints; empty for this package's own, menagerie for MuJoCo's."""
    viewer: bool = False
    """Show MuJoCo's viewer; only at start."""
    push_force_n: float = setting(0.0, 0.0, 1000.0, unit="N", label="push force")
    """Size of a push at the head after the start and after each reset, N; 0 for none."""
    push_direction_deg: float = setting(0.0, -180.0, 180.0, unit="deg", label="push direction")
    """Where it pushes to, degrees: 0 front, 90 right, -90 left, 180 back."""
    push_duration_s: float = setting(0.1, 0.0, 60.0, unit="s", label="push duration")
    """How long it lasts, s."""
    push_after_s: float = setting(1.0, 0.0, 60.0, unit="s", label="push start")
    """When it begins, s of simulated time."""
    seed: int = setting(-1, -1, 2**31)
    """The experiment's seed for the jitter of push and start pose; -1: no jitter."""
    fall: int = setting(1, 1, 10**6, label="number of the fall")
    """Which of the experiment's falls, from 1; falls 1 and 2 are alike, 3 and 4, and so on."""


@dataclass(frozen=True)
class TwinCycle:
    """One driver cycle as it is published."""

    time_s: float
    """Stamp of everything in it."""
    reading: SensorReading
    """One robot's, offsets taken off; the IMU's part repeats while it is frozen."""
    driver: DriverCycle
    impact: bool
    """A part other than the feet has touched the floor since the last cycle."""


class Twin:
    """The robot, its driver and their time."""

    def __init__(self, config: SimConfig, start_s: float) -> None:
        """Put the robot up.

        Args:
            config: what is simulated.
            start_s: time of the cycle before the first.

        Raises:
            BadInputError: the model cannot be used.
        """
        self.servo = robot.Servo(config.voltage_v)
        model = load_model(config.model, servo=self.servo)
        self.simulation = Simulation(1, model=model, profile=config.profile, threads=1)
        start = _start(config)
        position = start.position[0]
        self._reading = self._imu = _one(self.simulation.reset(start))
        self.driver = Driver(
            position, servo=self.servo, merge_bug=config.merge_bug,
            boot=config.start_pose == "ini_pose",
        )  # fmt: skip
        self.start_s, self._cycles = start_s, 0
        self._steps = round(CYCLE_S / self.simulation.dt_s)

    @property
    def broken(self) -> bool:
        """The physics broke down; only a new start helps."""
        return bool(self.simulation.measure().diverged[0])

    @property
    def time_s(self) -> float:
        """Stamp of the last cycle."""
        return self.start_s + self._cycles * CYCLE_S

    def push(self, body: str, force_n: ArrayLike, duration_s: float) -> None:
        """Push a body from now on, as `Simulation.push` does.

        Raises:
            BadInputError: from there.
        """
        self.simulation.push(body, force_n, duration_s)

    def cycle(self) -> TwinCycle:
        """One driver cycle: 8 ms of physics, at their end reading out and command in."""
        driver = self.driver.cycle(self._reading.position)
        command = JointCommand(*(getattr(driver.command, f.name)[None] for f in _COMMAND))
        reading = _one(self.simulation.advance(command, self._steps))
        self._cycles += 1
        self._reading = reading
        if not driver.imu_frozen:
            self._imu = reading
        floor = self.simulation.cycles[-1].peak.floor_force[0]
        shown = replace(
            reading, position=reading.position - driver.position_offset,
            angular_velocity=self._imu.angular_velocity, orientation=self._imu.orientation,
            linear_acceleration=self._imu.linear_acceleration,
        )  # fmt: skip
        return TwinCycle(self.time_s, shown, driver, bool(floor[_OTHERS].any()))


def _start(config: SimConfig) -> Scenario:
    """The start pose and the push that the configuration asks for."""
    push = PushSpec(
        force_n=config.push_force_n, duration_s=config.push_duration_s,
        direction_deg=config.push_direction_deg, start_s=config.push_after_s,
    )  # fmt: skip
    if config.seed >= 0:
        return pushed_stand(push, [(config.fall - 1) // 2], seed=config.seed)
    sure = replace(push, force_jitter=0, direction_jitter_deg=0, pose_jitter_deg=0)
    standing = pushed_stand(sure, [0], seed=0)
    return replace(standing, position=robot.POSES[config.start_pose][None])


def _one(batch: SensorReading) -> SensorReading:
    """The only robot of a batch."""
    return SensorReading(*(getattr(batch, f.name)[0] for f in fields(batch)))
