# SPDX-License-Identifier: Apache-2.0
"""The parameter file of the detectors: what is shipped, what is read, what is refused."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from op3_fall.attitude import AttitudeConfig
from op3_fall.detector_file import detector_yaml, load_detector
from op3_fall.detectors import DetectorConfig
from op3_fall.errors import BadInputError
from op3_fall.fall_detection import FallRule
from op3_fall.impact_detection import ImpactRule
from op3_fall.resources import resource

PARTS = (FallRule, AttitudeConfig, ImpactRule)
NAMES = [f.name for kind in PARTS for f in fields(kind) if "range" in f.metadata]


def numbers(kind: type) -> st.SearchStrategy[dict[str, float]]:
    """Any allowed values of a dataclass."""
    ranges = {f.name: f.metadata["range"] for f in fields(kind) if "range" in f.metadata}
    return st.fixed_dictionaries(
        {name: st.floats(float(low), float(high)) for name, (low, high) in ranges.items()}
    )


def refused(path: Path, text: str) -> str:
    """What is said of a file, its own name taken off."""
    path.write_text(text)
    with pytest.raises(BadInputError) as error:
        load_detector(path)
    told = str(error.value)
    assert "\n" not in told and told.startswith(f"detector file '{path}'")
    return told.removeprefix(f"detector file '{path}'")


def parameters(text: str) -> str:
    return f"fall_detector:\n  ros__parameters:\n    {text}\n"


def test_the_shipped_file_holds_the_defaults_and_their_meaning() -> None:
    assert resource("config/detector.yaml").read_text() == detector_yaml(DetectorConfig())
    assert load_detector(None) == DetectorConfig()


def test_a_parameter_has_one_meaning() -> None:
    """Flat names, as ROS has them, must not meet; and each is told with its unit and range."""
    assert len(set(NAMES)) == len(NAMES)
    text = detector_yaml(DetectorConfig())
    assert list(YAML(typ="safe").load(text)["fall_detector"]["ros__parameters"]) == NAMES
    assert (
        "    # How far the capture point must be outside of the soles for an alarm, m.\n"
        "    margin_m: 0.02  # -0.1 to 0.3 m\n"
    ) in text
    assert "    driver_filter: 0.4  # 0.01 to 1\n" in text
    assert max(map(len, text.splitlines())) <= 99


@given(numbers(FallRule), numbers(AttitudeConfig), numbers(ImpactRule))
def test_what_is_written_is_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    fall: dict[str, Any], attitude: dict[str, Any], impact: dict[str, Any],
) -> None:  # fmt: skip
    config = DetectorConfig(
        FallRule(**fall, attitude=AttitudeConfig(**attitude)), ImpactRule(**impact)
    )
    path = tmp_path_factory.mktemp("given") / "detector.yaml"
    path.write_text(detector_yaml(config))
    assert load_detector(path) == config


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(parameters("margin_m: 0.05\n    gear_n_m: 4.0\n    age_s: 1.0e-2"))
    found = load_detector(path)
    assert (found.fall.margin_m, found.impact.gear_n_m, found.fall.attitude.age_s) == (
        0.05, 4.0, 0.01
    )  # fmt: skip
    same = [name for name in NAMES if name not in ("margin_m", "gear_n_m", "age_s")]
    flat, default = flatten(found), flatten(DetectorConfig())
    assert len(same) == len(NAMES) - 3 and all(flat[name] == default[name] for name in same)
    path.write_text("fall_detector:\n  ros__parameters: {}\n")
    assert load_detector(path) == DetectorConfig()


def flatten(config: DetectorConfig) -> dict[str, Any]:
    return vars(config.fall) | vars(config.fall.attitude) | vars(config.impact)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("margn_m: 0.05", f": parameter 'margn_m' is unknown; allowed are {', '.join(NAMES)}; "
         "write margin_m"),
        ("voltage_v: 12.0", f": parameter 'voltage_v' is unknown; allowed are {', '.join(NAMES)}; "
         "leave it out"),
        ("1: 2.0", f": parameter '1' is unknown; allowed are {', '.join(NAMES)}; leave it out"),
        ("fast_rad_s: 2", ": fast_rad_s is 2, an integer to ROS; allowed is a number with a "
         "decimal point; write 2.0"),
        ("margin_m: far", ": margin m is 'far'; allowed is a number; give one"),
        ("margin_m: true", ": margin m is True; allowed is a number; give one"),
        ("margin_m:", ": margin m is None; allowed is a number; give one"),
        ("margin_m: [0.1]", ": margin m is [0.1]; allowed is a number; give one"),
        ("margin_m: 0.5", ": margin m is 0.5 m; allowed is from -0.1 to 0.3 m; choose a value of "
         "margin m in that range"),
        ("trust_band_g: .nan", ": trust band g is nan g; allowed is from 0 to 1 g; choose a value "
         "of trust band g in that range"),
        ("subsided_s: .inf", ": subsided s is inf s; allowed is from 0 to 60 s; choose a value of "
         "subsided s in that range"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_not_allowed_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path / "given.yaml", parameters(text)) == told


@pytest.mark.parametrize(
    "text",
    ["", "margin_m: 0.05\n", "- 1\n", "fall_detector:\n  margin_m: 0.05\n",
     "fall_detector:\n  ros__parameters: 0.05\n", "fall_detector:\n  ros__parameters:\n",
     "/**:\n  ros__parameters:\n    margin_m: 0.05\n",
     f"{parameters('margin_m: 0.05')}sim:\n  ros__parameters: {{}}\n",
     "fall_detector:\n  ros__parameters: {}\n  other: 1\n"],
)  # fmt: skip
def test_another_layout_is_told(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path / "given.yaml", text) == (
        " is laid out differently; allowed is only 'fall_detector: ros__parameters: name: "
        "value'; see config/detector.yaml"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: !!python/object/apply:os.system [echo]",
        parameters("age_s: 0.1\n    age_s: 0.2"),
    ],
)
def test_what_is_no_yaml_is_told(tmp_path: Path, text: str) -> None:
    told = refused(tmp_path / "given.yaml", text)
    assert told.startswith(" cannot be read (")
    assert told.endswith(
        "); allowed is a ROS 2 parameter file such as config/detector.yaml; check the path and "
        "the file"
    )


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(BadInputError) as error:
        load_detector(path)
    assert str(error.value) == (
        f"detector file '{path}' cannot be read ([Errno 2] No such file or directory: '{path}'); "
        "allowed is a ROS 2 parameter file such as config/detector.yaml; check the path and the "
        "file"
    )
