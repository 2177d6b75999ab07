# SPDX-License-Identifier: Apache-2.0
"""Protective motions: laws over the sides of a fall, ramps by hand, and their file."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from protective_samples import motion, motions
from ruamel.yaml import YAML
from signal_samples import fall_estimate

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.fall_detection import FallPhase
from op3_fall.protective import DIRECTIONS, SYMMETRIC, Motion, ProtectiveMotions
from op3_fall.protective_file import ARMS_ONLY, SHIPPED, load_motions, motions_yaml
from op3_fall.resources import resource
from op3_fall.signals import FallEstimate

SEEDS = st.integers(0, 2**32)
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
EIGHTH = np.pi / 4
NAMES = [f.name for f in fields(Motion)]
POSES = ("early", "landing")


def falls(seed: int, shape: tuple[int, ...]) -> FallEstimate:
    """To all sides, at all tilts, in all phases."""
    rng = np.random.default_rng(seed)
    return fall_estimate(
        shape, fall_angle=rng.uniform(-np.pi, np.pi, shape), tilt=rng.uniform(0, 1.6, shape),
        phase=rng.integers(0, 4, shape),
    )  # fmt: skip


def assert_close(a: Motion, b: Motion, tolerance: float) -> None:
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(a, name), getattr(b, name), rtol=0, atol=tolerance, err_msg=name
        )


@given(SEEDS, SHAPES)
def test_a_fall_to_the_other_side_gets_the_mirror_image(seed: int, shape: Any) -> None:
    protective, fall = motions(seed), falls(seed, shape)
    position, stiffness = protective.targets(fall)
    assert position.shape == stiffness.shape == (*shape, 20)
    other, again = protective.targets(replace(fall, fall_angle=-fall.fall_angle))
    np.testing.assert_allclose(other, robot.mirror_joints(position), rtol=0, atol=1e-12)
    np.testing.assert_allclose(again, stiffness[..., robot.MIRROR_INDEX], rtol=0, atol=1e-12)


@given(SEEDS)
def test_each_robot_of_a_batch_is_on_its_own(seed: int) -> None:
    protective, fall = motions(seed), falls(seed, (2, 3))
    together = protective.targets(fall)
    for i in np.ndindex(2, 3):
        alone = {f.name: getattr(fall, f.name)[i] for f in fields(FallEstimate)}
        for one, all_ in zip(protective.targets(FallEstimate(**alone)), together, strict=True):
            np.testing.assert_array_equal(one, all_[i])


@given(SEEDS, st.floats(-4, 4), st.booleans())
def test_a_little_more_to_the_side_changes_little(seed: int, eighths: float, at_end: bool) -> None:
    """Also from one sector to the next; at most 2 pi in an eighth of a turn."""
    protective = motions(seed)
    eighths = round(eighths) if at_end else eighths
    near = [protective.motion(np.asarray(EIGHTH * (eighths + d))) for d in (-1e-9, 0.0, 1e-9)]
    assert_close(near[0], near[1], 1e-8)
    assert_close(near[1], near[2], 1e-8)


@given(SEEDS)
def test_straight_back_is_one_side_whatever_its_sign(seed: int) -> None:
    protective = motions(seed)
    assert_close(protective.motion(np.array(np.pi)), protective.motion(np.array(-np.pi)), 1e-12)


@given(SEEDS)
def test_at_the_angle_of_a_direction_its_motion_is_done(seed: int) -> None:
    """To the right angles are positive, and what is done is the mirror image."""
    protective = motions(seed)
    for i, name in enumerate(DIRECTIONS):
        own = protective.by_direction[name]
        assert_close(protective.motion(np.array(-i * EIGHTH)), own, 1e-12)
        assert_close(protective.motion(np.array(i * EIGHTH)), own.mirrored, 1e-12)


@given(SEEDS, st.integers(0, 3), st.floats(0, 1))
def test_between_two_directions_lies_what_is_between_their_motions(
    seed: int, sector: int, share: float
) -> None:
    protective = motions(seed)
    a, b = (protective.by_direction[DIRECTIONS[sector + i]] for i in (0, 1))
    found = protective.motion(np.array(-(sector + share) * EIGHTH))
    for name in NAMES:
        start, end = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(
            getattr(found, name), (1 - share) * start + share * end, rtol=0, atol=1e-9
        )


@given(SEEDS)
def test_the_mirror_image_of_a_mirror_image_is_the_motion(seed: int) -> None:
    assert_close(motion(seed, "left").mirrored.mirrored, motion(seed, "left"), 0.0)


HAND = Motion(
    early=np.zeros(20), landing=np.full(20, 0.2), landing_tilt_rad=np.array(0.8),
    soft_tilt_rad=np.array(0.5), arms=np.array([0.9, 0.5, 0.3]), legs=np.array([0.8, 0.4, 0.2]),
)  # fmt: skip
FALLING, IMPACT, DOWN = FallPhase.FALLING, FallPhase.IMPACT, FallPhase.DOWN


@pytest.mark.parametrize(
    ("phase", "tilt", "goal", "arms", "legs"),
    [
        (FALLING, 0.30, 0.00, 0.9, 0.8),
        (FALLING, 0.45, 0.00, 0.9, 0.8),
        (FALLING, 0.475, 0.00, 0.8, 0.7),
        (FALLING, 0.50, 0.00, 0.7, 0.6),
        (FALLING, 0.55, 0.00, 0.5, 0.4),
        (FALLING, 0.70, 0.00, 0.5, 0.4),
        (FALLING, 0.75, 0.05, 0.5, 0.4),
        (FALLING, 0.80, 0.10, 0.5, 0.4),
        (FALLING, 0.90, 0.20, 0.5, 0.4),
        (FALLING, 1.50, 0.20, 0.5, 0.4),
        (IMPACT, 0.30, 0.00, 0.3, 0.2),
        (IMPACT, 0.85, 0.15, 0.3, 0.2),
        (DOWN, 1.50, 0.20, 0.3, 0.2),
    ],
)
def test_what_follows_from_tilt_and_phase(
    phase: FallPhase, tilt: float, goal: float, arms: float, legs: float
) -> None:
    position, stiffness = HAND.targets(fall_estimate(phase=phase, tilt=tilt))
    np.testing.assert_allclose(position, goal, rtol=0, atol=1e-12)
    for joint, scale in zip(robot.JOINTS, stiffness, strict=True):
        wanted = 1.0 if joint in robot.HEAD else arms if joint in robot.ARMS else legs
        assert scale == pytest.approx(wanted), joint


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_what_is_written_is_read_back_to_four_digits(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Poses at the joints' limits too: what is written does not go beyond."""
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    protective = motions(seed)
    path.write_text(motions_yaml(protective))
    again = load_motions(path)
    for name in DIRECTIONS:
        assert_close(again.by_direction[name], protective.by_direction[name], 1.01e-4)
    assert motions_yaml(again) == path.read_text()


