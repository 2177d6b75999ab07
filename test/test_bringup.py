"""Parameter files of the graph: merged, overridden, refused in one line."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from op3_fall.bringup import environment, parameter_file
from op3_fall.errors import BadInputError
from op3_fall.resources import resource


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    return path


def merged(files: list[Path], overrides: dict[str, dict[str, object]]) -> dict[str, object]:
    with parameter_file(files, overrides) as arguments:
        assert arguments[:2] == ["--ros-args", "--params-file"]
        content = YAML(typ="safe").load(Path(arguments[2]).read_text())
    assert not Path(arguments[2]).exists()
    return {node: block["ros__parameters"] for node, block in content.items()}


def test_later_files_and_overrides_win_parameter_by_parameter(tmp_path: Path) -> None:
    """Also with a value of another type, which rcl's own merging would ignore."""
    path = written(
        tmp_path,
        "gain_scheduler:\n  ros__parameters:\n    stiffness_scale: soft\n    restore_s: 0.3\n"
        "extra:\n  ros__parameters:\n    a: [1, 2]\n",
    )
    found = merged(
        [resource("config/sim.yaml"), path], {"gain_scheduler": {"mode": "stiff"}, "sim": {"a": 1}}
    )
    scheduler = found["gain_scheduler"]
    assert isinstance(scheduler, dict)
    assert (scheduler["stiffness_scale"], scheduler["restore_s"]) == ("soft", 0.3)
    assert (scheduler["mode"], scheduler["damping_scale"]) == ("stiff", 1.0)
    assert found["extra"] == {"a": [1, 2]}
    assert found["policy"] == {"use_sim_time": True, "autostart": "activate"}


REMEDIES = {
    "used": "allowed is a ROS parameter file such as config/sim.yaml; correct it",
    "read": "allowed is a ROS parameter file such as config/sim.yaml; check the path and the file",
}


@pytest.mark.parametrize(
    ("text", "verb", "reason"),
    [
        ("gain_scheduler:\n  stiffness_scale: 1.0\n", "used",
         "no 'node: ros__parameters: name: value'"),
        ("- 1\n", "used", "no 'node: ros__parameters: name: value'"),
        ("", "used", "no 'node: ros__parameters: name: value'"),
        ("a: !!python/object/apply:os.system ['true']\n", "read",
         "could not determine a constructor"),
        ("a: [\n", "read", "while parsing a flow node"),
    ],
)  # fmt: skip
def test_what_is_no_parameter_file_is_refused(
    tmp_path: Path, text: str, verb: str, reason: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadInputError) as error, parameter_file([path], {}):
        pass
    told = str(error.value)
    assert told.startswith(f"parameter file '{path}' cannot be {verb} ({reason}")
    assert told.endswith(f"); {REMEDIES[verb]}")
    assert "\n" not in told


def test_simulated_graphs_stay_on_this_host_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    monkeypatch.delenv(name, raising=False)
    assert environment(local=True)[name] == "LOCALHOST"
    assert name not in environment(local=False)
    monkeypatch.setenv(name, "SUBNET")
    assert environment(local=True)[name] == "SUBNET"
