# SPDX-License-Identifier: Apache-2.0
"""Terms of the reward: when each counts, its scale, and laws that hold for any outcome."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

pytest.importorskip("gymnasium")

from op3_fall import robot
from op3_fall.envs import rewards
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import TOLERANCE_N, RewardConfig, RewardWeights
from op3_fall.errors import BadInputError
from op3_fall.experiment import load_goal
from op3_fall.model import load_model
from op3_fall.sensors import GRAVITY
from op3_fall.truth import Peaks

Array = NDArray[np.float64]
SEEDS = st.integers(0, 10_000)
CONFIG = RewardConfig()
PEAKS = tuple(f.name for f in fields(Peaks))
EL, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["r_knee"]


def outcome(**given: ArrayLike) -> Outcome:
    """Of one robot in the protective pose that has noticed its fall and feels nothing, or the
    given values in it; names of `Peaks` too: the largest so far, `last_` before."""
    n = next((len(np.asarray(value)) for value in given.values()), 1)
    at_goal, actions = np.tile(CONFIG.goal, (n, 1)), np.zeros((n, 6))
    none, zero = np.zeros(n, dtype=bool), np.zeros(n)
    values: dict[str, Any] = {
        "fell": ~none, "hit": none, "at_rest": none, "diverged": none, "position": at_goal,
        "goal": at_goal, "action": actions, "last_action": actions, "saturated_share": zero,
        "head_hit_speed": zero, "com_speed": zero, "last_com_speed": zero,
        **{last + name: getattr(Peaks.zeros(n), name) for name in PEAKS for last in ("", "last_")},
    }  # fmt: skip
    values |= {name: np.asarray(value) for name, value in given.items()}
    worst, last_worst = (
        Peaks(*(values.pop(last + name) for name in PEAKS)) for last in ("", "last_")
    )
    return Outcome(peak=worst, worst=worst, last_worst=last_worst, **values)


def any_values(seed: int, n: int = 5) -> dict[str, NDArray[Any]]:
    """Fields of an outcome: from nothing to far beyond what a fall can do."""
    rng = np.random.default_rng(seed)
    flags = {name: rng.uniform(size=n) < 0.7 for name in ("fell", "hit")}
    size = 10.0 ** rng.uniform(-2, 5)
    values = flags | {
        "position": rng.uniform(-math.pi, math.pi, (n, 20)),
        "goal": rng.uniform(-math.pi, math.pi, (n, 20)),
        "action": rng.uniform(-1, 1, (n, 6)),
        "last_action": rng.uniform(-1, 1, (n, 6)),
        "saturated_share": rng.uniform(0, 1, n),
        **{name: rng.uniform(0, 5, n) for name in
           ("head_hit_speed", "com_speed", "last_com_speed")},
        **{name: size * rng.uniform(0, 1, getattr(Peaks.zeros(n), name).shape)
           for name in PEAKS},
    }  # fmt: skip
    before = {
        f"last_{name}": values[name]
        * rng.uniform(0, 1, n).reshape(-1, *[1] * (values[name].ndim - 1))
        for name in PEAKS
    }
    return values | before


def all_terms(of: Outcome) -> dict[str, Array]:
    return rewards.fall_terms(of, CONFIG) | rewards.roll_terms(of)


@given(SEEDS)
def test_every_term_is_a_bounded_penalty(seed: int) -> None:
    for name, term in all_terms(outcome(**any_values(seed))).items():
        assert term.shape == (5,), name
        assert ((term >= -10) & (term <= 0)).all(), name


@given(SEEDS)
def test_nothing_counts_before_the_fall_is_noticed(seed: int) -> None:
    before = any_values(seed) | {"fell": np.zeros(5, dtype=bool)}
    for name, term in all_terms(outcome(**before)).items():
        np.testing.assert_array_equal(term, 0.0, name)


def test_a_robot_that_diverged_costs_nothing_and_the_others_what_they_cost_alone() -> None:
    values = any_values(1)
    whole = all_terms(outcome(**values))
    broken = {
        name: np.where(np.arange(5).reshape(-1, *[1] * (v.ndim - 1)) == 2, np.nan, v)
        if v.dtype == float else v for name, v in values.items()
    }  # fmt: skip
    terms = all_terms(outcome(**broken, diverged=np.arange(5) == 2))
    for name, term in terms.items():
        expected = np.where(np.arange(5) == 2, 0.0, whole[name])
        np.testing.assert_array_equal(term, expected, name)


@given(SEEDS)
def test_robot_k_of_a_batch_costs_what_it_costs_alone(seed: int) -> None:
    values = any_values(seed)
    batch = {name: np.asfortranarray(v) for name, v in values.items()}
    terms = all_terms(outcome(**batch))
    alone = all_terms(outcome(**{name: v[3:4].copy() for name, v in values.items()}))
    for name, term in terms.items():
        np.testing.assert_array_equal(term[3:4], alone[name], name)


SIDES = str.maketrans("lr", "rl")
TWIN_PART = [
    robot.PARTS.index(p[0].translate(SIDES) + p[1:] if p[1] == "_" else p) for p in robot.PARTS
]


@given(SEEDS)
def test_a_mirrored_fall_costs_the_same(seed: int) -> None:
    values = any_values(seed)
    turned = {
        **values,
        "position": robot.mirror_joints(values["position"]),
        "goal": robot.mirror_joints(values["goal"]),
        "torque": values["torque"][:, robot.MIRROR_INDEX],
        "gear_load": values["gear_load"][:, robot.MIRROR_INDEX],
        "floor_force": values["floor_force"][:, TWIN_PART],
        "last_torque": values["last_torque"][:, robot.MIRROR_INDEX],
        "last_gear_load": values["last_gear_load"][:, robot.MIRROR_INDEX],
        "last_floor_force": values["last_floor_force"][:, TWIN_PART],
    }
    there = all_terms(outcome(**turned))
    for name, term in all_terms(outcome(**values)).items():
        np.testing.assert_allclose(there[name], term, rtol=1e-9, atol=1e-12, err_msg=name)


def peaks(name: str, index: int, value: float) -> Array:
    shape = getattr(Peaks.zeros(1), name).shape
    values = np.zeros(shape)
    values[0, index] = value
    return values


def moved(joint: int, rad: float) -> Array:
    position = CONFIG.goal[None].copy()
    position[0, joint] += rad
    return position


def at_limit(joint: int, short_of_rad: float = 0.0) -> Array:
    position = CONFIG.goal[None].copy()
    position[0, joint] = robot.UPPER_LIMIT_RAD[joint] - short_of_rad
    return position


G100 = 100 * GRAVITY
DEG = math.pi / 180
HEAD, TORSO, HAND, FOOT = (robot.PARTS.index(p) for p in ("head", "torso", "l_forearm", "r_foot"))
AFTER, BEFORE = {"hit": [True]}, {"hit": [False]}
BY_HAND: list[tuple[str, dict[str, Any], float]] = [
    ("head_impact", {"head_hit_speed": [math.sqrt(2 * 9.80665 * 0.47)]}, -1.0),
    ("head_impact", {"head_hit_speed": [1.0]}, -0.32936),
    ("pose", {"position": moved(EL, 0.6)}, -0.1),
    ("pose", {"position": moved(EL, -0.6)}, -0.1),
    ("pose", {"position": moved(KNEE, 0.6)}, 0.0),
    ("pose", {"position": moved(EL, 0.6)} | AFTER, 0.0),
    ("torque_load", {"torque_load": [3.5]}, -0.25),
    ("torque_load", {"torque_load": [10.5], "last_torque_load": [7.0]}, -0.25),
    ("saturation", {"saturated_share": [0.25]} | AFTER, -0.25),
    ("action_rate", {"action": -np.ones((1, 6)), "last_action": np.ones((1, 6))}, -1.0),
    ("action_rate", {"action": [[1.0, 0, 0, 0, 0, 0]]}, -1 / 24),
    ("joint_limits", {"position": at_limit(KNEE)}, -1 / 20),
    ("joint_limits", {"position": at_limit(KNEE), "goal": at_limit(KNEE)}, -1 / 20),
    ("joint_limits", {"goal": at_limit(EL, 2.5 * DEG)}, -0.5 / 20),
    ("joint_limits", {"goal": at_limit(EL, 5.1 * DEG)}, 0.0),
    ("part_impact", {"floor_force": peaks("floor_force", FOOT, 1500)}, -1.0),
    ("part_impact", {"floor_force": peaks("floor_force", HAND, 750)}, -0.25),
    ("part_impact", {"floor_force": peaks("floor_force", HEAD, 290)}, -4.0),
    ("part_impact", {"floor_force": peaks("floor_force", TORSO, 1e6)}, -10.0),
    (
        "part_impact",
        {
            "floor_force": peaks("floor_force", FOOT, 1500),
            "last_floor_force": peaks("floor_force", FOOT, 1500),
        },
        0.0,
    ),
    (
        "part_impact",
        {
            "floor_force": peaks("floor_force", FOOT, 1500),
            "last_floor_force": peaks("floor_force", HAND, 750),
        },
        -0.75,
    ),
    ("head_acceleration", {"head_acceleration": [G100 / 2]}, -0.25),
    ("head_acceleration", {"head_acceleration": [G100], "last_head_acceleration": [G100]}, 0.0),
    ("gear_load", {"gear_load": peaks("gear_load", EL, 20.5)}, -0.25),
    ("impact_power", {"last_com_speed": [2.0], "com_speed": [1.0]} | AFTER, -0.37436),
    ("impact_power", {"last_com_speed": [1.0], "com_speed": [2.0]} | AFTER, 0.0),
    ("impact_power", {"last_com_speed": [2.0], "com_speed": [1.0]} | BEFORE, 0.0),
]


@pytest.mark.parametrize(("name", "values", "expected"), BY_HAND)
def test_terms_computed_by_hand(name: str, values: dict[str, Any], expected: float) -> None:
    term = all_terms(outcome(**values))[name]
    assert term.tolist() == pytest.approx([expected], rel=1e-4)


@given(SEEDS)
def test_a_fall_costs_what_its_worst_blow_costs_alone(seed: int) -> None:
    """However the blows before and after it are spread over the steps."""
    rng = np.random.default_rng(seed)
    steps = 6
    worst = {name: np.maximum.accumulate(rng.uniform(0, 0.5, (steps, *value.shape[1:]))
                                         * scale) for name, value, scale in (
        ("floor_force", Peaks.zeros(1).floor_force, 145.0),
        ("head_acceleration", Peaks.zeros(1).head_acceleration, G100),
        ("gear_load", Peaks.zeros(1).gear_load, 41.0),
        ("torque_load", Peaks.zeros(1).torque_load, 14.0),
    )}  # fmt: skip
    before = {f"last_{name}": np.concatenate([np.zeros((1, *v.shape[1:])), v[:-1]])
              for name, v in worst.items()}  # fmt: skip
    spread = all_terms(outcome(**worst, **before))
    at_once = all_terms(outcome(**{name: v[-1:] for name, v in worst.items()}))
    for name in ("part_impact", "head_acceleration", "gear_load", "torque_load"):
        assert spread[name].sum() == pytest.approx(at_once[name][0]), name
        assert at_once[name][0] < 0


@given(st.integers(2, 20), st.floats(0.1, 3.0))
def test_the_same_energy_lost_evenly_over_k_steps_costs_a_kth(k: int, speed: float) -> None:
    energy = np.linspace(speed**2, 0, k + 1)
    slowing = np.sqrt(energy)
    hit = np.ones(k, dtype=bool)
    slow = rewards.impact_power(
        outcome(hit=hit, last_com_speed=slowing[:-1], com_speed=slowing[1:])
    )
    at_once = rewards.impact_power(outcome(hit=hit[:1], last_com_speed=[speed]))
    assert slow.sum() == pytest.approx(at_once[0] / k)


def test_the_protective_pose_moves_the_arms_alone_and_presses_no_limit() -> None:
    """The experiment's can be had by name."""
    legs = [robot.JOINT_INDEX[joint] for joint in robot.LEGS]
    np.testing.assert_array_equal(CONFIG.goal[legs], robot.POSES["stand"][legs])
    np.testing.assert_array_equal(RewardConfig(pose="protect_front").goal, load_goal(None))
    np.testing.assert_array_equal(robot.mirror_joints(CONFIG.goal), CONFIG.goal)
    for term in all_terms(outcome()).values():
        assert term.tolist() == [0.0]


