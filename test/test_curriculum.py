# SPDX-License-Identifier: Apache-2.0
"""The curriculum: its fixed methods, definitions, advance by success rate, and its files."""

import inspect
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gymnasium")

from op3_fall.envs.curriculum import JOINT_NOISE_RAD, MASS_SHARE, CurriculumManager
from op3_fall.envs.phase import Phase
from op3_fall.errors import BadInputError
from op3_fall.resources import resource

SHIPPED = ("arms", "arms_legs", "roll")
THREE = (Phase(), Phase(push_normal=True), Phase(push_strong=True))


def refused(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(BadInputError) as error:
        call(*args, **options)
    return str(error.value)


def from_text(path: Path, text: str) -> CurriculumManager:
    path.write_text(text)
    return CurriculumManager.from_yaml(path)


@pytest.mark.parametrize(
    ("method", "defaults"),
    [
        ("enable_mass_rand", {"arms": True, "legs": False, "head": False}),
        ("enable_joint_offset_rand", {"value": inspect.Parameter.empty}),
        ("enable_noise", {"imu": False, "joints": False}),
        ("enable_push", {"front": True, "back": False, "sides": False}),
        ("set_push_severity", {"weak": True, "normal": False, "strong": False}),
        ("start_phase_def", {"phase_id": 0}),
        ("finish_phase_def", {}),
        ("set_phase", {"phase_id": 0}),
        ("to_next_phase", {}),
    ],
)
def test_names_and_defaults_that_people_have_code_against(
    method: str, defaults: dict[str, Any]
) -> None:
    parameters = inspect.signature(getattr(CurriculumManager(), method)).parameters
    assert {name: p.default for name, p in parameters.items()} == defaults


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("enable_mass_rand", {}, {"mass_arms": MASS_SHARE}),
        ("enable_mass_rand", {"arms": False, "legs": True, "head": True},
         {"mass_legs": MASS_SHARE, "mass_head": MASS_SHARE}),
        ("enable_joint_offset_rand", {"value": 0.03}, {"joint_offset_rad": 0.03}),
        ("enable_noise", {}, {}),
        ("enable_noise", {"imu": True}, {"imu_errors": 1.0}),
        ("enable_noise", {"joints": True}, {"joint_noise_rad": JOINT_NOISE_RAD}),
        ("enable_push", {"front": False, "back": True, "sides": True},
         {"push_front": False, "push_back": True, "push_sides": True}),
        ("set_push_severity", {"weak": False, "normal": True, "strong": True},
         {"push_weak": False, "push_normal": True, "push_strong": True}),
        ("change", {"latency_s": 0.05, "bumps": True}, {"latency_s": 0.05, "bumps": True}),
    ],
)  # fmt: skip
def test_what_the_methods_change_in_the_current_phase(
    method: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    manager = CurriculumManager(THREE)
    manager.set_phase(1)
    getattr(manager, method)(**options)
    assert manager.phase == replace(THREE[1], **expected)
    assert manager.phases == {0: THREE[0], 1: manager.phase, 2: THREE[2]}


def test_each_call_says_anew_what_it_is_about() -> None:
    manager = CurriculumManager()
    manager.enable_mass_rand(arms=True, legs=True)
    manager.enable_mass_rand(arms=False, head=True)
    manager.enable_noise(imu=True, joints=True)
    manager.enable_noise()
    assert manager.phase == Phase(mass_head=MASS_SHARE)


def test_a_definition_starts_from_the_default_and_shows_when_it_is_finished() -> None:
    manager = CurriculumManager()
    manager.enable_push(back=True)
    current = manager.phase
    manager.start_phase_def(1)
    manager.set_push_severity(strong=True)
    assert manager.phases == {0: current} and manager.phase == current
    manager.finish_phase_def()
    assert manager.phases == {0: current, 1: Phase(push_strong=True)}
    assert manager.phase_id == 0 and manager.phase == current
    manager.enable_mass_rand()  # the current phase again
    assert manager.phases[0] == replace(current, mass_arms=MASS_SHARE)
    manager.start_phase_def(0)
    manager.finish_phase_def()
    assert manager.phase == Phase() and len(manager.phases) == 2


def test_the_phases_are_to_be_read_only() -> None:
    with pytest.raises(TypeError):
        CurriculumManager().phases[0] = Phase()  # type: ignore[index]


def test_the_next_phase_and_the_last_one() -> None:
    manager = CurriculumManager(THREE)
    seen = []
    for _ in range(4):
        seen.append(manager.phase_id)
        manager.to_next_phase()
    assert seen == [0, 1, 2, 2] and manager.phase == THREE[2]
    manager.set_phase()
    assert manager.phase_id == 0


def test_what_is_refused_changes_nothing() -> None:
    manager = CurriculumManager(THREE)
    unknown = "allowed are 0, 1, 2; define it first, or choose one of them"
    for phase_id in (3, -1, True, "1", 1.0):
        assert refused(manager.set_phase, phase_id) == f"phase {phase_id!r} is unknown; {unknown}"
    assert refused(manager.start_phase_def, 5) == (
        "phase 5 cannot be defined; allowed are 0, 1, 2, to define it again, or the next one, 3; "
        "leave no gap"
    )
    assert refused(manager.finish_phase_def) == (
        "no phase is being defined; allowed is to finish one that was started; call "
        "start_phase_def first"
    )
    assert refused(manager.enable_push, front=1) == (
        "push front is 1; allowed are true and false; give one of them"
    )
    for method, name in ((manager.enable_mass_rand, "legs"), (manager.enable_noise, "imu")):
        told = refused(method, **{name: 0.5})
        assert told == f"{name} is 0.5; allowed are true and false; give one of them"
    assert refused(manager.enable_joint_offset_rand, "big") == (
        "joint offset is 'big'; allowed is a number; give one"
    )
    assert refused(manager.change, latency_s=0.01, colour="red").startswith(
        "field 'colour' is unknown; allowed are mass_arms, mass_legs, "
    )
    assert manager.phases == dict(enumerate(THREE)) and manager.phase_id == 0
    manager.start_phase_def(3)
    assert refused(manager.start_phase_def, 0) == (
        "the definition of phase 3 is not finished; allowed is one at a time; call "
        "finish_phase_def first"
    )


def test_advance_when_the_rate_over_the_window_is_reached() -> None:
    """By hand, with a window of 4 and a rate of 3 in 4."""
    manager = CurriculumManager(THREE, advance_at=0.75, window=4)
    for ended, phase_id, rate in (
        ([True, True], 0, 1.0),  # the window is not full yet
        ([False, False], 0, 0.5),
        ([], 0, 0.5),
        ([True], 0, 0.5),  # T F F T
        ([True], 0, 0.5),  # F F T T
        ([True], 1, 0.0),  # F T T T: on, and the window is empty
        ([True] * 3, 1, 1.0),
        ([False, True, False, True, False], 1, 0.5),  # the last four: T F T F
        ([False, False, True, True, True, False], 2, 0.0),  # T T T F
    ):
        manager.record(ended)
        assert (manager.phase_id, manager.success_rate) == (phase_id, rate)
    manager.record([True] * 9)
    assert manager.phase_id == 2 and manager.success_rate == 1.0
    never = CurriculumManager(THREE, window=1)
    never.record([True] * 5)
    assert never.phase_id == 0


def test_episodes_of_another_phase_do_not_count() -> None:
    manager = CurriculumManager(THREE, advance_at=1.0, window=2)
    manager.set_phase(1)
    manager.record([True, True, True], phase_ids=[0, 1, 0])
    assert (manager.phase_id, manager.success_rate) == (1, 1.0)
    manager.record([False, True], phase_ids=[0, 1])
    assert manager.phase_id == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.set_phase(0),
        lambda m: m.enable_push(back=True),
        lambda m: (m.start_phase_def(0), m.finish_phase_def()),
    ],
    ids=["set_phase", "change", "redefinition"],
)
def test_a_change_of_the_current_phase_starts_the_window_anew(change: Any) -> None:
    manager = CurriculumManager(THREE, advance_at=0.5, window=3)
    manager.record([True, True])
    change(manager)
    assert manager.success_rate == 0.0
    manager.record([True])
    assert manager.phase_id == 0


