# SPDX-License-Identifier: Apache-2.0
"""The contract, to JSON and back, and the codec that it describes."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_samples import ACTIONS, ARMS, OBSERVATIONS, RESIDUALS, contract, fall, reading, row

from op3_fall import action, observation, robot
from op3_fall.blocks import Block, Term
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.policy import Contract, GoldenSample
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import Installation, NominalGains
from op3_fall.signals import JointCommand

HERE = Installation("extended")

finite = st.floats(allow_nan=False, allow_infinity=False)
ranges = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).filter(
    lambda r: r[0] < r[1]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
)  # fmt: skip


@given(
    ends=st.lists(ranges, min_size=3, max_size=3),
    pose=st.lists(finite, min_size=20, max_size=20),
    provenance=st.dictionaries(st.text(), json_values),
    time_s=finite,
)
def test_json_keeps_every_digit(
    ends: list[tuple[float, float]], pose: list[float], provenance: dict[str, Any], time_s: float
) -> None:
    low, high = zip(*ends, strict=True)
    gravity = Block("gravity", (Term("gravity", "1", ("x", "y", "z"), low, high),))
    plain = contract(observation=(gravity,), nominal_pose=tuple(pose), provenance=provenance)
    first = replace(plain.golden.readings[0], time_s=np.array(time_s))
    golden = replace(plain.golden, readings=(first, *plain.golden.readings[1:]))
    before = replace(plain, golden=golden)
    after = Contract.from_json(before.to_json())
    assert replace(after, golden=golden) == before
    pairs = [*zip(golden.readings, after.golden.readings, strict=True),
             *zip(golden.falls, after.golden.falls, strict=True),
             (golden.command, after.golden.command)]  # fmt: skip
    for was, now in pairs:
        for name, value in vars(was).items():
            np.testing.assert_array_equal(vars(now)[name], value)
            assert vars(now)[name].dtype == np.asarray(value).dtype
    assert after.to_json() == before.to_json()


def test_lengths_count_history() -> None:
    arms = len(ARMS)
    plain = contract(history=3)
    assert plain.action_length == 3 * arms
    seen = 2 * arms + 1 + 1 + 1 + 4 + 8 + arms + arms + 3 + 3 + 4 + 3 * arms
    assert plain.observation_length == 3 * seen


LONG = ", ".join(name for block in ACTIONS for name in block.names)
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"version": 2}, "contract version is 2; allowed is 1; export the policy again with this "
     "version of op3_fall"),
    ({"observation": ()},
     "the observation has no values; allowed is one or more; add blocks to it"),
    ({"action": (action.act_kp(["l_el"]), action.act_kp_rel(["l_el"]))},
     "2 actions set the stiffness_scale of l_el; allowed is one; "
     "choose between the absolute and the relative block"),
    ({"observation": (observation.last_action([action.act_kp(["l_el"])]),)},
     f"last_action is of stiffness_scale/l_el; allowed is the whole action, {LONG}; "
     "make it with last_action(action blocks)"),
    ({"sensor_profile": "stock"},
     "sensor profile is 'stock', but the observation has torque_load; allowed are extended, "
     "ideal; leave torque_load out or train with one of them"),
    ({"sensor_profile": "full"},
     "sensor profile 'full' is unknown; allowed are stock, extended, ideal; choose one of them"),
    ({"precision": "int4"},
     "precision 'int4' is unknown; allowed are float32, int8; export it again"),
    ({"history": 0}, "history is 0; allowed is from 1 to 100; "
     "choose a value of history in that range"),
    ({"control_period_s": math.inf}, "control period is inf s; allowed is from 0.001 to 1 s; "
     "choose a value of control period in that range"),
    ({"voltage_v": 24.0}, "voltage is 24.0 V; allowed is 11.1 to 14.8 V; "
     "give the voltage measured under load"),
    ({"nominal_pose": (0.0,)}, "nominal pose has 1 angles; allowed is one for each of the 20 "
     "joints; give them all"),
    ({"latency_s": (0.05, 0.01)}, "largest latency is 0.01 s; allowed is from 0.05 to 1 s; "
     "choose a value of largest latency in that range"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "text"), BAD_FIELDS)
def test_a_contract_that_no_place_could_run(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        contract(**fields)
    assert str(error.value) == text


def golden_parts() -> tuple[Any, Any, JointCommand]:
    golden = contract().golden
    return golden.readings, golden.falls, golden.command


def test_a_golden_sample_that_cannot_be_replayed() -> None:
    readings, falls, command = golden_parts()
    with pytest.raises(BadInputError) as error:
        GoldenSample(readings[:2], falls, command)
    assert str(error.value) == (
        "golden sample has 2 readings and 2 fall estimates; allowed is one reading more than "
        "estimates, of which there is at least one; export it again"
    )
    with pytest.raises(BadInputError) as error:
        GoldenSample(readings, falls, JointCommand.hold(np.zeros(19)))
    assert str(error.value) == (
        "position of the golden sample has the shape (19,); allowed is (20,); export it again"
    )


def edited(change: Callable[[dict[str, Any]], None]) -> str:
    data = json.loads(contract().to_json())
    change(data)
    return json.dumps(data)


FIELDS = ", ".join(sorted(vars(contract())))
KEYS = sorted([*vars(contract()), "weights"])
BAD_TEXTS: list[tuple[str, str]] = [
    ("{", "policy contract is no JSON (Expecting property name enclosed in double quotes: line 1 "
     "column 2 (char 1)); allowed is what this package writes; export it again"),
    ("[]", "policy contract is []; allowed is a mapping; export it again"),
    ("{}", "contract version is None; allowed is 1; export the policy again with this version "
     "of op3_fall"),
    ('{"version": 1}', f"policy contract has ['version']; allowed are exactly {FIELDS}; "
     "export it again"),
    (edited(lambda d: d.update(history=True)),
     "policy contract: history is True; allowed is a whole number; export it again"),
    (edited(lambda d: d.update(weights="w.bin")), f"policy contract has {KEYS!r:.200}; "
     f"allowed are exactly {FIELDS}; export it again"),
    (edited(lambda d: d.update(voltage_v=True)),
     "policy contract: voltage_v is True; allowed is a finite number; export it again"),
    (edited(lambda d: d.update(voltage_v="12")),
     "policy contract: voltage_v is '12'; allowed is a finite number; export it again"),
    (edited(lambda d: d.update(voltage_v=10**400)),
     f"policy contract: voltage_v is {str(10**400)[:60]}; allowed is a finite number; "
     "export it again"),
    (edited(lambda d: d.update(latency_s=[0.0])),
     "policy contract: latency_s is [0.0]; allowed is a list of 2; export it again"),
    (edited(lambda d: d.update(provenance=[])),
     "policy contract: provenance is []; allowed is a mapping; export it again"),
    (edited(lambda d: d["observation"][0]["terms"][1]["low"].__setitem__(2, math.nan)),
     "policy contract: observation 0: terms 1: low 2 is nan; allowed is a finite number; "
     "export it again"),
    (edited(lambda d: d["observation"][1].update(name="obs_vision")),
     "observation block 'obs_vision' is unknown; allowed are obs_joint, obs_fall_vel, "
     "obs_fall_vel_discrete, obs_fall_angle, obs_fall_angle_discrete, obs_kp, obs_kd, gravity, "
     "angular_velocity, phase, last_action; choose one of them"),
    (edited(lambda d: d["golden"]["command"].update(p_gain=[0.5] * 20)),
     "policy contract: golden: command: p_gain is 0.5; allowed is a whole number; "
     "export it again"),
    (edited(lambda d: d["golden"]["readings"][0].update(position=[[0.0], 1.0])),
     "policy contract: golden: readings 0: position is [[0.0], 1.0]; allowed is a list of rows "
     "of equal length; export it again"),
    (edited(lambda d: d["golden"]["falls"][0].update(fast=1)),
     "policy contract: golden: falls 0: fast is 1; allowed is true or false; export it again"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_TEXTS, ids=[m[:50] for _, m in BAD_TEXTS])
def test_a_text_that_is_no_contract(text: str, message: str) -> None:
    with pytest.raises(BadInputError) as error:
        Contract.from_json(text)
    assert str(error.value) == message


@pytest.mark.parametrize("depth", [600, 100_000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    text = contract().to_json().replace('"voltage_v": 12.0', f'"voltage_v": {nested}')
    with pytest.raises(BadInputError):
        Contract.from_json(text)


def test_provenance_that_json_lacks_is_refused() -> None:
    with pytest.raises(BadInputError) as error:
        contract(provenance={"reward": math.nan}).to_json()
    assert str(error.value).startswith("policy contract holds a value that JSON lacks (")
    assert str(error.value).endswith("lists and mappings; leave it out")


DIFFERENCES: list[tuple[dict[str, Any], Installation, dict[str, tuple[Any, Any]]]] = [
    ({}, HERE, {}),
    ({"voltage_v": 12.0}, Installation("extended", voltage_v=11.1), {}),
    ({"sensor_profile": "ideal"}, HERE, {}),
    ({"sensor_profile": "stock", "observation": OBSERVATIONS[1:]}, HERE, {}),
    ({}, Installation("stock"), {"sensor_profile": ("extended", "stock")}),
    ({"control_period_s": 0.01}, HERE, {"control_period_s": (0.01, 0.02)}),
    ({"voltage_v": 14.8}, HERE, {"voltage_v": (14.8, 12.0)}),
    ({"nominal_gains": NominalGains(p_gain=400)}, HERE,
     {"nominal_gains": (NominalGains(p_gain=400), NominalGains())}),
    ({"joint_names": robot.JOINTS[::-1]}, HERE,
     {"joint_names": (robot.JOINTS[::-1], robot.JOINTS)}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "here", "expected"), DIFFERENCES)
def test_differences_name_the_field_and_both_values(
    fields: dict[str, Any], here: Installation, expected: dict[str, tuple[Any, Any]]
) -> None:
    found = contract(**fields).differences(here)
    assert {name: (theirs, ours) for name, theirs, ours in found} == expected


def test_a_place_that_differs_is_refused_with_every_field() -> None:
    plain = contract(control_period_s=0.01)
    plain.check_runs_on(Installation("extended", control_period_s=0.01))
    with pytest.raises(BadInputError) as error:
        plain.check_runs_on(Installation("stock"))
    assert str(error.value) == (
        "the policy does not fit: control_period_s is 0.01 in the policy and 0.02 here; "
        "sensor_profile is extended in the policy and stock here; change the set-up, or train a "
        "policy for it"
    )


def test_the_first_command_holds_the_measured_pose() -> None:
    measured = reading((2,))
    command = PolicyCodec(contract(nominal_gains=NominalGains(goal_pwm=700))).reset(measured)
    np.testing.assert_array_equal(command.position, measured.position)
    assert (command.p_gain == 800).all() and (command.d_gain == 0).all()
    assert (command.goal_pwm == 700).all()


def test_joints_without_an_action_stay_where_they_were_measured() -> None:
    codec, start, later = PolicyCodec(contract()), reading(seed=0), reading(seed=1)
    codec.reset(start)
    command = codec.act(np.ones(codec.spec.action_length), later)
    rest = [robot.JOINT_INDEX[name] for name in robot.HEAD + robot.LEGS]
    np.testing.assert_array_equal(command.position[rest], start.position[rest])
    elbow = robot.JOINT_INDEX["l_el"]
    expected = np.clip(later.position[elbow] + 0.2, None, robot.UPPER_LIMIT_RAD[elbow])
    assert command.position[elbow] == expected
    assert command.p_gain[elbow] == 800 and command.d_gain[elbow] == robot.Servo().d_register(4.0)


def test_corrections_of_zero_end_in_the_pose_wherever_the_joints_are() -> None:
    """The contract carries the pose, exactly: it is the middle of the range."""
    seen = (*OBSERVATIONS[:-1], observation.last_action(RESIDUALS))
    before = contract(action=RESIDUALS, observation=seen)
    after = Contract.from_json(before.to_json())
    assert after.action == before.action == RESIDUALS
    codec, pose = PolicyCodec(after), robot.POSES["brace_front"]
    arms = [robot.JOINT_INDEX[name] for name in ARMS]
    command = codec.reset(reading(seed=0))
    for _ in range(10):
        command = codec.act(np.zeros(after.action_length), reading(seed=1))
    np.testing.assert_allclose(command.position[arms], pose[arms], rtol=0, atol=1e-15)
    half = np.concatenate([np.full(6, 0.1), np.zeros(12)])
    command = codec.act(half, reading(seed=2))
    expected = np.clip(
        pose + 0.1 * action.CORRECTION_RAD, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD
    )[arms]
    np.testing.assert_allclose(command.position[arms], expected, rtol=0, atol=1e-12)


def test_history_is_oldest_first_and_starts_full_of_the_first_observation() -> None:
    short, long = (PolicyCodec(contract(history=n)) for n in (1, 3))
    single = []
    for codec in (short, long):
        codec.reset(reading())
    for k in range(5):
        single.append(short.observe(reading(seed=k), fall(seed=k)))
        stacked = long.observe(reading(seed=k), fall(seed=k))
        expected = [single[max(k - age, 0)] for age in (2, 1, 0)]
        np.testing.assert_array_equal(stacked, np.concatenate(expected))
        assert stacked.dtype == np.float32
    for codec in (short, long):
        codec.reset(reading())
    fresh = short.observe(reading(seed=7), fall(seed=7))
    np.testing.assert_array_equal(long.observe(reading(seed=7), fall(seed=7)), [*fresh] * 3)


def test_the_next_observation_has_the_action_and_its_gains() -> None:
    actions = (action.act_joint(["l_el"]), action.act_kp_rel(["l_el"]))
    blocks = (observation.last_action(actions), observation.obs_kp(["l_el"]))
    codec = PolicyCodec(contract(observation=blocks, action=actions))
    codec.reset(reading())
    assert codec.observe(reading(), fall()).tolist() == [0.0, 0.0, 1.0]
    codec.act(np.array([5.0, -1.0]), reading())
    expected = [1.0, -1.0, 0.8]  # a tenth of the range, which is 2 long when normalised
    assert codec.observe(reading(), fall()) == pytest.approx(expected)
    codec.reset(reading())
    assert codec.observe(reading(), fall()).tolist() == [0.0, 0.0, 1.0]


def test_row_k_of_a_batch_is_robot_k_alone() -> None:
    many, alone = (
        PolicyCodec(contract(history=2)),
        [PolicyCodec(contract(history=2)) for _ in "abc"],
    )
    many.reset(reading((3,)))
    for k, codec in enumerate(alone):
        codec.reset(row(reading((3,)), k))
    rng = np.random.default_rng(0)
    for step in range(1, 4):
        seen, estimate = reading((3,), seed=step), fall((3,), seed=step)
        actions = rng.uniform(-1.5, 1.5, (3, many.spec.action_length))
        observed, command = many.observe(seen, estimate), many.act(actions, seen)
        for k, codec in enumerate(alone):
            one = codec.observe(row(seen, k), row(estimate, k))
            np.testing.assert_array_equal(one, observed[k])
            for name, value in vars(codec.act(actions[k], row(seen, k))).items():
                np.testing.assert_array_equal(value, vars(command)[name][k])


def test_robots_start_and_act_without_the_others() -> None:
    """Histories, gains, last actions: each robot's are those of a codec of its own."""
    many, rng = PolicyCodec(contract(history=3)), np.random.default_rng(1)
    alone = [PolicyCodec(contract(history=3)) for _ in "abc"]
    many.reset(reading((3,)))
    for k, codec in enumerate(alone):
        codec.reset(row(reading((3,)), k))
    for step in range(1, 12):
        seen, estimate = reading((3,), seed=step), fall((3,), seed=step)
        starts, acts = rng.random((2, 3)) < 0.5
        actions = rng.uniform(-1.5, 1.5, (3, many.spec.action_length))
        many.reset(seen, starts)
        for k in np.nonzero(starts)[0]:
            alone[k].reset(row(seen, int(k)))
        observed, command = many.observe(seen, estimate), many.act(actions, seen, acts)
        for k, codec in enumerate(alone):
            np.testing.assert_array_equal(
                codec.observe(row(seen, k), row(estimate, k)), observed[k]
            )
            if acts[k]:
                for name, value in vars(codec.act(actions[k], row(seen, k))).items():
                    np.testing.assert_array_equal(value, vars(command)[name][k])
        np.testing.assert_array_equal(many.last_action, [codec.last_action for codec in alone])


