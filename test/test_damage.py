# SPDX-License-Identifier: Apache-2.0
"""The damage index by hand-computed cases, and the file of its tolerances."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.damage import Tolerances, damage_index, damage_shares
from op3_fall.errors import BadInputError
from op3_fall.evaluation.tolerance_file import load_tolerances, tolerances_yaml
from op3_fall.resources import resource
from op3_fall.sensors import GRAVITY
from op3_fall.truth import Measurement

OURS = Tolerances()
NAMES = [f.name for f in fields(Tolerances)]
KNEE, EL = robot.JOINT_INDEX["l_knee"], robot.JOINT_INDEX["r_el"]


def fallen(n: int = 1) -> Measurement:
    truth = Measurement.start(n)
    truth.hit[:] = True
    return truth


def at(size: int, index: int, value: float) -> NDArray[np.float64]:
    return np.where(np.arange(size) == index, value, 0.0)


CASES = [
    ("head_speed", lambda t: t.head_contact_speed.__setitem__(0, 0.5), 0.5),
    ("head_acceleration",
     lambda t: t.impact_peak.head_acceleration.__setitem__(0, 250 * GRAVITY), 2.5),
    ("gear_load", lambda t: t.impact_peak.gear_load.__setitem__((0, KNEE), 20.5), 0.5),
    ("servo_torque", lambda t: t.impact_peak.torque.__setitem__((0, EL), 4.1), 1.0),
    ("servo_impulse", lambda t: t.impact_impulse.__setitem__((0, EL), 4.1), 0.2),
    ("servo_energy", lambda t: t.impact_energy.__setitem__((0, KNEE), 3.0), 1.5),
]  # fmt: skip


@pytest.mark.parametrize(("share", "give", "value"), CASES, ids=[c[0] for c in CASES])
def test_a_share_is_a_load_over_its_tolerance(share: str, give: Any, value: float) -> None:
    truth = fallen()
    give(truth)
    shares = damage_shares(truth, OURS)
    for name, found in shares.items():
        assert found.tolist() == pytest.approx([value if name == share else 0.0]), name
    assert damage_index(truth, OURS).tolist() == pytest.approx([value])
    # A name of the tolerance starts with that of its share.
    (tolerance,) = [name for name in NAMES if name.startswith(share)]
    twice = replace(OURS, **{tolerance: 2 * getattr(OURS, tolerance)})
    assert damage_index(truth, twice).tolist() == pytest.approx([value / 2])


@pytest.mark.parametrize(
    ("part", "newtons"),
    [("head", 145.0), ("torso", 1323.0), ("l_forearm", 1500.0), ("r_shank", 1500.0),
     ("l_foot", 1500.0), ("r_upper_arm", 1000.0), ("l_hip", 1000.0), ("r_thigh", 1000.0)],
)  # fmt: skip
def test_what_each_part_takes(part: str, newtons: float) -> None:
    truth = fallen()
    truth.impact_peak.floor_force[0] = at(len(robot.PARTS), robot.PARTS.index(part), 3 * newtons)
    assert damage_shares(truth, OURS)["floor_force"].tolist() == pytest.approx([3.0])


def test_the_worst_share_counts_and_who_stayed_up_has_none() -> None:
    truth = fallen(3)
    truth.head_contact_speed[:2] = 2.0
    truth.impact_energy[:2, KNEE] = 3.0
    truth.diverged[1] = True
    np.testing.assert_array_equal(damage_index(truth, OURS), [2.0, np.nan, 0.0])


def test_the_shipped_file_holds_the_defaults_and_their_reasons() -> None:
    text = tolerances_yaml(OURS)
    assert resource("config/tolerances.yaml").read_text() == text
    assert load_tolerances(None) == OURS
    assert (
        "# Floor on the head: 100 g on its own mass, 0.148 kg. It carries the camera.\n"
        "head_force_n: 145.0  # 1 to 10000 N\n"
    ) in text
    assert max(map(len, text.splitlines())) <= 99


@given(st.fixed_dictionaries({
    f.name: st.floats(*map(float, f.metadata["range"])) for f in fields(Tolerances)
}))  # fmt: skip
def test_what_is_written_is_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("given") / "tolerances.yaml"
    path.write_text(tolerances_yaml(Tolerances(**values)))
    assert load_tolerances(path) == Tolerances(**values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("head_force: 1", f": tolerance 'head_force' is unknown; allowed are {', '.join(NAMES)}; "
         "correct the name"),
        ("1: 2", f": tolerance '1' is unknown; allowed are {', '.join(NAMES)}; correct the name"),
        ("head_force_n: much", ": head force n is 'much'; allowed is a number; give one"),
        ("head_force_n: 0", ": head force n is 0 N; allowed is from 1 to 10000 N; choose a value "
         "of head force n in that range"),
        ("- 1", " holds no mapping; allowed are 'name: number' lines such as in "
         "config/tolerances.yaml; write some"),
        ("", " holds no mapping; allowed are 'name: number' lines such as in "
         "config/tolerances.yaml; write some"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_allowed_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError) as error:
        load_tolerances(path)
    assert str(error.value) == f"tolerance file '{path}'{told}"


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text("gear_load_n_m: 20\n")
    assert load_tolerances(path) == replace(OURS, gear_load_n_m=20)