def test_defining_another_phase_leaves_the_window() -> None:
    manager = CurriculumManager(THREE, window=3)
    manager.record([True])
    manager.start_phase_def(1)
    manager.enable_push(back=True)
    manager.finish_phase_def()
    assert manager.success_rate == 1.0


@given(st.lists(st.lists(st.booleans(), max_size=5), max_size=20), st.integers(0, 19))
def test_training_goes_on_from_a_state_as_if_it_had_not_stopped(
    steps: list[list[bool]], stop: int
) -> None:
    manager = CurriculumManager(THREE, advance_at=0.6, window=7)
    for ended in steps[:stop]:
        manager.record(ended)
    resumed = CurriculumManager(THREE, advance_at=0.6, window=7)
    resumed.restore(json.loads(json.dumps(manager.state())))
    copied = pickle.loads(pickle.dumps(manager))
    for ended in steps[stop:]:
        for one in (manager, resumed, copied):
            one.record(ended)
    assert manager.state() == resumed.state() == copied.state()
    assert manager.phase == resumed.phase == copied.phase


@pytest.mark.parametrize("state", [{}, {"phase_id": 0}, {"phase_id": 0, "window": 3}])
def test_what_is_no_state_is_refused(state: dict[str, Any]) -> None:
    assert refused(CurriculumManager().restore, state) == (
        f"state of the curriculum is {state!r}; allowed is a mapping of phase_id and window; "
        "give what state() returned"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"phases": []}, "curriculum has no phase; allowed is one or more; give Phase()"),
        ({"advance_at": 2}, "advance_at is 2; allowed is from 0.001 to 1; choose a value of "
         "advance_at in that range"),
        ({"advance_at": True}, "advance_at is True; allowed is a number; give one"),
        ({"window": 0.5}, "window is 0.5; allowed is a whole number; give one"),
        ({"window": 0}, "window is 0 episodes; allowed is from 1 to 1e+06 episodes; choose a "
         "value of window in that range"),
    ],
)  # fmt: skip
def test_what_makes_no_curriculum_is_refused(options: dict[str, Any], told: str) -> None:
    assert refused(CurriculumManager, **options) == told


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_curricula_load_and_each_phase_adds_something(name: str) -> None:
    manager = CurriculumManager.from_yaml(resource(f"config/curriculum/{name}.yaml"))
    phases = list(manager.phases.values())
    assert len(phases) >= 3 and len(set(phases)) == len(phases)
    for _ in phases:
        manager.record([True] * 100_000)
    assert manager.phase_id == len(phases) - 1
    hard = manager.phase
    assert hard.imu_errors and hard.mass_arms and hard.latency_s and hard.push_strong
    assert hard.push_back == (name == "arms_legs") and hard.push_sides == (name != "arms")


