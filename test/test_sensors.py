# SPDX-License-Identifier: Apache-2.0
"""The driver's readings: quantisation, effort, clipping, filters and orientation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from op3_fall import robot, sensors
from op3_fall.errors import BadInputError
from op3_fall.sensors import PROFILES, Sample

Array = NDArray[np.float64]

SERVO = robot.Servo()
POSITION_STEP = 2 * math.pi / 4096  # 1.534 mrad
VELOCITY_STEP = 1 / 41.707853  # 0.02398 rad/s, 0.229 rpm
EFFORT_STEP = 1 / 149.795386991
REST = (0.0, 0.0, 9.80665, 0.0, 0.0, 0.0)

angles = st.floats(-3.1, 3.1)


def sample(
    *,
    position: float | Array = 0.0,
    velocity: float | Array = 0.0,
    torque: float | Array = 0.0,
    imu: tuple[float, ...] = REST,
) -> Sample:
    return Sample(
        position=np.full(20, position),
        velocity=np.full(20, velocity),
        torque=np.full(20, torque),
        imu=np.array(imu),
        orientation=np.array([0.5, 0.5, 0.5, 0.5]),
    )


def read(truth: Sample, profile: str = "extended", filtered: Array | None = None):
    time_s = np.zeros(truth.imu.shape[:-1])
    filtered = truth.imu if filtered is None else filtered
    return sensors.publish(PROFILES[profile], SERVO, time_s, truth, filtered)


def orientation(*acceleration: float) -> Array:
    """The driver's quaternion after a long time at this specific force."""
    return read(sample(imu=(*acceleration, 0, 0, 0)))[0].orientation


def roll_pitch(q: Array) -> tuple[float, float]:
    w, x, y, z = q
    pitch = math.asin(np.clip(2 * (w * y - z * x), -1, 1))
    return math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)), pitch


@given(angles)
def test_position_comes_in_encoder_counts(angle: float) -> None:
    reading, _ = read(sample(position=angle))
    # The driver's positive half has a count less: up to 1.6 mrad at the end of the range.
    assert abs(reading.position[0] - angle) <= POSITION_STEP / 2 + max(angle, 0) / 2047 + 1e-12
    per_count = math.pi / (2047 if reading.position[0] > 0 else 2048)
    counts = reading.position[0] / per_count
    assert counts == pytest.approx(round(counts), abs=1e-6)


def test_one_position_count_is_1534_microradians() -> None:
    grid = np.linspace(-0.5, 0.0, 20_001)
    read_angles = np.concatenate(
        [read(sample(position=part))[0].position for part in grid[:20000].reshape(-1, 20)]
    )
    steps = np.diff(np.unique(read_angles))
    np.testing.assert_allclose(steps, 1.534e-3, rtol=1e-3)


@given(st.floats(-5, 5))
def test_velocity_comes_in_steps_of_the_register(speed: float) -> None:
    reading, _ = read(sample(velocity=speed))
    assert abs(reading.velocity[0] - speed) <= VELOCITY_STEP / 2 + 1e-12
    assert pytest.approx(0.02398, rel=1e-3) == VELOCITY_STEP
    counts = reading.velocity[0] / VELOCITY_STEP
    assert counts == pytest.approx(round(counts), abs=1e-6)


@given(st.floats(-5, 5))
def test_effort_is_current_times_the_drivers_constant(torque: float) -> None:
    reading, _ = read(sample(torque=torque))
    counts = reading.effort[0] / EFFORT_STEP
    assert counts == pytest.approx(round(counts), abs=1e-6)
    assert reading.effort[0] * 0.718 == pytest.approx(torque, rel=1e-3, abs=EFFORT_STEP)


@pytest.mark.parametrize(("voltage", "effort"), [(11.1, 5.21), (12.0, 5.71), (14.8, 6.70)])
def test_effort_of_the_stall_current(voltage: float, effort: float) -> None:
    servo = robot.Servo(voltage)
    assert servo.stall_torque_n_m * servo.effort_per_n_m == pytest.approx(effort, abs=6e-3)


def test_profiles_differ_in_what_they_say_of_the_same_truth() -> None:
    truth = sample(position=0.3, velocity=1.0, torque=2.0, imu=(30.0, 0, 9, 1, 2, 3))
    stock, extended, ideal = (read(truth, name)[0] for name in ("stock", "extended", "ideal"))
    assert not stock.velocity.any()
    assert not stock.effort.any()
    for name in ("position", "angular_velocity", "linear_acceleration", "orientation"):
        np.testing.assert_array_equal(getattr(stock, name), getattr(extended, name))
    np.testing.assert_array_equal(ideal.position, truth.position)
    np.testing.assert_array_equal(ideal.velocity, truth.velocity)
    np.testing.assert_array_equal(ideal.effort, truth.torque * SERVO.effort_per_n_m)
    np.testing.assert_array_equal(ideal.linear_acceleration, truth.imu[:3])
    np.testing.assert_array_equal(ideal.angular_velocity, truth.imu[3:])
    np.testing.assert_array_equal(ideal.orientation, truth.orientation)


def test_an_unknown_profile_is_told() -> None:
    with pytest.raises(BadInputError) as error:
        sensors.find_profile("perfect")
    assert str(error.value) == (
        "sensor profile 'perfect' is unknown; allowed are stock, extended, ideal; "
        "choose one of them"
    )


