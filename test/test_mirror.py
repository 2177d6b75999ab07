# SPDX-License-Identifier: Apache-2.0
"""The mirror of vectors against mirrored robots: what is seen, and what an action does."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from policy_samples import ACTIONS, OBSERVATIONS, RESIDUALS, fall, reading

from op3_fall import action, mirror, observation, robot
from op3_fall.action import ActionDecoder, Targets
from op3_fall.blocks import Block, Term
from op3_fall.errors import BadInputError
from op3_fall.mirror import Mirror
from op3_fall.observation import FallAngle, ObservationBuilder, Observed

Array = NDArray[np.float64]
SERVO = robot.Servo()
SEEDS = st.integers(0, 10_000)

EVERY_OBSERVATION = (
    *(block for block in OBSERVATIONS if block.name not in ("obs_joint", "obs_kp", "obs_kd")),
    observation.obs_joint(robot.JOINTS), observation.obs_kp(), observation.obs_kd(),
)  # fmt: skip
WHOLE_BODY = (action.act_joint(robot.JOINTS), action.act_kp(), action.act_kd_rel())
"""With the gain blocks that ACTIONS has not."""


def mirrored(seen: Observed) -> Observed:
    """The same moment in a mirror: vectors turn y over, pseudovectors (the gyro) x and z.

    Of the action before, only `Mirror` itself says what it is in the mirror.
    """
    turned = replace(
        seen.reading,
        position=robot.mirror_joints(seen.reading.position),
        effort=robot.mirror_joints(seen.reading.effort),
        angular_velocity=seen.reading.angular_velocity * [-1, 1, -1],
    )
    estimate = replace(
        seen.fall, fall_angle=-seen.fall.fall_angle, gravity=seen.fall.gravity * [1, -1, 1]
    )
    return Observed(
        turned,
        estimate,
        seen.effort_per_n_m,
        seen.stiffness_scale[..., robot.MIRROR_INDEX],
        seen.damping_scale[..., robot.MIRROR_INDEX],
        Mirror(ACTIONS).apply(seen.last_action),
    )


def any_moment(seed: int, shape: tuple[int, ...] = ()) -> Observed:
    rng = np.random.default_rng(seed)
    joints, n = (*shape, robot.NUM_JOINTS), len(Mirror(ACTIONS).index)
    return Observed(
        reading(shape, seed), fall(shape, seed), SERVO.effort_per_n_m,
        rng.uniform(0, 1, joints), rng.uniform(1, 4, joints), rng.uniform(-1, 1, (*shape, n)),
    )  # fmt: skip


@given(SEEDS)
def test_the_mirrored_observation_is_that_of_the_mirrored_robot(seed: int) -> None:
    seen = any_moment(seed)
    builder = ObservationBuilder(EVERY_OBSERVATION)
    there = Mirror(EVERY_OBSERVATION).apply(builder.build(seen))
    np.testing.assert_array_equal(there, builder.build(mirrored(seen)))


@pytest.mark.parametrize(
    "blocks",
    [ACTIONS, RESIDUALS, *(action.in_control(WHOLE_BODY, control) for control in action.CONTROLS)],
)
@given(SEEDS)
def test_a_mirrored_action_does_to_the_mirrored_robot_what_it_does_here(
    blocks: tuple[Block, ...], seed: int
) -> None:
    decoder, flip = ActionDecoder(blocks), Mirror(blocks)
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1.5, 1.5, len(flip.index))
    measured, *last = (rng.uniform(low, high, 20) for low, high in
                       ((-1.5, 1.5), (-1.5, 1.5), (0.05, 1), (1, 4)))  # fmt: skip

    def turned(targets: Targets) -> Targets:
        position, *gains = targets
        return Targets(robot.mirror_joints(position), *(g[robot.MIRROR_INDEX] for g in gains))

    here = turned(decoder.decode(values, measured, Targets(*last)))
    there = decoder.decode(
        flip.apply(values), robot.mirror_joints(measured), turned(Targets(*last))
    )
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "blocks", [OBSERVATIONS, EVERY_OBSERVATION, ACTIONS, RESIDUALS, WHOLE_BODY]
)
@given(SEEDS)
def test_twice_is_the_identity(blocks: tuple[Block, ...], seed: int) -> None:
    flip = Mirror(blocks, history=3)
    values = np.random.default_rng(seed).uniform(-1, 1, (2, len(flip.index)))
    np.testing.assert_array_equal(flip.apply(flip.apply(values)), values)


def test_row_k_of_a_batch_is_robot_k_alone() -> None:
    flip = Mirror(ACTIONS)
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3, len(flip.index)))
    for k in np.ndindex(2, 3):
        np.testing.assert_array_equal(flip.apply(values)[k], flip.apply(values[k]))


def test_each_observation_of_a_history_is_mirrored_by_itself() -> None:
    rng = np.random.default_rng(0)
    one, both = Mirror(OBSERVATIONS), Mirror(OBSERVATIONS, history=2)
    older, newer = rng.uniform(-1, 1, (2, len(one.index)))
    np.testing.assert_array_equal(
        both.apply(np.concatenate([older, newer])),
        np.concatenate([one.apply(older), one.apply(newer)]),
    )


def test_index_and_sign_are_what_apply_does() -> None:
    flip = Mirror(OBSERVATIONS, history=2)
    values = np.random.default_rng(0).uniform(-1, 1, len(flip.index))
    np.testing.assert_array_equal(flip.sign * values[flip.index], flip.apply(values))


def test_every_quantity_has_a_rule_and_no_rule_is_left_over() -> None:
    assert set(mirror.RULES) == {*observation.QUANTITIES, *action.QUANTITIES}


class Case(NamedTuple):
    """A block and what stands where in its mirrored vector."""

    block: Block
    value: str
    comes_from: str
    sign: float


@pytest.mark.parametrize(
    "case",
    [
        Case(observation.obs_joint(["l_el", "r_el"]), "angle/l_el", "angle/r_el", -1),
        Case(observation.obs_joint(robot.HEAD), "angle/head_tilt", "angle/head_tilt", 1),
        Case(observation.obs_joint(robot.HEAD), "torque_load/head_pan", "torque_load/head_pan",
             -1),
        Case(action.act_joint(["r_knee", "l_knee"]), "delta/l_knee", "delta/r_knee", -1),
        Case(action.act_joint_residual(["r_knee", "l_knee"], robot.POSES["brace_front"]),
             "correction/l_knee", "correction/r_knee", -1),
        Case(action.act_kp(["r_knee", "l_knee"]), "stiffness_scale/l_knee",
             "stiffness_scale/r_knee", 1),
        Case(observation.obs_fall_angle(), "fall_angle", "fall_angle", -1),
        Case(observation.obs_fall_vel(), "fall_velocity", "fall_velocity", 1),
        Case(observation.obs_fall_angle_discrete(FallAngle.EIGHT), "direction_eight/BL",
             "direction_eight/BR", 1),
        Case(observation.obs_fall_angle_discrete(), "direction_four/B", "direction_four/B", 1),
        Case(observation.gravity(), "gravity/y", "gravity/y", -1),
        Case(observation.angular_velocity(), "angular_velocity/y", "angular_velocity/y", 1),
        Case(observation.last_action([action.act_joint(["l_el", "r_el"])]),
             "last_action/delta/r_el", "last_action/delta/l_el", -1),
    ],
    ids=lambda case: case.value,
)  # fmt: skip
def test_values_computed_by_hand(case: Case) -> None:
    flip, names = Mirror([case.block]), case.block.names
    values = np.arange(1.0, 1.0 + len(names))
    there = flip.apply(values)[names.index(case.value)]
    assert there == case.sign * values[names.index(case.comes_from)]


ONE_SIDED = Block("act_joint", (
    Term("delta", "rad", ("l_el", "r_el"), (-0.3, -0.2), (0.3, 0.3)),
))  # fmt: skip
LEFT_ARM_UP = np.where(np.arange(20) == robot.JOINT_INDEX["l_el"], 0.5, 0.0)
REFUSED = [
    ([action.act_joint_residual(["l_el", "r_el"], LEFT_ARM_UP)], 1,
     "correction of l_el ranges from -1.5 to 2.5; allowed is the mirror image of r_el, -2 to 2; "
     "give both sides the same range"),
    ([observation.obs_joint(["r_el"])], 1,
     "angle of r_el has no l_el beside it; allowed are left and right together; "
     "add it to the block"),
    ([observation.last_action([action.act_kp(["l_el"])])], 1,
     "last_action of stiffness_scale/l_el has no stiffness_scale/r_el beside it; allowed are "
     "left and right together; add it to the block"),
    ([ONE_SIDED], 1,
     "delta of l_el ranges from -0.3 to 0.3; allowed is the mirror image of r_el, -0.3 to 0.2; "
     "give both sides the same range"),
    ([Block("smell", (Term("smell", "1", ("",), (0.0,), (1.0,)),))], 1,
     "quantity to mirror 'smell' is unknown; allowed are " + ", ".join(mirror.RULES)
     + "; add its rule to mirror.RULES"),
    (ACTIONS, 0,
     "history is 0; allowed is 1 or more; choose a value of history in that range"),
]  # fmt: skip


@pytest.mark.parametrize(("blocks", "history", "text"), REFUSED, ids=[c[2][:12] for c in REFUSED])
def test_what_cannot_be_mirrored_is_refused(blocks: list[Block], history: int, text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        Mirror(blocks, history)
    assert str(caught.value) == text


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(BadInputError) as caught:
        Mirror(ACTIONS).apply(np.zeros(7))
    assert str(caught.value) == (
        "the values to mirror have the length 7; allowed is 18; give the whole vector of the "
        "blocks"
    )
