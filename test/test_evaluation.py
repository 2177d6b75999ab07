# SPDX-License-Identifier: Apache-2.0
"""Evaluation: the same falls for all, controllers that do what they say, goals, output."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import policy_samples
import pytest
from mirror_samples import joined, mirrored, symmetric_model
from numpy.typing import NDArray

pytest.importorskip("gymnasium")

from op3_fall import robot
from op3_fall.damage import Tolerances
from op3_fall.detectors import DetectorConfig
from op3_fall.envs import Op3FallControlArmsLegs
from op3_fall.envs.draws import IMPULSES_N_S
from op3_fall.errors import BadInputError
from op3_fall.evaluation import film
from op3_fall.evaluation.cells import SINCE_S, judge
from op3_fall.evaluation.command import Evaluate, make_plan, run_evaluate
from op3_fall.evaluation.controllers import (
    BASELINES,
    Controller,
    Make,
    policy_controller,
)
from op3_fall.evaluation.evaluate import Plan, evaluate
from op3_fall.evaluation.goals import best_baseline, goals
from op3_fall.evaluation.runs import WATCHED_S, Falls, run_falls
from op3_fall.evaluation.scenarios import MAIN, SCENARIOS, draw_falls, fall_seeds
from op3_fall.evaluation.scores import LABELS, score_falls
from op3_fall.evaluation.tables import markdown
from op3_fall.metrics import unit
from op3_fall.resources import resource
from op3_fall.scenarios import BUMPS, Scenario
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading
from op3_fall.simulation import Simulation

Array = NDArray[np.float64]
OURS, DETECTORS = Tolerances(), DetectorConfig()
TORSO = robot.PARTS.index("torso")


def drawn(name: str, n: int = 64) -> Scenario:
    return draw_falls(SCENARIOS[name], fall_seeds(0, n))


def differing(one: Scenario, other: Scenario) -> set[str]:
    return {
        f.name for f in fields(Scenario)
        if not np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=True)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields_", "value"),
    [
        ("slippery", {"friction"}, lambda s: s.friction == 0.3),
        ("heavy", {"mass_scale"}, lambda s: s.mass_scale[:, TORSO] == 1.3),
        ("weak_servos", {"strength"}, lambda s: s.strength == 0.8),
        ("late", {"latency_s"}, lambda s: s.latency_s == 0.05),
        ("bumps", {"bumps"}, lambda s: np.isfinite(s.bumps).all(axis=(1, 2))),
        ("diagonals", {"push_force"}, lambda s: s.push_force[:, 2] == 0),
    ],
)
def test_a_situation_changes_one_thing_of_the_same_falls(
    name: str, fields_: set[str], value: Any
) -> None:
    assert differing(drawn(name), drawn(MAIN)) == fields_
    assert value(drawn(name)).all()


def test_noise_is_three_times_that_of_the_same_falls() -> None:
    noisy, plain = drawn("noisy"), drawn(MAIN)
    errors = {"gyro_bias", "accelerometer_bias", "gyro_noise", "accelerometer_noise",
              "joint_noise"}  # fmt: skip
    assert differing(noisy, plain) == errors | {"imu_mounting"}
    for name in errors:
        np.testing.assert_allclose(getattr(noisy, name), 3 * getattr(plain, name), err_msg=name)


def test_the_worst_is_all_of_them() -> None:
    alone = ("slippery", "heavy", "weak_servos", "late", "bumps", "noisy")
    found = differing(drawn("worst"), drawn(MAIN))
    assert found == set.union(*(differing(drawn(n), drawn(MAIN)) for n in alone)) | {"push_force"}


def bearing_deg(name: str) -> Array:
    """Where the pushes go: 0 to the front, 180 to the back."""
    force = drawn(name, 400).push_force
    return np.degrees(np.abs(np.arctan2(force[:, 1], force[:, 0])))


def test_where_pushes_go_and_how_hard() -> None:
    assert bearing_deg("front").max() <= 22.5 and bearing_deg("back").min() >= 157.5
    sides = bearing_deg("sides")
    assert sides.min() >= 67.5 and sides.max() <= 112.5
    off = np.abs(bearing_deg("diagonals") - 90)
    assert off.min() >= 22.5 and off.max() <= 67.5
    assert np.histogram(bearing_deg(MAIN), 4, (0, 180))[0].min() > 70
    ways = drawn("diagonals", 400).push_force[:, :2]
    assert min(((ways * sign) > 0).all(axis=1).sum()
               for sign in ([1, 1], [1, -1], [-1, 1], [-1, -1])) > 70  # fmt: skip
    for strength in IMPULSES_N_S:
        scenario = drawn("front" if strength == "normal" else f"front_{strength}")
        size = np.linalg.norm(scenario.push_force, axis=1) * scenario.push_duration_s
        low, high = IMPULSES_N_S[strength]
        assert low <= size.min() < size.max() <= high


def test_no_fall_is_trained_on_and_no_two_runs_share_one() -> None:
    last, first = fall_seeds(0, 2**20), fall_seeds(1, 1)
    assert last[0] == 2**42 and last[-1] + 1 == first[0]
    assert fall_seeds(2**18, 2**20)[-1] < 2**62


def let_fall(
    make: Make, scenario: Scenario, simulation: Simulation | None = None, **more: Any
) -> Falls:
    simulation = simulation or Simulation(len(scenario))
    return run_falls(simulation, scenario, make, DETECTORS, **more)


Call = tuple[SensorReading, FallEstimate, JointCommand]


def recorded(make: Make, calls: list[Call]) -> Make:
    """The same controller; what it is told and what it commands is kept."""

    def made(scenario: Scenario, simulation: Simulation) -> Controller:
        control = make(scenario, simulation)

        def step(reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> Any:
            command = control(reading, fall, impact)
            calls.append((reading, fall, command))
            return command

        return step

    return made


def test_freeze_is_a_robot_that_is_left_alone() -> None:
    scenario = drawn(MAIN, 3)
    falls = let_fall(BASELINES["freeze"], scenario)
    simulation, done = Simulation(3), {}
    simulation.reset(scenario)
    for _ in range(200):
        simulation.step(JointCommand.hold(scenario.position))
        truth = simulation.measure()
        for k in np.nonzero(truth.time_s > truth.impact_s + WATCHED_S - 1e-9)[0]:
            done.setdefault(int(k), truth)
    assert len(done) == 3
    for k, truth in done.items():
        for name in ("time_s", "impact_impulse", "impact_energy", "first_contact_s"):
            np.testing.assert_array_equal(getattr(falls.truth, name)[k], getattr(truth, name)[k])
        for f in fields(truth.impact_peak):
            mine, theirs = getattr(falls.truth.impact_peak, f.name), truth.impact_peak
            np.testing.assert_array_equal(mine[k], getattr(theirs, f.name)[k])


def test_a_fall_does_not_depend_on_its_batch() -> None:
    scenario = drawn("worst", 6)
    simulation = Simulation(6, model=Plan({}, ("worst",), 6).load_model("worst"))
    many = score_falls(let_fall(BASELINES["limp"], scenario, simulation), OURS)
    alone = Simulation(1, model=simulation.model)
    one = score_falls(let_fall(BASELINES["limp"], scenario.take([4]), alone), OURS)
    for name, value in one.items():
        np.testing.assert_array_equal(value, many[name][4:5], name)


def test_every_controller_gets_the_same_falls_and_leaves_nothing_behind() -> None:
    """Both are freeze, one after the other in the same simulation."""
    seen: dict[str, Scenario] = {}

    def keeping(name: str) -> Make:
        def make(scenario: Scenario, simulation: Simulation) -> Controller:
            seen[name] = scenario
            return BASELINES["freeze"](scenario, simulation)

        return make

    cells = evaluate(Plan({name: keeping(name) for name in ("freeze", "limp")}, ("worst",), 2))
    assert differing(seen["freeze"], seen["limp"]) == set()
    first, second = cells["worst"].values()
    for name, value in first.scores.items():
        np.testing.assert_array_equal(value, second.scores[name], name)
    np.testing.assert_array_equal(first.load_n_m, second.load_n_m)


def test_loads_are_kept_from_the_contact_on_whoever_else_falls() -> None:
    scenario = drawn("back", 4)
    together = let_fall(BASELINES["freeze"], scenario)
    kept = judge(together, OURS).load_n_m
    assert np.isfinite(kept).all()
    contact = np.searchsorted(together.time_s, together.truth.impact_s - 1e-9)
    at_contact = together.load_n_m[contact, np.arange(4)].astype(np.float32)
    np.testing.assert_array_equal(kept[:, np.abs(SINCE_S).argmin()], at_contact)
    for k in range(4):
        alone = let_fall(BASELINES["freeze"], scenario.take([k]))
        np.testing.assert_array_equal(judge(alone, OURS).load_n_m[0], kept[k])


def test_another_model_gets_bumps_too() -> None:
    own = Plan({}, (MAIN, "bumps"), 1)
    other = replace(own, model=str(resource("models/op3.xml")))
    for plan in (own, other):
        assert not plan.load_model(MAIN).bump_ids.size
        assert plan.load_model("bumps").bump_ids.size == BUMPS


@pytest.mark.parametrize("name", BASELINES)
def test_until_the_alarm_all_hold_and_then_each_does_its_own(name: str) -> None:
    calls: list[Call] = []
    scenario = drawn(MAIN, 2)
    falls = let_fall(recorded(BASELINES[name], calls), scenario)
    hold = JointCommand.hold(scenario.position)
    for _, fall, command in calls:
        up = ~fall.falling
        for f in fields(hold):
            np.testing.assert_array_equal(getattr(command, f.name)[up], getattr(hold, f.name)[up])
    _, fall, last = calls[-1]
    assert fall.falling.all() and (falls.alarm_s < falls.truth.impact_s).all()
    goes = name.startswith("scripted")
    goal = robot.POSES["protect_front"] if goes else scenario.position
    np.testing.assert_array_equal(last.position, np.broadcast_to(goal, (2, 20)))
    assert (last.goal_pwm == robot.Servo.MAX_PWM).all()
    after = np.array([command.p_gain for _, fall, command in calls if fall.falling.all()])
    assert {"freeze": after.min() == robot.Servo.NOMINAL_P, "limp": after.max() == 0,
            "scripted": after.min() == robot.Servo.NOMINAL_P,
            "scripted_compliant": 0 < after.min() < robot.Servo.NOMINAL_P}[name]  # fmt: skip


def test_who_is_limp_saturates_nothing_and_takes_less_load_than_who_is_stiff() -> None:
    scenario = drawn(MAIN, 4)
    limp, stiff = (
        score_falls(let_fall(BASELINES[name], scenario), OURS) for name in ("limp", "freeze")
    )
    assert (limp["saturating_share"] == 0).all()
    assert limp["torque_impulse_n_m_s"].mean() < stiff["torque_impulse_n_m_s"].mean()


def test_a_policy_commands_what_it_commands_in_the_environment() -> None:
    task = Op3FallControlArmsLegs()
    spec = task.policy_spec
    network = policy_samples.layers(spec.observation_length, spec.action_length)
    scenario, calls = drawn(MAIN, 4), []

    def infer(seen: NDArray[np.float32]) -> NDArray[np.float32]:
        return policy_samples.infer(network, seen)

    make = recorded(policy_controller(spec, infer), calls)
    falls = let_fall(make, scenario, pictures=True)
    batch = task.make_batch(4)
    seen = batch.reset(np.arange(4), scenario)
    qpos = []
    for _, _, command in calls:
        seen = batch.step(infer(seen)).observation
        for f in fields(command):
            np.testing.assert_array_equal(
                getattr(command, f.name), getattr(batch.simulation.cycles[-1].command, f.name)
            )
        qpos += [cycle.qpos for cycle in batch.simulation.cycles]
    np.testing.assert_array_equal(falls.qpos, np.array(qpos))
    moved = np.abs(calls[-1][2].position - scenario.position)
    assert calls[-1][1].falling.all() and (moved.max(axis=1) > 0.1).all()


def test_a_mirrored_fall_has_the_same_scores() -> None:
    plain = replace(drawn(MAIN, 4), **{
        name: np.zeros_like(getattr(drawn(MAIN, 4), name))
        for name in ("gyro_bias", "accelerometer_bias", "gyro_noise", "accelerometer_noise",
                     "joint_noise")
    }, imu_mounting=Scenario.standing(4).imu_mounting)  # fmt: skip
    simulation = Simulation(8, model=symmetric_model(), profile="ideal")
    both = joined(plain, mirrored(plain))
    for make in BASELINES.values():
        scores = score_falls(let_fall(make, both, simulation), OURS)
        for name, value in scores.items():
            np.testing.assert_allclose(value[:4], value[4:], rtol=1e-3, err_msg=name)


def broken(scenario: Scenario, simulation: Simulation) -> Controller:
    """Hold; after half a second the physics of the second robot breaks down."""
    hold = JointCommand.hold(scenario.position)

    def step(reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> JointCommand:
        if 0.5 < reading.time_s[0] < 0.53:
            simulation.physics.qvel[1, 3] = np.nan
        return hold

    return step


@pytest.fixture(scope="module")
def plan() -> Plan:
    makes: dict[str, Make] = {"freeze": broken, "limp": BASELINES["limp"]}
    return Plan(makes, (MAIN,), 3)


def test_a_fall_that_diverges_is_left_out_and_counted(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file
    from op3_fall.evaluation.report import summarise

    shares: list[float] = []
    cells = evaluate(plan, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    cell = cells[MAIN]["freeze"]
    assert cell.diverged.tolist() == [False, True, False]
    assert cell.load_n_m.shape == (3, len(SINCE_S)) and np.isnan(cell.load_n_m[1]).all()
    for values in cell.scores.values():
        assert np.isnan(values[1])
    summary = summarise(plan, cells, {})
    found = summary["scenarios"][MAIN]["controllers"]
    assert found["freeze"]["falls_diverged"] == 1 and found["limp"]["falls_diverged"] == 0
    damage = found["freeze"]["scores"]["damage_index"]
    assert damage["pairs"] == 2
    assert damage["mean"] == pytest.approx(np.mean(cell.scores["damage_index"][[0, 2]]))
    assert sum(found["freeze"]["worst"]["floor_force"].values()) == pytest.approx(1.0)
    told = "1 falls of all diverged under freeze and are left out of its means\n"
    assert markdown(summary).endswith(told)
    assert summary["goals"] == [] and summary["summary"] == {}


def means(**damage: float) -> dict[str, dict[str, float]]:
    """Scores of a situation: 1 each but for the damage index."""
    return {c: dict.fromkeys(LABELS, 1.0) | {"damage_index": value}
            for c, value in damage.items()}  # fmt: skip


def test_goals_by_hand() -> None:
    assert goals({MAIN: means(freeze=2.0)}) == []
    main = means(freeze=3.0, limp=2.0, scripted=4.0, policy=1.0)
    main["policy"] |= {"peak_head_acceleration_g": 0.3, "peak_floor_force_n": 0.33,
                       "worst_gear_load_n_m": 0.5, "head_contact_share": 0.0,
                       "saturating_share": 0.01}  # fmt: skip
    rows = goals({
        MAIN: main, "late": means(freeze=1.0, limp=2.0, scripted=3.0, policy=0.6),
        "bumps": means(freeze=2.0, limp=3.0, scripted=3.0, policy=1.5),
    })  # fmt: skip
    assert [(g["goal"], g["value"], g["met"]) for g in rows] == [
        ("peak head acceleration, less than freeze", pytest.approx(0.7), True),
        ("peak floor force, less than freeze", pytest.approx(0.67), False),
        ("peak torque load, less than scripted", 0.0, False),
        ("worst gear load, less than scripted", 0.5, True),
        ("falls with head contact", 0.0, True),
        ("falls in which a servo saturates", 0.01, False),
        ("damage index, less than limp, the best baseline", 0.5, True),
        ("share of that gain kept: late", pytest.approx(0.8), True),
        ("share of that gain kept: bumps", 0.5, False),
    ]
    assert best_baseline(means(policy=1.0)) is None


def test_a_score_has_a_label_and_a_unit() -> None:
    scores = score_falls(let_fall(BASELINES["freeze"], drawn(MAIN, 1)), OURS)
    assert list(scores) == list(LABELS)
    assert [unit(name) for name in ("rest_s", "fall_energy_j", "damage_index")] == ["s", "J", "1"]
    assert unit("torque_impulse_n_m_s") == "N m s" and unit("head_contact_speed_m_s") == "m/s"


def test_who_does_not_fall_is_told_and_has_no_loads() -> None:
    up = replace(drawn(MAIN, 2), push_force=np.zeros((2, 3)))
    falls = let_fall(BASELINES["freeze"], up)
    scores = score_falls(falls, OURS)
    assert scores["fallen_share"].tolist() == [0, 0] == scores["damage_index"].tolist()
    others = set(LABELS) - {"fallen_share", "damage_index"}
    assert all(np.isnan(scores[name]).all() for name in others)
    assert np.isnan(falls.alarm_s).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scenarios": ("frnt",)}, "scenario 'frnt' is unknown; allowed are "
         f"{', '.join(SCENARIOS)}; choose from them"),
        ({"controllers": ("stiff",)}, "controller 'stiff' is unknown; allowed are "
         "freeze, limp, scripted, scripted_compliant, policy; choose from them"),
        ({"controllers": ("policy",)}, "controller 'policy' has no file; allowed is an ONNX "
         "policy; add --policy FILE"),
        ({"falls": 0}, "number of falls is 0; allowed is a whole number from 1 to 1048576; give "
         "one"),
        ({"seed": -1}, "seed is -1; allowed is a whole number from 0 to 262144; give one"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_told_before_anything_is_run(
    tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadInputError) as error:
        run_evaluate(Evaluate(out=out, **given))
    assert str(error.value) == told
    assert not out.exists()


def test_controllers_are_run_in_one_order_and_a_policy_needs_no_name(tmp_path: Path) -> None:
    task = Op3FallControlArmsLegs()
    spec = task.policy_spec
    network = policy_samples.layers(spec.observation_length, spec.action_length)
    contract = policy_samples.contract(network, **{
        f.name: getattr(spec, f.name) for f in fields(spec)
    })  # fmt: skip
    file = policy_samples.write(tmp_path / "p.onnx", policy_samples.model(network),
                                contract.to_json())  # fmt: skip
    assert list(make_plan(Evaluate(policy=file)).controllers) == [*BASELINES, "policy"]
    given = make_plan(Evaluate(policy=file, controllers=("policy", "freeze")))
    assert list(given.controllers) == ["freeze", "policy"]
    with pytest.raises(BadInputError, match="sensor_profile is extended in the policy and stock"):
        make_plan(Evaluate(policy=file, profile="stock"))


def assert_finite(content: Any) -> None:
    if isinstance(content, dict):
        for value in content.values():
            assert_finite(value)
    elif isinstance(content, list):
        for value in content:
            assert_finite(value)
    elif isinstance(content, float):
        assert math.isfinite(content)


def test_everything_is_written(tmp_path: Path) -> None:
    args = Evaluate(falls=4, scenarios=("front", MAIN), controllers=("limp", "freeze"),
                    out=tmp_path)  # fmt: skip
    summary = run_evaluate(args)
    read = json.loads((tmp_path / "summary.json").read_text())
    assert_finite(read)
    assert {"settings", "seed", "commit", "versions", "scenarios", "best_baseline", "goals",
            "summary"} == set(read)  # fmt: skip
    assert read["settings"]["tolerances"] == vars(OURS)
    assert list(read["scenarios"]) == ["front", MAIN]
    for of in read["scenarios"].values():
        assert list(of["controllers"]) == ["freeze", "limp"]
        for one in of["controllers"].values():
            assert list(one["scores"]) == list(LABELS) and one["falls"] == 4
            assert one["scores"]["fallen_share"]["mean"] == 1.0
    assert (tmp_path / "table.md").read_text() == markdown(summary)
    names = {"summary.json", "table.md", "envelope.png", "damage.png", "film_strip.png"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"falls"}
    cells = {f"{name}.{c}.npz" for name in ("front", MAIN) for c in ("freeze", "limp")}
    assert {path.name for path in (tmp_path / "falls").iterdir()} == cells
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)


def test_numbers_and_graphs_need_no_opengl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: Any) -> None:
        raise BadInputError("OpenGL does not work")

    monkeypatch.setattr(film, "film_strip", refuse)
    args = Evaluate(falls=1, scenarios=("front",), controllers=("freeze",), out=tmp_path)
    run_evaluate(args)
    assert capsys.readouterr().err == "op3-fall: no film strip: OpenGL does not work\n"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"summary.json", "table.md", "envelope.png", "damage.png", "falls"}


def test_a_video_shows_the_first_controller_and_the_last(tmp_path: Path) -> None:
    scenario, simulation = drawn("front", 1), Simulation(1)
    falls = {}
    for name in ("freeze", "limp"):
        whole = let_fall(BASELINES[name], scenario, simulation, pictures=True)
        # A second of standing around is dear to draw.
        contact = int(np.searchsorted(whole.time_s, whole.truth.impact_s[0]))
        short = slice(contact - 2, contact + 2)
        falls[name] = replace(whole, time_s=whole.time_s[short], qpos=whole.qpos[short],
                              load_n_m=whole.load_n_m[short])  # fmt: skip
    film.write_video(tmp_path / "fall.mp4", simulation.model.mj, falls)
    assert (tmp_path / "fall.mp4").stat().st_size > 1000