def test_only_forward_falls_are_for_the_arms_alone() -> None:
    manager = CurriculumManager.from_yaml(resource("config/curriculum/arms.yaml"))
    assert all(p.push_front and not p.push_back and not p.push_sides
               for p in manager.phases.values())  # fmt: skip


def test_a_file_says_what_the_constructor_takes(tmp_path: Path) -> None:
    text = "{advance_at: 1, window: 2, phases: [{}, {push_back: true, latency_s: 0.01}]}"
    manager = from_text(tmp_path / "mine.yaml", text)
    assert manager.phases == {0: Phase(), 1: Phase(push_back=True, latency_s=0.01)}
    manager.record([True, True])
    assert manager.phase_id == 1


LAYOUT = (
    " is laid out differently; allowed is a mapping of advance_at, window, phases with phases: "
    "[{field: value, ...}, ...]; see config/curriculum/arms.yaml"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", LAYOUT), ("[1, 2]", LAYOUT), ("phases: {}", LAYOUT), ("phases: [1]", LAYOUT),
        ("window: 3", LAYOUT),
        ("{phases: [{}], windows: 3}", ": entry 'windows' is unknown; allowed are advance_at, "
         "window, phases; correct the name"),
        ("{phases: []}", ": curriculum has no phase; allowed is one or more; give Phase()"),
        ("{phases: [{}], window: many}", ": window is 'many'; allowed is a whole number; give "
         "one"),
        ("{phases: [{}, {bumps: 3}]}", ": phase 1: bumps is 3; allowed are true and false; give "
         "one of them"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    assert refused(from_text, path, text) == f"curriculum file '{path}'{told}"


def test_an_unknown_field_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    told = refused(from_text, tmp_path / "mine.yaml", "phases: [{mass_arm: 0.1}]")
    assert "phase 0: field 'mass_arm' is unknown; allowed are mass_arms, mass_legs, " in told
    assert told.endswith("pose_jitter_rad; correct the name")
    told = refused(CurriculumManager.from_yaml, tmp_path / "none.yaml")
    assert told.startswith(f"curriculum file '{tmp_path / 'none.yaml'}' cannot be read")