@given(st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6))
def test_the_accelerometer_clips_at_2_g_and_the_gyro_at_2000_deg_per_s(imu: list[float]) -> None:
    limit = np.array([2 * 9.80665] * 3 + [math.radians(2000)] * 3)
    chip = np.zeros(6)
    for _ in range(100):
        chip = sensors.chip_filter(chip, np.array(imu), 0.002)
    seen = sensors.imu_registers(chip)
    assert (np.abs(seen) <= limit).all()
    # A 16-bit gyro register at 16.4 counts for each deg/s ends at 1998 deg/s.
    lsb = np.array([5.99e-4] * 3 + [1.0642e-3] * 3)
    short_of = np.abs(seen - np.clip(imu, -limit, limit))
    np.testing.assert_array_less(short_of, lsb * [1.01, 1.01, 1.01, 34, 34, 34])


@given(st.lists(st.floats(-19, 19), min_size=6, max_size=6))
def test_imu_registers_are_16_bits(imu: list[float]) -> None:
    lsb = np.array([2 * 9.80665 / 32768] * 3 + [math.radians(1 / 16.4)] * 3)
    held = sensors.imu_registers(np.array(imu))
    np.testing.assert_allclose(held / lsb, np.rint(held / lsb), atol=1e-6)
    assert (np.abs(held - imu) <= lsb / 2 + 1e-12).all()


def test_the_driver_filter_has_weights_04_and_06_and_a_time_constant_of_two_cycles() -> None:
    step, state, seen = sample(imu=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)), np.zeros(6), []
    for _ in range(50):
        reading, state = read(step, filtered=state)
        seen.append([*reading.linear_acceleration, *reading.angular_velocity])
    expected = (1 - 0.6 ** np.arange(1, 51))[:, None]
    np.testing.assert_allclose(seen, expected * np.ones(6), atol=1.1e-3)
    # 1 - 1/e is reached after tau = -8 ms / ln 0.6 = 15.7 ms.
    assert -0.008 / math.log(1 - np.array(seen)[0, 2]) == pytest.approx(15.7e-3, rel=5e-3)


@pytest.mark.parametrize("dt_s", [0.001, 0.002, 0.004])
def test_the_chip_filter_has_the_bandwidth_of_41_hz_at_any_step(dt_s: float) -> None:
    state = np.zeros(6)
    for _ in range(round(0.016 / dt_s)):
        state = sensors.chip_filter(state, np.ones(6), dt_s)
    np.testing.assert_allclose(state, 1 - math.exp(-2 * math.pi * 41 * 0.016), rtol=1e-12)


@pytest.mark.parametrize(
    ("acceleration", "roll_deg", "pitch_deg"),
    [
        ((0, 0, 9.81), 0, 0),
        ((-9.81, 0, 0), 0, 90),  # on its face
        ((9.81, 0, 0), 0, -90),  # on its back
        ((0, 9.81, 0), 90, 0),  # right side down
        ((0, -9.81, 0), -90, 0),
        ((0, 0, -9.81), 180, 0),
        ((-9.81 * math.sin(0.5), 0, 9.81 * math.cos(0.5)), 0, math.degrees(0.5)),
        ((0, 9.81 * math.sin(0.5), 9.81 * math.cos(0.5)), math.degrees(0.5), 0),
    ],
)
def test_orientation_of_a_robot_at_rest(
    acceleration: tuple[float, float, float], roll_deg: float, pitch_deg: float
) -> None:
    roll, pitch = np.degrees(roll_pitch(orientation(*acceleration)))
    assert abs(roll) == pytest.approx(abs(roll_deg), abs=0.01)
    assert pitch == pytest.approx(pitch_deg, abs=0.01)
    if abs(roll_deg) < 179:
        assert roll == pytest.approx(roll_deg, abs=0.01)


@given(*[st.floats(-19, 19)] * 3)
def test_orientation_follows_the_formula_and_has_no_yaw(ax: float, ay: float, az: float) -> None:
    assume(math.hypot(ax, ay, az) > 0.1)
    q = orientation(ax, ay, az)
    assert (q * q).sum() == pytest.approx(1)
    x, y, z = sensors.imu_registers(np.array([ax, ay, az, 0, 0, 0]))[:3] * 0.4 + 0.6 * np.array(
        [ax, ay, az]
    )
    sign = -1.0 if z < 0 else 1.0
    roll = math.atan2(y, sign * math.sqrt(z * z + 0.01 * x * x))
    pitch = math.atan2(-x, math.hypot(y, z))
    half = np.array([roll, pitch]) / 2
    (cr, cp), (sr, sp) = np.cos(half), np.sin(half)
    # Roll jumps from pi to -pi at y = -0.0: q and -q are the same attitude.
    assert abs(q @ [cr * cp, sr * cp, cr * sp, -sr * sp]) == pytest.approx(1, abs=1e-9)
    assert abs(pitch) <= math.pi / 2


@pytest.mark.parametrize("profile", PROFILES)
def test_leading_axes_do_not_change_the_numbers(profile: str) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3)
    truth = Sample(
        position=rng.uniform(-3, 3, (*shape, 20)),
        velocity=rng.uniform(-5, 5, (*shape, 20)),
        torque=rng.uniform(-4, 4, (*shape, 20)),
        imu=rng.uniform(-25, 25, (*shape, 6)),
        orientation=np.tile([1.0, 0, 0, 0], (*shape, 1)),
    )
    state = rng.uniform(-5, 5, (*shape, 6))
    grid, grid_state = read(truth, profile, state)
    flat, flat_state = read(Sample(*(v.reshape(6, -1) for v in truth)), profile,
                            state.reshape(6, 6))  # fmt: skip
    np.testing.assert_array_equal(grid_state.reshape(6, 6), flat_state)
    for k, index in enumerate(np.ndindex(shape)):
        one, one_state = read(Sample(*(v[index] for v in truth)), profile, state[index])
        np.testing.assert_array_equal(grid_state[index], one_state)
        for name in vars(one):
            np.testing.assert_array_equal(getattr(grid, name)[index], getattr(one, name))
            np.testing.assert_array_equal(getattr(flat, name)[k], getattr(one, name))
