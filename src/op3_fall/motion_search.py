# SPDX-License-Identifier: Apache-2.0
"""Search for a protective motion by the cross-entropy method.

Candidates are drawn around a mean, all meet the same falls, and the best of them say where to draw
next (de Boer, Kroese, Mannor and Rubinstein, 2005, with the ranks as weights). A motion stays what
it is through a fall, so a search finds what an exploration that trembles in each step does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.compliance import STIFFNESS_RANGE
from op3_fall.damage import Tolerances, damage_shares
from op3_fall.detectors import DetectorConfig, Detectors, suited
from op3_fall.envs.draws import draw_scenario
from op3_fall.envs.phase import Phase
from op3_fall.metrics import score
from op3_fall.motion_controller import MotionController
from op3_fall.protective import DIRECTIONS, SYMMETRIC, Motion, ProtectiveMotions
from op3_fall.scenarios import Scenario
from op3_fall.search import SearchConfig
from op3_fall.simulation import CONTROL_PERIOD_S, Simulation
from op3_fall.truth import Measurement

__all__ = ["Generation", "cost", "draw_falls", "search", "to_motion", "to_vector"]

Array = NDArray[np.float64]

_FIRST_SEED = 2**40
"""Training draws from seeds below, evaluation from 2**41 on."""
FALLS = Phase(
    push_back=True, push_sides=True, push_normal=True, push_strong=True, push_start_low_s=0.36,
    push_start_high_s=0.36, imu_errors=1.0, joint_noise_rad=0.0015, latency_s=0.02, mass_arms=0.1,
    mass_legs=0.1, mass_torso=0.1, friction_low=0.3, friction_high=1.1, servo_strength=0.1,
)  # fmt: skip
"""What a motion is tried in; of it, falls to one side."""
_WATCHED_S = 1.6
"""Of each fall: the contact comes after 1 s at the latest."""
_POSE_RAD, _LEARNING, _LEAST_SPREAD = 0.6, 0.6, 0.04
_TILT_LOW, _TILT_SPAN = 0.3, 1.0
_RIGHT = np.array([i for i, j in enumerate(robot.JOINTS) if j.startswith("r_")])
_LEFT = robot.MIRROR_INDEX[_RIGHT]
_STAND = robot.POSES["stand"]


@dataclass(frozen=True)
class Generation:
    """What a round of the search gave."""

    motions: ProtectiveMotions
    """All, that of the direction with the mean to draw from next."""
    best: float
    """Least cost of a candidate, on this round's falls."""
    mean: float
    """Cost of the mean before, on the same falls."""


def to_vector(motion: Motion, direction: str) -> Array:
    """What the search changes of a motion, (d,): all but the head, which looks ahead.

    Poses in units of 0.6 rad, the rest on a scale on which 0 is the middle of the range.
    """
    both = direction in SYMMETRIC
    poses = [
        (pose[joints] - _STAND[joints]) / _POSE_RAD
        for pose in (motion.early, motion.landing)
        for joints in ((_RIGHT,) if both else (_RIGHT, _LEFT))
    ]
    tilts = np.array([motion.landing_tilt_rad, motion.soft_tilt_rad])
    low, high = STIFFNESS_RANGE
    shares = [(tilts - _TILT_LOW) / _TILT_SPAN]
    shares += [(scales - low) / (high - low) for scales in (motion.arms, motion.legs)]
    share = np.clip(np.concatenate(shares), 0.01, 0.99)
    return np.concatenate([*poses, np.log(share / (1 - share))])


def to_motion(vectors: Array, direction: str) -> Motion:
    """The motions of vectors (..., d); what joints cannot do ends at their limits."""
    both, k = direction in SYMMETRIC, len(_RIGHT)
    poses: dict[str, Array] = {}
    start = 0
    for name in ("early", "landing"):
        pose = np.broadcast_to(_STAND, (*vectors.shape[:-1], robot.NUM_JOINTS)).copy()
        for joints in (_RIGHT,) if both else (_RIGHT, _LEFT):
            pose[..., joints] += _POSE_RAD * vectors[..., start : start + k]
            start += k
        if both:
            pose[..., _LEFT] = robot.mirror_joints(pose)[..., _LEFT]
        poses[name] = np.clip(pose, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)
    share = 1 / (1 + np.exp(-vectors[..., start:]))
    tilts = _TILT_LOW + _TILT_SPAN * share[..., :2]
    low, high = STIFFNESS_RANGE
    scales = low + (high - low) * share[..., 2:]
    return Motion(
        poses["early"], poses["landing"], tilts[..., 0], tilts[..., 1],
        scales[..., :3], scales[..., 3:],
    )  # fmt: skip