@pytest.mark.parametrize("name", [SHIPPED, ARMS_ONLY])
def test_the_shipped_files_are_as_the_search_writes_them(name: str) -> None:
    shipped = load_motions(resource(name))
    assert motions_yaml(shipped) == resource(name).read_text()
    assert set(shipped.by_direction) == set(DIRECTIONS)
    for each in shipped.by_direction.values():
        legs_stand = bool(np.all(each.landing == each.arms_only.landing))
        assert legs_stand == (name == ARMS_ONLY)


def refused(protective: dict[str, Motion]) -> str:
    with pytest.raises(BadInputError) as error:
        ProtectiveMotions(protective)
    return str(error.value)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_each_direction_is_needed(name: str) -> None:
    some = {other: motion(0, other) for other in DIRECTIONS if other != name}
    assert refused(some) == (
        f"protective motions have no '{name}'; allowed are front, front_left, left, back_left, "
        "back, each once; add it"
    )


def at(index: int, value: float) -> NDArray[np.float64]:
    return np.where(np.arange(20) == index, value, 0.0)


KNEE = robot.JOINT_INDEX["l_knee"]


@pytest.mark.parametrize(
    ("name", "field", "value", "told"),
    [
        ("left", "early", at(KNEE, 3.0), "left: early of l_knee is 3; allowed is from -0.31416 to "
         "2.4835; choose a value of left: early of l_knee in that range"),
        ("left", "landing", at(KNEE, np.nan), "left: landing of l_knee is nan; allowed is from "
         "-0.31416 to 2.4835; choose a value of left: landing of l_knee in that range"),
        ("back", "landing_tilt_rad", -0.1, "back: landing_tilt_rad is -0.1; allowed is from 0 to "
         "3.14159; choose a value of back: landing_tilt_rad in that range"),
        ("back", "soft_tilt_rad", np.inf, "back: soft_tilt_rad is inf; allowed is from 0 to "
         "3.14159; choose a value of back: soft_tilt_rad in that range"),
        ("front", "legs", [1.0, 0.5, 0.04], "front: legs is 0.04; allowed is from 0.05 to 1; "
         "choose a value of front: legs in that range"),
        ("front", "early", at(KNEE, 0.25), "front: asymmetry of early is 0.25 rad; allowed is "
         "from 0 to 1e-06 rad; choose a value of front: asymmetry of early in that range"),
        ("back", "landing", at(0, 0.1), "back: asymmetry of landing is 0.2 rad; allowed is from 0 "
         "to 1e-06 rad; choose a value of back: asymmetry of landing in that range"),
    ],
)  # fmt: skip
def test_what_the_robot_cannot_do_is_told(name: str, field: str, value: Any, told: str) -> None:
    all_ = {other: motion(0, other) for other in DIRECTIONS}
    wrong = replace(all_[name], **{field: np.asarray(value)})
    assert refused(all_ | {name: wrong}) == told
    if name in SYMMETRIC and "asymmetry" in told:
        ProtectiveMotions(all_ | {"left": wrong})


