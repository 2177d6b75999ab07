# SPDX-License-Identifier: Apache-2.0
"""Observation and action blocks: values computed by hand, mirror, batches, refusals."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from policy_samples import ACTIONS, ARMS, OBSERVATIONS, RESIDUALS, fall, reading, row

from op3_fall import action, observation, robot
from op3_fall.action import ActionDecoder, Targets
from op3_fall.blocks import Block, Term
from op3_fall.errors import BadInputError
from op3_fall.observation import FallAngle, ObservationBuilder, Observed
from op3_fall.safety import SafetyConfig, TargetGuard
from op3_fall.signals import FallEstimate, SensorReading

Array = NDArray[np.float64]
SERVO = robot.Servo()
EL, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["r_knee"]


def observed(
    seen: SensorReading,
    estimate: FallEstimate,
    stiffness: ArrayLike = 1.0,
    damping: ArrayLike = 1.0,
    last: ArrayLike | None = None,
) -> Observed:
    shape = seen.position.shape
    n = sum(len(block.names) for block in ACTIONS)
    last = np.zeros((*shape[:-1], n)) if last is None else np.asarray(last, dtype=float)
    k, d = (np.broadcast_to(np.asarray(s, dtype=float), shape) for s in (stiffness, damping))
    return Observed(seen, estimate, SERVO.effort_per_n_m, k, d, last)


def values(block: Block, seen: Observed) -> list[float]:
    return ObservationBuilder([block]).build(seen).tolist()


def at(joint: int, value: float, base: float = 0.0) -> Array:
    vector = np.full(20, base)
    vector[joint] = value
    return vector


ELBOW_LOW, ELBOW_HIGH = robot.LOWER_LIMIT_RAD[EL], robot.UPPER_LIMIT_RAD[EL]
HALF_LOAD = at(KNEE, 4.1 / 2 * SERVO.effort_per_n_m)

HAND_COMPUTED: list[tuple[str, Block, Observed, list[float]]] = [
    ("angle at its limits and between",
     observation.obs_joint(["l_el"], torque_load=False),
     observed(reading(position=at(EL, ELBOW_LOW + 0.75 * (ELBOW_HIGH - ELBOW_LOW))), fall()),
     [0.5]),
    ("angle beyond the limit", observation.obs_joint(["l_el"], torque_load=False),
     observed(reading(position=at(EL, ELBOW_HIGH + 0.1)), fall()), [1.0]),
    ("torque is effort over the driver's factor, over the stall torque",
     observation.obs_joint(["l_el", "r_knee"], angle=False),
     observed(reading(effort=HALF_LOAD), fall()), [0.0, 0.5]),
    ("fall velocity", observation.obs_fall_vel(),
     observed(reading(), fall(fall_velocity=-2.5)), [-0.25]),
    ("fast", observation.obs_fall_vel_discrete(), observed(reading(), fall(fast=True)), [1.0]),
    ("normal", observation.obs_fall_vel_discrete(), observed(reading(), fall(fast=False)), [-1.0]),
    ("to the right", observation.obs_fall_angle(),
     observed(reading(), fall(fall_angle=math.pi / 2)), [0.5]),
    ("direction of four", observation.obs_fall_angle_discrete(FallAngle.FOUR),
     observed(reading(), fall(fall_angle=-1.0, phase=1)), [-1, -1, -1, 1]),
    ("direction of eight", observation.obs_fall_angle_discrete(FallAngle.EIGHT),
     observed(reading(), fall(fall_angle=3.0, phase=2)), [-1, -1, -1, -1, 1, -1, -1, -1]),
    ("no direction while normal", observation.obs_fall_angle_discrete(),
     observed(reading(), fall(phase=0)), [-1] * 4),
    ("stiffness 0.05 to 1", observation.obs_kp(["l_el", "r_knee"]),
     observed(reading(), fall(), stiffness=at(EL, 0.05, 1.0)), [-1.0, 1.0]),
    ("damping 1 to 4", observation.obs_kd(["r_knee", "l_el"]),
     observed(reading(), fall(), damping=at(EL, 2.5, 1.0)), [-1.0, 0.0]),
    ("gravity", observation.gravity(),
     observed(reading(), fall(gravity=[0.6, 0.0, -0.8])), [0.6, 0.0, -0.8]),
    ("gyro, clipped", observation.angular_velocity(),
     observed(reading(angular_velocity=[1.0, -5.0, 20.0]), fall()), [0.1, -0.5, 1.0]),
    ("phase", observation.phase(), observed(reading(), fall(phase=2)), [-1, -1, 1, -1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "seen", "expected"),
    [c[1:] for c in HAND_COMPUTED],
    ids=[c[0] for c in HAND_COMPUTED],
)
def test_values_computed_by_hand(block: Block, seen: Observed, expected: list[float]) -> None:
    assert values(block, seen) == pytest.approx(expected, abs=1e-12)


def test_the_last_action_comes_back_in_its_order() -> None:
    last = np.linspace(-1, 1, sum(len(b.names) for b in ACTIONS))
    block = observation.last_action(ACTIONS)
    assert values(block, observed(reading(), fall(), last=last)) == pytest.approx(last)
    assert block.names[0] == f"last_action/delta/{ARMS[0]}"


@pytest.mark.parametrize("dirs", FallAngle)
@given(angle=st.floats(-math.pi, math.pi))
def test_a_fall_has_one_sector_and_it_holds_the_angle(dirs: FallAngle, angle: float) -> None:
    block = observation.obs_fall_angle_discrete(dirs)
    one_hot = values(block, observed(reading(), fall(fall_angle=angle, phase=1)))
    assert one_hot.count(1.0) == 1 and one_hot.count(-1.0) == len(one_hot) - 1
    centre = one_hot.index(1.0) * 2 * math.pi / len(one_hot)
    off = abs((angle - centre + math.pi) % (2 * math.pi) - math.pi)
    assert off <= math.pi / len(one_hot) + 1e-9


def test_the_eight_sectors_are_those_of_the_estimate() -> None:
    estimate = fall((100,), phase=np.ones(100))
    seen = observed(reading((100,)), estimate)
    block = observation.obs_fall_angle_discrete(FallAngle.EIGHT)
    built = ObservationBuilder([block]).build(seen)
    np.testing.assert_array_equal(built.argmax(axis=-1) + 1, estimate.direction)


MIRROR_VECTOR = np.array([1.0, -1.0, 1.0])


def mirrored(seen: Observed) -> Observed:
    """The same fall seen in a mirror: vectors turn y over, pseudovectors (the gyro) x and z."""
    r, f = vars(seen.reading), vars(seen.fall)
    r = r | {"position": robot.mirror_joints(r["position"]),
             "effort": robot.mirror_joints(r["effort"]),
             "angular_velocity": -MIRROR_VECTOR * r["angular_velocity"]}  # fmt: skip
    f = f | {"fall_angle": -f["fall_angle"], "gravity": MIRROR_VECTOR * f["gravity"]}
    k, d = (s[..., robot.MIRROR_INDEX] for s in (seen.stiffness_scale, seen.damping_scale))
    return Observed(
        SensorReading(**r), FallEstimate(**f), seen.effort_per_n_m, k, d, seen.last_action
    )


SIDES = {"l_": "r_", "r_": "l_"}
TWIN_SECTOR = {"R": "L", "L": "R", "FR": "FL", "FL": "FR", "BR": "BL", "BL": "BR"}


def mirror_of(name: str) -> tuple[float, str]:
    """Sign and name of the value that becomes `name` in the mirror."""
    quantity, _, label = name.partition("/")
    sign = 1.0
    if quantity in ("angle", "torque_load"):
        sign = robot.MIRROR_SIGN[robot.JOINT_INDEX[label]]
    elif name in ("fall_angle", "gravity/y", "angular_velocity/x", "angular_velocity/z"):
        sign = -1.0
    label = TWIN_SECTOR.get(label, SIDES.get(label[:2], label[:2]) + label[2:])
    return sign, f"{quantity}/{label}" if label else quantity


@given(st.integers(0, 10_000))
def test_every_block_mirrors_by_exchanging_sides_and_signs(seed: int) -> None:
    blocks = [block for block in OBSERVATIONS if block.name != "last_action"]
    blocks += [observation.obs_joint(robot.HEAD + robot.LEGS)]
    names = [name for block in blocks for name in block.names]
    rng = np.random.default_rng(seed)
    seen = observed(reading(seed=seed), fall(seed=seed),
                    rng.uniform(0, 1, 20), rng.uniform(1, 4, 20))  # fmt: skip
    builder = ObservationBuilder(blocks)
    here, there = (builder.build(each) for each in (seen, mirrored(seen)))
    pairs = [mirror_of(name) for name in names]
    expected = [sign * here[names.index(twin)] for sign, twin in pairs]
    np.testing.assert_array_equal(there, expected)


def test_row_k_of_a_batch_is_robot_k_alone() -> None:
    shape = (2, 3)
    rng = np.random.default_rng(0)
    n = sum(len(block.names) for block in ACTIONS)
    many = observed(
        reading(shape), fall(shape), rng.uniform(0, 1, (*shape, 20)),
        rng.uniform(1, 4, (*shape, 20)), rng.uniform(-1, 1, (*shape, n)),
    )  # fmt: skip
    builder, decoder = ObservationBuilder(OBSERVATIONS), ActionDecoder(ACTIONS)
    built = builder.build(many)
    last = Targets(rng.uniform(-1, 1, (*shape, 20)), many.stiffness_scale, many.damping_scale)
    actions = rng.uniform(-2, 2, (*shape, n))
    decoded = decoder.decode(actions, many.reading.position, last)
    assert built.shape == (*shape, sum(len(block.names) for block in OBSERVATIONS))
    for k in np.ndindex(shape):
        one = Observed(row(many.reading, k), row(many.fall, k), many.effort_per_n_m,  # type: ignore[arg-type]
                       *(part[k] for part in many[3:]))  # fmt: skip
        np.testing.assert_array_equal(builder.build(one), built[k])
        alone = decoder.decode(
            actions[k], many.reading.position[k], Targets(*(t[k] for t in last))
        )
        for a, b in zip(alone, decoded, strict=True):
            np.testing.assert_array_equal(a, b[k])


LAST = Targets(np.full(20, 0.3), np.full(20, 0.9), np.full(20, 3.9))
MEASURED = np.full(20, 0.1)
DECODED: list[tuple[str, Block, float, int, float]] = [
    ("half the reach beyond the measured angle", action.act_joint(["l_el"], 0.2), 0.5, 0, 0.2),
    ("an action beyond 1 ends there", action.act_joint(["l_el"], 0.2), -7.0, 0, -0.1),
    ("the joint's limit", action.act_joint(["l_el"], math.pi), 1.0, 0, ELBOW_HIGH),
    (
        "half the reach beyond the pose, wherever the joint is",
        action.act_joint_residual(["l_el"], np.full(20, -0.1), 0.2),
        0.5,
        0,
        0.0,
    ),
    (
        "no correction is the pose",
        action.act_joint_residual(["l_el"], np.full(20, -0.1)),
        0.0,
        0,
        -0.1,
    ),
    (
        "a corrected goal moves half a radian from the last one",
        action.act_joint_residual(["l_el"], np.full(20, 0.0), math.pi),
        1.0,
        0,
        0.8,
    ),
    ("stiffness, lowest", action.act_kp(["l_el"]), -1.0, 1, 0.05),
    ("stiffness, middle", action.act_kp(["l_el"]), 0.0, 1, 0.525),
    ("damping, highest", action.act_kd(["l_el"]), 1.0, 2, 4.0),
    ("a tenth of the range softer", action.act_kp_rel(["l_el"]), -1.0, 1, 0.9 - 0.095),
    ("stiffer, but not beyond 1", action.act_kp_rel(["l_el"]), 1.1, 1, 0.995),
    ("more damped, but not beyond 4", action.act_kd_rel(["l_el"]), 1.0, 2, 4.0),
]


@pytest.mark.parametrize(
    ("block", "value", "target", "expected"), [c[1:] for c in DECODED], ids=[c[0] for c in DECODED]
)
def test_actions_computed_by_hand(
    block: Block, value: float, target: int, expected: float
) -> None:
    targets = ActionDecoder([block]).decode(np.array([value]), MEASURED, LAST)
    assert targets[target][EL] == pytest.approx(expected)
    for k, (now, before) in enumerate(zip(targets, LAST, strict=True)):
        others = [i for i in range(20) if (k, i) != (target, EL)]
        np.testing.assert_array_equal(now[others], before[others])


def test_a_corrected_goal_passes_the_safety_gate_and_ends_at_the_joints_limit() -> None:
    decoder = ActionDecoder([action.act_joint_residual(robot.JOINTS, np.zeros(20), math.pi)])
    guard = TargetGuard(SafetyConfig())
    targets = LAST._replace(position=guard.start(MEASURED))
    for _ in range(10):
        targets = decoder.decode(np.ones(20), MEASURED, targets)
        passed, notes = guard.step(targets.position, MEASURED, 0.02)
        np.testing.assert_allclose(passed, targets.position, rtol=0, atol=1e-12)
        assert notes == ()
    np.testing.assert_array_equal(targets.position, robot.UPPER_LIMIT_RAD)


@given(st.lists(st.floats(-5, 5), min_size=18, max_size=18), st.integers(1, 30))
def test_whatever_the_policy_says_the_targets_stay_in_range(
    numbers: list[float], steps: int
) -> None:
    decoder = ActionDecoder(ACTIONS)
    targets = Targets(np.zeros(20), np.ones(20), np.ones(20))
    for _ in range(steps):
        targets = decoder.decode(np.array(numbers), MEASURED, targets)
    assert (np.abs(targets.position - MEASURED) <= 0.2 + 1e-12)[decoder_joints()].all()
    assert ((targets.stiffness_scale >= 0.05) & (targets.stiffness_scale <= 1)).all()
    assert ((targets.damping_scale >= 1) & (targets.damping_scale <= 4)).all()
    for voltage_v in (11.1, 14.8):
        servo = robot.Servo(voltage_v)
        assert (servo.p_register(targets.stiffness_scale) >= 40).all()
        assert (servo.d_register(targets.damping_scale) < servo.MAX_GAIN).all()


def decoder_joints() -> list[int]:
    return [robot.JOINT_INDEX[name] for name in ARMS]


JOINT_LIST = ", ".join(robot.JOINTS)
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: observation.obs_joint(["l_elbow"]),
     f"joint of obs_joint 'l_elbow' is unknown; allowed are {JOINT_LIST}; correct the name"),
    (lambda: observation.obs_kp([]),
     "obs_kp has the joints []; allowed is each joint once, at least one; correct the list"),
    (lambda: action.act_kd(["l_el", "l_el"]),
     "act_kd has the joints ['l_el', 'l_el']; allowed is each joint once, at least one; "
     "correct the list"),
    (lambda: observation.obs_joint(["l_el"], angle=False, torque_load=False),
     "obs_joint has neither angle nor torque_load; allowed is one or both; "
     "ask for what the policy shall see"),
    (lambda: action.act_joint(["l_el"], math.nan),
     "delta is nan rad; allowed is from 0.001 to 3.14159 rad; "
     "choose a value of delta in that range"),
    (lambda: action.act_joint_residual(["l_el"], np.zeros(20), 4.0),
     "delta is 4 rad; allowed is from 0.001 to 3.14159 rad; "
     "choose a value of delta in that range"),
    (lambda: ActionDecoder([action.act_joint(ARMS), RESIDUALS[0]]),
     f"2 actions set the position of {ARMS[0]}; allowed is one; "
     "choose between the absolute and the relative block"),
    (lambda: ActionDecoder([action.act_kp(["l_el"]), action.act_kp_rel(ARMS)]),
     "2 actions set the stiffness_scale of l_el; allowed is one; "
     "choose between the absolute and the relative block"),
    (lambda: ObservationBuilder([]),
     "the observation has no values; allowed is one or more; add blocks to it"),
    (lambda: ObservationBuilder([observation.phase(), observation.phase()]),
     "the observation has phase/normal 2 times; allowed is once; leave the others out"),
    (lambda: ActionDecoder([observation.gravity()]),
     "action block 'gravity' is unknown; allowed are act_joint, act_joint_residual, act_kp, "
     "act_kd, act_kp_rel, act_kd_rel; choose one of them"),
    (lambda: ObservationBuilder([Block("gravity", (Term("tilt", "1", ("",), (0.0,), (1.0,)),))]),
     "quantity of gravity 'tilt' is unknown; allowed are gravity; choose one of them"),
    (lambda: ObservationBuilder([Block("gravity", (Term("gravity", "g", ("x",), (0.,), (1.,)),))]),
     "unit of gravity 'g' is unknown; allowed are 1; convert it"),
    (lambda: ObservationBuilder([Block("gravity", (Term("gravity", "1", ("w",), (0.,), (1.,)),))]),
     "label of gravity 'w' is unknown; allowed are x, y, z; choose one"),
    (lambda: Term("gravity", "1", ("x",), (1.0,), (1.0,)),
     "gravity has ranges [(1.0, 1.0)]; allowed are finite ones with low below high; correct them"),
    (lambda: Term("gravity", "1", ("x", "y"), (0.0,), (1.0,)),
     "gravity has 2 labels, 1 lower and 1 upper ends; allowed is one of each a value, at least "
     "one; give them all"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_what_cannot_be_computed_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        make()
    assert str(error.value) == text


def test_a_block_says_what_its_values_are() -> None:
    block = observation.obs_joint(["r_el", "l_el"])
    assert block.names == ("angle/r_el", "angle/l_el", "torque_load/r_el", "torque_load/l_el")
    assert block.joints == ("r_el", "l_el")
    assert [term.unit for term in block.terms] == ["rad", "N m"]
    assert block.terms[0].high[1] == ELBOW_HIGH
    assert observation.obs_fall_angle().names == ("fall_angle",)


@pytest.mark.parametrize(("control", "target"), [("velocity", 1.2), ("torque", -1.0)])
def test_goals_of_velocity_or_torque_take_the_place_of_angles(control: str, target: float) -> None:
    """Beside gains, of the joints of act_joint alone, and as far as the servo goes."""
    blocks = action.in_control([action.act_joint(["l_el"]), action.act_kp(["l_el"])], control)
    assert [block.names for block in blocks] == [(f"{control}/l_el",), ("stiffness_scale/l_el",)]
    end = {"velocity": SERVO.no_load_speed_rad_s, "torque": SERVO.stall_torque_n_m}[control]
    last = Targets(*(np.zeros(20) for _ in range(3)))
    told = ActionDecoder(blocks).decode(np.array([target / end, -1.0]), np.ones(20), last)
    np.testing.assert_allclose(told.position, at(EL, target))
    assert told.stiffness_scale[EL] == pytest.approx(0.05)
    assert not action.deployable(blocks)


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(BadInputError) as error:
        action.in_control([action.act_joint(["l_el"])], "voltage")
    assert str(error.value) == (
        "control 'voltage' is unknown; allowed are position, velocity, torque; choose one of them"
    )