def test_what_is_not_finite_is_refused_for_that_robot_alone() -> None:
    codec = PolicyCodec(contract())
    n = codec.spec.action_length
    codec.reset(reading((4,)))
    before = codec.act(np.full((4, n), 0.5), reading((4,), seed=1))
    last = codec.observe(reading((4,)), fall((4,)))[..., -n:]
    actions, later = np.full((4, n), -0.5), reading((4,), seed=2)
    actions[1, 3], actions[2, 0] = np.nan, np.inf
    later.position[3, 7] = np.nan
    after = codec.act(actions, later)
    assert codec.refused.tolist() == [False, True, True, True]
    for name, value in vars(after).items():
        np.testing.assert_array_equal(value[1:], vars(before)[name][1:])
    assert not np.array_equal(after.position[0], before.position[0])
    kept = codec.observe(reading((4,)), fall((4,)))[..., -n:]
    np.testing.assert_array_equal(kept[1:], last[1:])
    np.testing.assert_array_equal(kept[0], np.full(n, -0.5))


def test_an_unread_pose_and_a_missing_reset_are_told() -> None:
    codec = PolicyCodec(contract())
    for call in (lambda: codec.observe(reading(), fall()), lambda: codec.act([0.0], reading())):
        with pytest.raises(Op3FallError) as error:
            call()
        assert str(error.value) == (
            "the policy has no pose to start from; call reset(reading) first"
        )
    with pytest.raises(BadInputError) as error:
        codec.reset(reading(position=np.full(20, np.nan)))
    assert str(error.value) == (
        "the measured pose has values that are not finite; allowed are angles in rad; "
        "see that the driver reads every joint"
    )


def test_a_contract_is_for_goal_angles_alone() -> None:
    blocks = action.in_control([action.act_joint(["l_el"])], "torque")
    with pytest.raises(BadInputError) as error:
        contract(action=blocks, observation=(observation.gravity(),))
    assert str(error.value) == (
        "act_joint gives velocities or torques; allowed are goal angles, all that the OP3's "
        "driver takes; train with control position"
    )
