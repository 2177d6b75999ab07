# SPDX-License-Identifier: Apache-2.0
"""Joint order, limits, mirror and poses, and the servo's registers against the data sheet."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.robot import Servo

DRIVER_ORDER = (
    "head_pan", "head_tilt", "l_ank_pitch", "l_ank_roll", "l_el", "l_hip_pitch", "l_hip_roll",
    "l_hip_yaw", "l_knee", "l_sho_pitch", "l_sho_roll", "r_ank_pitch", "r_ank_roll", "r_el",
    "r_hip_pitch", "r_hip_roll", "r_hip_yaw", "r_knee", "r_sho_pitch", "r_sho_roll",
)  # fmt: skip

# Of the left joints, in degrees: the range of the IK library and that of ROBOTIS' motions, the
# latter of both sides: own (low, high), then the right twin's.
LIMITS_DEG = {
    "head_pan": ((-90, 90), (-48, 46), (-48, 46)),
    "head_tilt": ((-90, 90), (-117, 19), (-117, 19)),
    "l_ank_pitch": ((-81, 81), (-28, 104), (-104, 29)),
    "l_ank_roll": ((-81, 81), (-69, 13), (-13, 69)),
    "l_el": ((-90, 90), (-147, 5), (-2, 147)),
    "l_hip_pitch": ((-72, 72), (-112, 28), (-28, 111)),
    "l_hip_roll": ((-54, 54), (-26, 0), (0, 26)),
    "l_hip_yaw": ((-81, 81), (-13, 13), (-13, 13)),
    "l_knee": ((-18, 126), (0, 142), (-141, 0)),
    "l_sho_pitch": ((-90, 90), (-155, 137), (-137, 162)),
    "l_sho_roll": ((-54, 90), (-104, 86), (-86, 104)),
}
DEGREE = math.radians(0.5)  # the table is rounded to a degree

# voltage, stall torque N m, stall current A, no-load rpm, stiffness per P count, back-EMF damping
DATA_SHEET = [
    (11.1, 3.8, 2.1, 43, 0.021868, 0.844),
    (12.0, 4.1, 2.3, 46, 0.023594, 0.851),
    (14.8, 4.8, 2.7, 57, 0.027623, 0.804),
]

# P register, stiffness at 11.1 and 12 V in N m/rad, error at full duty in degrees
STIFFNESS = [
    (25, 0.55, 0.59, 398), (50, 1.09, 1.18, 199), (100, 2.19, 2.36, 100), (200, 4.37, 4.72, 50),
    (400, 8.75, 9.44, 24.9), (800, 17.5, 18.9, 12.4), (1600, 35.0, 37.7, 6.2),
    (4000, 87.5, 94.4, 2.5), (16383, 358, 387, 0.6),
]  # fmt: skip

joint_values = st.lists(st.floats(-10, 10), min_size=20, max_size=20).map(np.array)
voltages = st.floats(11.1, 14.8)


def test_joints_are_in_driver_order() -> None:
    assert robot.JOINTS == DRIVER_ORDER
    assert robot.NUM_JOINTS == 20
    assert [robot.JOINT_INDEX[name] for name in DRIVER_ORDER] == list(range(20))


def test_groups_and_parts_cover_every_joint_once() -> None:
    assert sorted(robot.HEAD + robot.ARMS + robot.LEGS) == list(DRIVER_ORDER)
    assert (len(robot.HEAD), len(robot.ARMS), len(robot.LEGS)) == (2, 6, 12)
    assert set(robot.PART_OF_JOINT) == set(DRIVER_ORDER)
    assert set(robot.PART_OF_JOINT.values()) | {"torso"} == set(robot.PARTS)


@pytest.mark.parametrize(("joint", "ranges"), LIMITS_DEG.items(), ids=LIMITS_DEG)
def test_limits_are_the_union_of_ik_and_motions_of_both_sides(
    joint: str, ranges: tuple[tuple[int, int], ...]
) -> None:
    ik, own, twin = ranges
    mirrored = twin if joint == "head_tilt" else (-twin[1], -twin[0])
    low = math.radians(min(ik[0], own[0], mirrored[0]))
    high = math.radians(max(ik[1], own[1], mirrored[1]))
    i = robot.JOINT_INDEX[joint]
    assert pytest.approx(low, abs=DEGREE) == robot.LOWER_LIMIT_RAD[i]
    assert pytest.approx(high, abs=DEGREE) == robot.UPPER_LIMIT_RAD[i]


def test_limits_are_ordered_hold_zero_and_stay_within_the_encoder() -> None:
    assert (robot.LOWER_LIMIT_RAD < 0).all()
    assert (robot.UPPER_LIMIT_RAD > 0).all()
    assert (np.maximum(-robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD) <= math.pi).all()


def test_mirror_maps_the_limits_to_themselves() -> None:
    images = np.stack(
        [robot.mirror_joints(robot.LOWER_LIMIT_RAD), robot.mirror_joints(robot.UPPER_LIMIT_RAD)]
    )
    np.testing.assert_array_equal(images.min(axis=0), robot.LOWER_LIMIT_RAD)
    np.testing.assert_array_equal(images.max(axis=0), robot.UPPER_LIMIT_RAD)


@given(joint_values)
def test_mirror_is_an_involution_for_any_leading_shape(values: np.ndarray) -> None:
    once = robot.mirror_joints(values)
    np.testing.assert_array_equal(robot.mirror_joints(once), values)
    np.testing.assert_array_equal(
        robot.mirror_joints(np.broadcast_to(values, (2, 3, 20))), np.broadcast_to(once, (2, 3, 20))
    )
    assert once[robot.JOINT_INDEX["l_knee"]] == -values[robot.JOINT_INDEX["r_knee"]]
    assert once[robot.JOINT_INDEX["head_tilt"]] == values[robot.JOINT_INDEX["head_tilt"]]


@pytest.mark.parametrize("name", robot.POSES)
def test_poses_are_within_limits_symmetric_and_read_only(name: str) -> None:
    pose = robot.POSES[name]
    assert ((pose >= robot.LOWER_LIMIT_RAD) & (pose <= robot.UPPER_LIMIT_RAD)).all()
    np.testing.assert_array_equal(robot.mirror_joints(pose), pose)
    assert not pose.flags.writeable


def test_ini_pose_is_the_drivers_crouch() -> None:
    left = {"l_sho_pitch": -15, "l_sho_roll": 45, "l_el": -45, "l_hip_yaw": 0, "l_hip_roll": 0,
            "l_hip_pitch": -70, "l_knee": 142, "l_ank_pitch": 70, "l_ank_roll": 0, "head_pan": 0,
            "head_tilt": -10}  # fmt: skip
    pose = np.degrees(robot.POSES["ini_pose"])
    assert {j: pose[robot.JOINT_INDEX[j]] for j in left} == pytest.approx(left)


def test_joint_vector_starts_from_the_base() -> None:
    base = np.linspace(-0.1, 0.1, 20)
    vector = robot.joint_vector({"l_knee": 1}, base)
    expected = base.copy()
    expected[8] = 1.0
    np.testing.assert_array_equal(vector, expected)
    assert base[8] != 1.0
    np.testing.assert_array_equal(robot.joint_vector({}), np.zeros(20))


RANGE = "l_knee is {} rad; allowed is -0.3142 to 2.4835 rad; choose an angle in that range"


@pytest.mark.parametrize(
    ("angles", "source", "text"),
    [
        ({"knee": 1.0}, "pose", "pose: joint 'knee' is unknown; allowed are "
         + ", ".join(DRIVER_ORDER) + "; correct the name"),
        ({"l_knee": math.nan}, "pose", "pose: " + RANGE.format("nan")),
        ({"l_knee": -math.inf}, "pose", "pose: " + RANGE.format("-inf")),
        ({"l_knee": 2.6}, "goals.yaml", "goals.yaml: " + RANGE.format("2.6")),
        ({"l_knee": "bent"}, "pose", "pose: " + RANGE.format("bent")),
    ],
    ids=["unknown", "nan", "infinite", "outside", "text"],
)  # fmt: skip
def test_joint_vector_tells_what_is_wrong(
    angles: dict[str, float], source: str, text: str
) -> None:
    with pytest.raises(BadInputError) as error:
        robot.joint_vector(angles, source=source)
    assert str(error.value) == text


@pytest.mark.parametrize(("voltage", "torque", "current", "rpm", "per_p", "back_emf"), DATA_SHEET)
def test_servo_follows_the_data_sheet(
    voltage: float, torque: float, current: float, rpm: float, per_p: float, back_emf: float
) -> None:
    servo = Servo(voltage)
    assert servo.stall_torque_n_m == pytest.approx(torque)
    assert servo.stall_current_a == pytest.approx(current)
    assert servo.no_load_speed_rad_s == pytest.approx(rpm * 2 * math.pi / 60)
    assert servo.stiffness_per_p == pytest.approx(per_p, rel=1e-4)
    assert servo.back_emf_damping == pytest.approx(back_emf, abs=6e-4)
    # Where the drive is saturated: duty is the same at every voltage.
    assert servo.stall_torque_n_m / servo.stiffness_per_p == pytest.approx(1 / 0.005754755)


@pytest.mark.parametrize(("p", "at_11", "at_12", "full_duty_deg"), STIFFNESS)
def test_p_register_gives_the_stiffness_of_the_table(
    p: int, at_11: float, at_12: float, full_duty_deg: float
) -> None:
    assert Servo(11.1).stiffness_per_p * p == pytest.approx(at_11, rel=6e-3)
    assert Servo(12.0).stiffness_per_p * p == pytest.approx(at_12, rel=6e-3)
    servo = Servo()
    error = math.degrees(servo.stall_torque_n_m / (servo.stiffness_per_p * p))
    assert error == pytest.approx(full_duty_deg, rel=0.02, abs=0.05)


@pytest.mark.parametrize("derivative_time_s", [1e-3, 2e-3, 1e-4])
def test_d_register_damps_by_its_sampling_time(derivative_time_s: float) -> None:
    servo = Servo(derivative_time_s=derivative_time_s)
    assert servo.damping_per_d == pytest.approx(0.188756 * derivative_time_s, rel=1e-4)


@given(st.integers(0, Servo.MAX_GAIN), voltages)
def test_registers_round_trip_through_scales(register: int, voltage: float) -> None:
    servo = Servo(voltage)
    assert servo.p_register(register / servo.NOMINAL_P) == register
    scale = 1 + register * servo.damping_per_d / servo.back_emf_damping
    assert servo.d_register(scale) == register


@given(st.lists(st.floats(-100, 1e6), min_size=1, max_size=8).map(sorted), voltages)
def test_registers_are_clamped_and_monotone(values: list[float], voltage: float) -> None:
    servo = Servo(voltage)
    for registers in (servo.p_register(values), servo.d_register(values)):
        assert registers.dtype == np.int64
        assert registers.shape == (len(values),)
        assert (registers >= 0).all()
        assert (registers <= 16383).all()
        assert (np.diff(registers) >= 0).all()


@given(voltages)
def test_scale_one_is_nominal_and_back_emf_cannot_be_taken_away(voltage: float) -> None:
    servo = Servo(voltage)
    assert servo.p_register(1.0) == 800
    np.testing.assert_array_equal(servo.d_register([0.0, 0.5, 1.0]), [0, 0, 0])
    assert servo.d_register(servo.max_damping_scale) == servo.MAX_GAIN
    assert servo.d_register(2 * servo.max_damping_scale) == servo.MAX_GAIN


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"voltage_v": 11.0}, "voltage is 11.0 V; allowed is 11.1 to 14.8 V; "
         "give the voltage measured under load"),
        ({"voltage_v": math.nan}, "voltage is nan V; allowed is 11.1 to 14.8 V; "
         "give the voltage measured under load"),
        ({"derivative_time_s": 0.0}, "derivative time is 0.0 s; allowed is above 0 and below 1 s; "
         "give the sampling time of the servo's D term"),
    ],
    ids=["low voltage", "nan", "no derivative time"],
)  # fmt: skip
def test_servo_refuses_what_no_data_sheet_covers(kwargs: dict[str, float], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        Servo(**kwargs)  # type: ignore[arg-type]
    assert str(error.value) == text
