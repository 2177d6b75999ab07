# SPDX-License-Identifier: Apache-2.0
"""Laws of the environments: mirror, energy, falls as drawn, no leaks, age, sensible rewards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from mirror_samples import joined, mirrored, symmetric_model
from numpy.typing import NDArray

gymnasium = pytest.importorskip("gymnasium")

from op3_fall import robot, sensors  # noqa: E402
from op3_fall.action import DELTA_RAD  # noqa: E402
from op3_fall.envs import IDS, CurriculumManager, Op3FallControlEnv  # noqa: E402
from op3_fall.envs.batch import FallBatch, Moment  # noqa: E402
from op3_fall.envs.draws import draw_scenario  # noqa: E402
from op3_fall.envs.phase import Phase  # noqa: E402
from op3_fall.model import Op3Model  # noqa: E402
from op3_fall.resources import resource  # noqa: E402
from op3_fall.scenarios import Scenario  # noqa: E402
from op3_fall.simulation import CONTROL_PERIOD_S, CYCLE_S  # noqa: E402

Array = NDArray[np.float64]

ARMS, ARMS_LEGS, ROLL = IDS
LSB_RAD = 2 * np.pi / sensors.POSITION_COUNTS
HIPS = [i for i, part in enumerate(robot.PARTS) if part.endswith("_hip")]


@pytest.fixture(params=IDS)
def id_(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def shipped(id_: str) -> list[Phase]:
    file = resource(f"config/curriculum/{IDS[id_].curriculum_file}")
    return list(CurriculumManager.from_yaml(file).phases.values())


def make(id_: str, *phases: Phase, **options: Any) -> Op3FallControlEnv:
    return IDS[id_](curriculum=CurriculumManager(phases or (Phase(),)), **options)


def begun(task: Op3FallControlEnv, scenario: Scenario) -> FallBatch:
    batch = task.make_batch(len(scenario))
    batch.reset(np.arange(len(batch)), scenario)
    return batch


def first_episodes(phase: Phase, n: int) -> Scenario:
    return draw_scenario(phase, np.arange(n), np.zeros(n, dtype=np.int64))


def still(batch: FallBatch) -> Array:
    """Actions that leave the joints where they are measured."""
    return np.zeros((len(batch), batch._takeover.codec.last_action.shape[-1]))


def apart(angle: Array, other: Array) -> Array:
    return np.abs((angle - other + np.pi) % (2 * np.pi) - np.pi)


# Mirror


def mirror_scenario(scenario: Scenario) -> Scenario:
    """As a mirror shows it, with the IMU's errors; noise has no mirror image and is taken out."""
    none = np.zeros(len(scenario))
    here = replace(scenario, gyro_noise=none, accelerometer_noise=none, joint_noise=none)
    there = replace(
        mirrored(here),
        gyro_bias=here.gyro_bias * [-1, 1, -1],
        accelerometer_bias=here.accelerometer_bias * [1, -1, 1],
        imu_mounting=here.imu_mounting * [1, -1, 1, -1],
    )
    return joined(here, there)


def symmetric(task: Op3FallControlEnv) -> Op3Model:
    return symmetric_model(bumps=any(p.bumps for p in task.curriculum.phases.values()))