KEYS = "landing_tilt_rad, soft_tilt_rad, arms, legs, early, landing"


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("left",), None, "protective motions have no 'left'; allowed are front, front_left, "
         "left, back_left, back, each once; add it"),
        (("right",), "left", "direction 'right' is unknown; allowed are front, front_left, left, "
         "back_left, back; correct the name"),
        (("left",), [1], f"'left' is laid out differently; allowed is a mapping of {KEYS}; see "
         "config/motions.yaml"),
        (("left", "arms"), None, f"'left' is laid out differently; allowed is a mapping of {KEYS};"
         " see config/motions.yaml"),
        (("left", "legs_too"), 1.0, f"'left' is laid out differently; allowed is a mapping of "
         f"{KEYS}; see config/motions.yaml"),
        (("left", "early"), [0.0] * 20, "left: early is no mapping; allowed are angles in rad by "
         "joint; see config/motions.yaml"),
        (("left", "early", "l_knee"), 3.0, "left: early: l_knee is 3.0 rad; allowed is -0.3142 to "
         "2.4835 rad; choose an angle in that range"),
        (("left", "arms"), [1.0, 0.5], "left: arms is [1.0, 0.5]; allowed is three numbers; see "
         "config/motions.yaml"),
        (("left", "legs"), "soft", "left: legs is 'soft'; allowed is three numbers; see "
         "config/motions.yaml"),
        (("back", "soft_tilt_rad"), [0.5], "back: soft_tilt_rad is [0.5]; allowed is a number; "
         "see config/motions.yaml"),
        (("back", "soft_tilt_rad"), {"a": 1}, "back: soft_tilt_rad is {'a': 1}; allowed is a "
         "number; see config/motions.yaml"),
        (("back", "landing_tilt_rad"), 4.0, "back: landing_tilt_rad is 4; allowed is from 0 to "
         "3.14159; choose a value of back: landing_tilt_rad in that range"),
        (("front", "early", "l_knee"), 1.0, "front: asymmetry of early is 0.7381 rad; allowed is "
         "from 0 to 1e-06 rad; choose a value of front: asymmetry of early in that range"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_allowed_is_told(
    tmp_path: Path, place: tuple[str, ...], value: Any, told: str
) -> None:
    """One entry of the shipped file is left out (None) or another one."""
    content = YAML(typ="safe", pure=True).load(resource(SHIPPED))
    content["front"]["early"] |= {"l_knee": 0.2619, "r_knee": -0.2619}
    entry = content
    for key in place[:-1]:
        entry = entry[key]
    if value is None:
        del entry[place[-1]]
    else:
        entry[place[-1]] = content[value] if value in DIRECTIONS else value
    path = tmp_path / "motions.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    with pytest.raises(BadInputError) as error:
        load_motions(path)
    assert str(error.value) == f"motion file '{path}': {told}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read ([Errno 2] No such file"),
        (b"front: {", "cannot be read ("),
        (b"\xff\xfe\x00", "cannot be read ("),
        (b"", "holds no mapping; allowed is an entry for each of front, front_left, left, "
         "back_left, back; see config/motions.yaml"),
        (b"- front", "holds no mapping; allowed is an entry for each of front, front_left, left, "
         "back_left, back; see config/motions.yaml"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_told_in_one_line(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "motions.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInputError) as error:
        load_motions(path)
    text = str(error.value)
    assert text.startswith(f"motion file '{path}' {told}") and "\n" not in text
    assert "; allowed is an entry for each of front, front_left, left, back_left, back; " in text


def test_motions_may_differ_from_robot_to_robot() -> None:
    """As they do for candidates of a search: each robot has what it has alone."""
    a, b = motions(1), motions(2)
    pair = (a.by_direction["left"], b.by_direction["left"])
    each = Motion(*(np.stack([getattr(m, name) for m in pair]) for name in NAMES))
    mixed = ProtectiveMotions(a.by_direction | {"left": each})
    alone = ProtectiveMotions(a.by_direction | {"left": b.by_direction["left"]})
    for angle in np.linspace(-np.pi, np.pi, 9):
        fall = fall_estimate((2,), fall_angle=np.full(2, angle), tilt=0.7, phase=FallPhase.FALLING)
        for i, of in enumerate((a, alone)):
            for ours, theirs in zip(mixed.targets(fall), of.targets(fall), strict=True):
                np.testing.assert_array_equal(ours[i], theirs[i])