def test_the_pose_counts_over_the_joints_that_the_config_names() -> None:
    config = RewardConfig(pose={"r_knee": -0.5}, joints=("l_el", "r_knee"))
    term = rewards.fall_terms(outcome(), config)["pose"]
    assert term.tolist() == pytest.approx([-0.25])


def test_head_and_torso_take_100_g_of_the_models_masses() -> None:
    model = load_model()
    for part in ("head", "torso"):
        index = robot.PARTS.index(part)
        mass_kg = model.mj.body_mass[model.part_bodies[index]].sum()
        assert TOLERANCE_N[index] == pytest.approx(mass_kg * G100, rel=2e-3)


def test_every_term_has_a_weight_and_every_weight_a_term() -> None:
    assert set(all_terms(outcome())) == {f.name for f in fields(RewardWeights)}


def test_weights_multiply_and_a_weight_of_0_reports_0() -> None:
    terms = {"pose": np.array([-0.5, 0.0]), "gear_load": np.array([-2.0, -1.0])}
    given = rewards.weighted(terms, RewardWeights(pose=3.0, gear_load=0.0))
    assert {name: str(v.tolist()) for name, v in given.items()} == {
        "pose": "[-1.5, 0.0]", "gear_load": "[0.0, 0.0]",
    }  # fmt: skip


REFUSED = [
    ({"pose": "yoga"},
     "protective pose 'yoga' is unknown; allowed are stand, ini_pose, walkready, "
     "protect_front, brace_front; choose one of them"),
    ({"pose": {"l_knee": 9.0}},
     "protective pose: l_knee is 9.0 rad; allowed is -0.3142 to 2.4835 rad; "
     "choose an angle in that range"),
    ({"joints": ()},
     "the pose's reward has the joints []; allowed is each joint once, at least one; "
     "correct the list"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "text"), REFUSED, ids=["name", "angle", "joints"])
def test_a_config_that_means_nothing_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        RewardConfig(**settings)
    assert str(caught.value) == text


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(BadInputError) as caught:
        RewardWeights(head_impact=-1.0)
    assert str(caught.value) == (
        "head impact is -1; allowed is from 0 to 100; choose a value of head impact in that range"
    )