class Twins:
    """N robots and n mirrored ones under mirrored actions."""

    def __init__(self, task: Op3FallControlEnv, scenario: Scenario, seed: int) -> None:
        self.n = len(scenario)
        self._seen, self._done = task.mirror
        self._batch = begun(task, mirror_scenario(scenario))
        self._rng = np.random.default_rng(seed)
        self.over = np.zeros(self.n, dtype=bool)

    def step(self) -> tuple[Moment, Array, Array, Array]:
        """What happened, and how far the twins are apart: observation, reward, angles, (n,)."""
        n = self.n
        action = self._rng.uniform(-1, 1, (n, len(self._done.index)))
        moment = self._batch.step(np.concatenate([action, self._done.apply(action)]))
        self.over |= moment.terminated[:n]
        seen = self._seen.apply(moment.observation[:n].astype(float)) - moment.observation[n:]
        angles = self._batch.simulation.true_joints
        angles = robot.mirror_joints(angles[:n]) - angles[n:]
        reward = np.abs(moment.reward[:n] - moment.reward[n:])
        return moment, np.abs(seen).max(axis=-1), reward, np.abs(angles).max(axis=-1)


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_symmetric_robot_falls_as_its_mirror_image_does(
    id_: str, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exact sensing, as the two halves of the driver's encoder scale differ.

    Rounding errors of 1e-15 grow by contacts, to 3e-8 rad at the end of 200 falls measured.
    """
    monkeypatch.setattr(IDS[id_], "load_model", symmetric)
    phase = shipped(id_)[which]
    twins = Twins(make(id_, phase, profile="ideal"), first_episodes(phase, 8), seed=1)
    acted = np.zeros(16, dtype=bool)
    for _ in range(100):
        moment, seen, reward, angles = twins.step()
        acted |= moment.info["acting"]
        flags = np.array([moment.terminated, *(moment.info[f] for f in ("acting", "impact"))])
        on = ~twins.over
        np.testing.assert_array_equal(flags[:, :8][:, on], flags[:, 8:][:, on])
        free = on & ~flags[2, :8]
        assert angles[free].max(initial=0) < 1e-10 and angles[on].max(initial=0) < 1e-5
        # Observations are float32.
        assert seen[free].max(initial=0) < 1e-6 and seen[on].max(initial=0) < 1e-2
        assert reward[free].max(initial=0) < 1e-10 and reward[on].max(initial=0) < 1e-2
    assert (acted & flags[2]).mean() > 0.7, "the test is about falls"


def test_the_shipped_robot_falls_nearly_as_its_mirror_image_does(id_: str) -> None:
    """Its head's centre of mass is off the middle, and its encoders' halves differ."""
    n = 16
    twins = Twins(make(id_), first_episodes(Phase(), n), seed=1)
    worst, hit = np.zeros(n), np.zeros(n, dtype=bool)
    for _ in range(70):
        moment, _, _, angles = twins.step()
        hit |= moment.info["impact"][:n] | moment.info["impact"][n:]
        worst = np.where(hit, worst, np.maximum(worst, angles))
    assert hit.all() and np.median(worst) < 0.015


# Energy


def test_without_torque_a_fall_loses_energy() -> None:
    """From the push's end and the alarm on; what a soft contact gives back is below 0.01 J."""
    phase = shipped(ROLL)[0]
    batch = begun(make(ROLL, phase, control="torque"), first_episodes(phase, 8))
    mj = batch.simulation.model.mj
    data, end_s = mujoco.MjData(mj), phase.push_start_high_s + phase.push_duration_high_s

    def energy_j(qpos: Array, qvel: Array) -> float:
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_fwdPosition(mj, data)
        mujoco.mj_energyPos(mj, data)
        mujoco.mj_energyVel(mj, data)
        return float(data.energy.sum())

    energy, free = [], []
    for _ in range(120):
        moment = batch.step(still(batch))
        free.append(moment.info["acting"] & (batch.truth.time_s > end_s))
        energy.append([energy_j(*state) for state in zip(*batch.simulation.state, strict=True)])
    assert batch.truth.hit.all()
    # In the step after the alarm the posture is held until the driver's next cycle.
    gain = np.where(np.array(free)[:-2], np.diff(energy, axis=0)[1:], 0.0)
    assert gain.max() < 0.01
    assert (gain.sum(axis=0) < -5).all(), "the fall's energy has gone"


# Falls as drawn


@pytest.fixture(scope="module")
def falls() -> dict[str, dict[str, NDArray]]:
    """64 falls with frozen joints of each phase of each task: (phases, 64) each."""
    return {id_: _falls(id_, 64) for id_ in IDS}


def _falls(id_: str, n: int) -> dict[str, NDArray]:
    phases = shipped(id_)
    scenario = joined(*(first_episodes(phase, n) for phase in phases))
    batch = begun(make(id_, *phases), scenario)
    warned = np.zeros(len(batch), dtype=bool)
    side = np.full(len(batch), np.nan)
    action = still(batch)
    for _ in range(75):
        info = batch.step(action).info
        falling = info["acting"] & ~info["impact"]
        warned |= falling
        side = np.where(falling, batch.fall.fall_angle, side)
    pushed = np.arctan2(-scenario.push_force[:, 1], scenario.push_force[:, 0])
    found = {
        "fell": info["impact"], "diverged": info["diverged"], "warned": warned,
        "side": side, "pushed": pushed, "hips": np.isin(scenario.push_part, HIPS),
    }  # fmt: skip
    return {name: value.reshape(len(phases), n) for name, value in found.items()}


def test_who_is_pushed_falls_and_the_alarm_comes_first(
    id_: str, falls: dict[str, dict[str, NDArray]]
) -> None:
    found = falls[id_]
    assert not found["diverged"].any()
    assert (found["fell"].mean(axis=1) > 0.85).all()
    in_time = (found["warned"] & found["fell"]).sum(axis=1) / found["fell"].sum(axis=1)
    assert (in_time > 0.8).all() and (in_time[:-1] > 0.95).all()


def test_the_fall_goes_where_the_push_goes(id_: str, falls: dict[str, dict[str, NDArray]]) -> None:
    """At head or torso: hips that are pushed away leave the rest of the body behind."""
    found = falls[id_]
    known = np.isfinite(found["side"]) & ~found["hips"]
    off = np.where(known, apart(found["side"], found["pushed"]), np.nan)
    assert (np.nanmedian(off, axis=1) < 0.4).all()
    assert (np.nanmean(np.where(known, off < np.pi / 4, np.nan), axis=1) > 0.75).all()


def test_falls_that_the_arms_alone_are_to_meet_go_to_the_front(
    falls: dict[str, dict[str, NDArray]],
) -> None:
    found = falls[ARMS]
    assert (np.abs(found["pushed"]) < np.pi / 8 + 1e-9).all()
    front = np.where(np.isfinite(found["side"]), np.abs(found["side"]) < np.pi / 4, np.nan)
    assert (np.nanmean(front, axis=1) > 0.9).all()


def test_exact_sensing_knows_from_the_start_where_down_is(id_: str) -> None:
    batch = begun(make(id_, profile="ideal"), first_episodes(Phase(), 16))
    tilt = [batch.fall.tilt]
    for _ in range(20):
        batch.step(still(batch))
        tilt.append(batch.fall.tilt)
    assert np.max(tilt) < 0.1


# Episodes on their own


@pytest.mark.parametrize(
    ("id_", "control"),
    [*((id_, "position") for id_ in IDS), (ROLL, "velocity"), (ROLL, "torque")],
)
def test_an_episode_after_a_violent_one_is_as_in_a_fresh_environment(
    id_: str, control: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Robots flail and fall, one's physics breaks down; then each begins anew at its own time."""
    monkeypatch.chdir(tmp_path)  # MuJoCo logs there that a simulation diverged.
    task, n, steps = make(id_, shipped(id_)[-1], control=control), 4, 60
    used, fresh = (task.make_batch(n) for _ in range(2))
    rng = np.random.default_rng(7)
    shape = (steps, *still(used).shape)
    actions = rng.uniform(-1, 1, shape)
    for batch in (used, fresh):
        batch.seeds[:] = np.arange(n)
    fresh.episodes[:] = 1
    expected = [fresh.reset(np.arange(n))]
    moments = [fresh.step(action) for action in actions]
    expected += [moment.observation for moment in moments]

    # After even numbers of steps, when the drivers' rhythm is as at the start.
    start = 36 + 2 * rng.choice(12, n, replace=False)
    used.reset(np.arange(n))
    for step in range(start.max() + steps):
        if step == 20:
            used.simulation.physics.qvel[0] = np.nan
        for k in np.nonzero(start == step)[0]:
            seen = used.reset(np.array([k]))
            np.testing.assert_array_equal(seen[k], expected[0][k])
        age = step - start
        action = np.where(
            (age >= 0)[:, None],
            actions[np.clip(age, 0, steps - 1), np.arange(n)],
            rng.choice([-1.0, 1.0], shape[1:]),
        )
        moment = used.step(action)
        if step == 25:
            assert moment.info["diverged"].tolist() == [True, False, False, False]
        for k in np.nonzero((age >= 0) & (age < steps))[0]:
            _same(moment, moments[age[k]], int(k))
    assert (used.episodes == 2).all()


def _same(moment: Moment, other: Moment, k: int) -> None:
    assert moment.reward[k] == other.reward[k] and moment.terminated[k] == other.terminated[k]
    np.testing.assert_array_equal(moment.observation[k], other.observation[k])
    mine, theirs = moment.info["metrics"], other.info["metrics"]
    np.testing.assert_array_equal([v[k] for v in mine.values()], [v[k] for v in theirs.values()])


# Time


def test_an_observation_is_the_sample_of_the_last_driver_cycle_but_one() -> None:
    """So it is 8 ms old, or 12 when the control step ends between two cycles."""
    task = make(ARMS, Phase(push_strong=True, push_weak=False))
    batch = begun(task, first_episodes(task.curriculum.phase, 4))
    spec, arms = task.policy_spec, [robot.JOINT_INDEX[j] for j in robot.ARMS]
    angle = spec.observation[0].terms[0]
    low, high = np.array(angle.low), np.array(angle.high)
    joints = batch.simulation.model.qpos_index[arms]
    rng, history, off = np.random.default_rng(0), [], []
    for step in range(1, 71):
        moment = batch.step(rng.uniform(-1, 1, still(batch).shape))
        history += batch.simulation.cycles
        seen = low + (moment.observation[:, : len(arms)] + 1) / 2 * (high - low)
        past = np.array([cycle.qpos[:, joints] for cycle in history[-3:]])
        if len(past) == 3:
            off.append(np.abs(past - seen).max(axis=(1, 2)))
            age_s = step * CONTROL_PERIOD_S - history[-2].reading.time_s
            np.testing.assert_allclose(age_s, 0.008 if step % 2 == 0 else 0.012, atol=1e-9)
    worst = np.max(off, axis=0)
    assert worst[1] < 2 * LSB_RAD and min(worst[0], worst[2]) > 10 * LSB_RAD


def test_latency_delays_what_actions_do_by_whole_driver_cycles(id_: str) -> None:
    latency_s = np.array([0.0, 0.003, 0.005, 0.011, 0.02, 0.05])
    cycles = [0, 0, 1, 1, 2, 6]
    n = len(latency_s)
    late = replace(Scenario.standing(n).take(np.zeros(n, int)), latency_s=latency_s,
                   push_force=np.tile([20.0, 3.0, 0.0], (n, 1)), push_start_s=np.full(n, 0.5),
                   push_duration_s=np.full(n, 0.1))  # fmt: skip
    batch = begun(make(id_), joined(late, late))
    action = np.concatenate([np.ones_like(still(batch)[:n]), -np.ones_like(still(batch)[:n])])
    first_s, acting_s = np.full(n, np.inf), np.full(n, np.inf)
    for step in range(60):
        # Before the alarm the actions do nothing.
        acting = batch._takeover.acting[:n]
        acting_s = np.where(acting, np.minimum(acting_s, step * CONTROL_PERIOD_S), acting_s)
        batch.step(action)
        for cycle in batch.simulation.cycles:
            differs = (cycle.qpos[:n] != cycle.qpos[n:]).any(axis=-1)
            first_s = np.where(differs, np.minimum(first_s, cycle.reading.time_s[:n]), first_s)
    # Written in the first cycle after the action, a goal moves the joints by the next one.
    written = np.floor(acting_s / CYCLE_S + 1e-6) + 1
    np.testing.assert_array_equal(np.rint(first_s / CYCLE_S) - written - 1, cycles)


# Rewards


def test_arms_that_brace_are_worth_more_than_arms_that_hang() -> None:
    task = make(ARMS)
    arms = [robot.JOINT_INDEX[j] for j in robot.ARMS]
    goal = task.reward.goal[arms]
    n = 32
    falls = first_episodes(Phase(), n)
    batch = begun(task, joined(falls, falls))
    reward, on = np.zeros(2 * n), np.ones(2 * n, dtype=bool)
    for _ in range(115):
        action = still(batch)
        way = goal - batch.reading.position[:n, arms]
        action[:n, : len(arms)] = np.clip(way / DELTA_RAD, -1, 1)
        action[:n, len(arms) :] = 1.0  # at half their stiffness the arms give way
        moment = batch.step(action)
        reward += np.where(on, moment.reward, 0.0)
        on &= ~moment.terminated
    assert reward[:n].mean() > reward[n:].mean()
    assert batch.success[:n].all() and not batch.success[n:].any()