def draw_falls(direction: str, seed: int, n: int) -> Scenario:
    """N falls to that side, other ones for each seed."""
    # An eighth of all pushes goes there; four times as many as needed are always enough of them.
    seeds = _FIRST_SEED + seed * 2**20 + np.arange(32 * n + 256)
    drawn = draw_scenario(FALLS, seeds, np.zeros_like(seeds))
    left = np.arctan2(drawn.push_force[:, 1], drawn.push_force[:, 0])
    sector = np.rint(left / (np.pi / 4)).astype(int) % 8
    return drawn.take(np.flatnonzero(sector == DIRECTIONS.index(direction))[:n])


def cost(truth: Measurement, tolerances: Tolerances) -> Array:
    """What falls cost, (n,): the damage index, and all loads, so that none is paid with another.

    The damage index by itself says nothing of all loads but the worst, and nothing of the servos
    as long as something else is nearer to its tolerance: drive that no longer helps has to cost
    something.
    """
    shares = [np.nan_to_num(s, nan=_BROKEN) for s in damage_shares(truth, tolerances).values()]
    scores = {name: np.nan_to_num(value) for name, value in score(truth).items()}
    worst = (np.max(shares, axis=0) + np.linalg.norm(shares, ord=4, axis=0)) / 2
    blows = sum(scores[name] / size for name, size in _BLOWS.items()) / 4
    long = np.minimum(truth.impact_saturated_s / _SATURATED_S, 1.0)
    saturation = ((truth.impact_saturated_s > 0) + long) / 2
    servos = scores["peak_torque_load_n_m"] / _LOAD_N_M + saturation
    return 2 * worst / _DAMAGE + blows / 2 + servos + 4 * scores["head_contact_share"]


_BROKEN = 12.0
"""Share of the tolerance where the physics broke down."""
_DAMAGE = 1.36
_BLOWS = {
    "peak_head_acceleration_g": 37.0, "peak_floor_force_n": 830.0, "worst_gear_load_n_m": 30.0
}  # fmt: skip
_LOAD_N_M = 7.1
"""The project's goals over all directions, from `op3-fall evaluate`: damage index 40 % and blows
on head and parts 68 % below those of frozen joints, gear and torque loads half of the scripted
pose's."""
_SATURATED_S = 0.1
"""So long a saturation costs as much as that torque load; a shorter one costs half of it and a
share, or no search would find its way out of a place where all candidates saturate."""


def search(
    start: ProtectiveMotions, direction: str, config: SearchConfig, tolerances: Tolerances
) -> Iterator[Generation]:
    """Better and better motions for one direction, round by round.

    Each candidate is tried among the motions of the other directions, since what the robot does
    lies between two of them, and the detector may see a fall go elsewhere than the push went.

    Args:
        start: with the motion to draw the first candidates around.
        direction: of the falls, one of `DIRECTIONS`.
        config: how long and how widely.
        tolerances: what a part takes.
    """
    rng, m, n = np.random.default_rng(config.seed), config.candidates, config.falls
    if config.arms_only:
        start = ProtectiveMotions({d: m.arms_only for d, m in start.by_direction.items()})
    mean = to_vector(start.by_direction[direction], direction)
    spread = np.full(len(mean), config.spread)
    weight = np.log(m // 4 + 0.5) - np.log(1 + np.arange(m // 4))
    weight /= weight.sum()
    simulation = Simulation(m * n, profile="extended")

    def moved(vectors: Array) -> Motion:
        motion = to_motion(vectors, direction)
        return motion.arms_only if config.arms_only else motion

    for number in range(config.generations):
        vectors = mean + spread * rng.normal(size=(m, len(mean)))
        vectors[0] = mean
        falls = draw_falls(direction, config.seed * config.generations + number, n)
        tried = moved(np.repeat(vectors, n, axis=0))
        motions = start.replaced(direction, tried)
        truth = _try(simulation, falls.take(np.tile(np.arange(n), m)), motions)
        costs = cost(truth, tolerances).reshape(m, n).mean(axis=1)
        best = vectors[np.argsort(costs)[: m // 4]]
        drift = np.sqrt(weight @ (best - mean) ** 2)
        mean = mean + _LEARNING * (weight @ best - mean)
        spread = np.maximum(spread + (1 - _LEARNING) * (drift - spread), _LEAST_SPREAD)
        found = start.replaced(direction, moved(mean))
        yield Generation(found, float(costs.min()), float(costs[0]))


def _try(simulation: Simulation, falls: Scenario, motions: ProtectiveMotions) -> Measurement:
    reading = simulation.reset(falls)
    watch = Detectors(reading, simulation.servo, suited(DetectorConfig(), "extended"))
    control = MotionController(motions.targets, falls.position, simulation.servo)
    fall, impact = watch.step(reading)
    for _ in range(round(_WATCHED_S / CONTROL_PERIOD_S)):
        reading = simulation.step(control.step(reading, fall, impact))
        for cycle in simulation.cycles:
            fall, impact = watch.step(cycle.reading)
    return simulation.measure()
