# SPDX-License-Identifier: Apache-2.0
"""Play episodes in the simulation, one driver cycle after the other, with the truth beside."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.episodes import Episodes
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import CYCLE_S, Simulation

__all__ = ["Moment", "play"]

Array = NDArray[np.float64]
Respond = Callable[[SensorReading, JointCommand], JointCommand]

_BODY = [i for i, part in enumerate(robot.PARTS) if not part.endswith("foot")]


@dataclass(frozen=True)
class Moment:
    """One driver cycle of n episodes."""

    time_s: float
    """Of the truth, since the start."""
    reading: SensorReading
    """What the driver publishes now, of a cycle ago."""
    gravity: Array
    """True unit vector pointing down in the torso's frame, (n, 3)."""
    floor_force: Array
    """Largest floor force on a part other than the feet within the cycle, N, (n,)."""
    qpos: Array
    """Configuration of the model, for pictures, (n, nq)."""


def play(
    simulation: Simulation,
    episodes: Episodes,
    duration_s: float,
    respond: Respond | None = None,
    *,
    start_s: Array | float = 0.0,
    state: tuple[Array, Array] | None = None,
) -> Iterator[Moment]:
    """Simulate `episodes`, one a simulation.

    Args:
        simulation: as many robots as there are episodes.
        episodes: what happens.
        duration_s: how long each lasts, s.
        respond: makes the command for the servos from the reading and from what the episode
            has the robot do.
        start_s: time of each episode to begin at, (n,); pushes count from the beginning.
        state: of the simulation at that time (`Simulation.state`), if not the episode's start.
    """
    reading = simulation.reset(episodes.scenario)
    if state is not None:
        simulation.place(*state, episodes.command(np.zeros(len(episodes)) + start_s))
    steps = round(CYCLE_S / simulation.dt_s)
    hands = np.isfinite(episodes.hand.start_s).any()
    held_at = simulation.torso_position
    for k in range(round(duration_s / CYCLE_S)):
        now = start_s + np.full(len(episodes), k * CYCLE_S)
        if hands:
            free = now <= episodes.hand.start_s
            held_at[free] = simulation.torso_position[free]
            simulation.hold(_grip(simulation, episodes, now, held_at))
        command = episodes.command(now)
        if respond is not None:
            command = respond(reading, command)
        reading = simulation.advance(command, steps)
        peak = simulation.cycles[-1].peak
        yield Moment(
            (k + 1) * CYCLE_S, reading, simulation.torso_gravity,
            peak.floor_force[:, _BODY].max(axis=-1), simulation.cycles[-1].qpos,
        )  # fmt: skip


def _grip(simulation: Simulation, episodes: Episodes, now: Array, held_at: Array) -> Array:
    physics = simulation.physics
    return episodes.hand.wrench(
        now, held_at, simulation.torso_position, simulation.torso_velocity,
        physics.qpos[:, 3:7], physics.inertial[:, 3:],
    )  # fmt: skip
