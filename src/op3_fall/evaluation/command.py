# SPDX-License-Identifier: Apache-2.0
"""`op3-fall evaluate`: what a policy is worth, on falls that nobody trained on."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from op3_fall import results
from op3_fall.detector_file import load_detector
from op3_fall.errors import BadInputError, check_choice, check_whole
from op3_fall.resources import policy_path
from op3_fall.whole_file import whole_file

if TYPE_CHECKING:
    from op3_fall.evaluation.controllers import Make
    from op3_fall.evaluation.evaluate import Plan

__all__ = ["Evaluate", "run_evaluate"]


@dataclass(frozen=True)
class Evaluate:
    """The same falls under freeze, limp, scripted, scripted_compliant and a policy."""

    policy: Path | None = None
    """ONNX file of a policy, or the name of a shipped one (arms, arms_legs, roll); without one the
    baselines alone are run."""
    falls: int = 1000
    """Falls in each situation under each controller."""
    scenarios: tuple[str, ...] = ()
    """Situations such as all, front, worst; all of them if none is named."""
    controllers: tuple[str, ...] = ()
    """Of freeze, limp, scripted, scripted_compliant, policy; all there are if none is named."""
    seed: int = 0
    """Other falls; none of any seed is trained on."""
    out: Path = Path("results/evaluate")
    """Folder for tables, pictures and summary.json."""
    reuse: Path | None = None
    """Folder of an earlier evaluation: falls in it that come out the same today (the first 25 are
    tried) are taken over, such as those of the baselines."""
    tolerances: Path | None = None
    """YAML file of what each part takes, in place of config/tolerances.yaml."""
    detector: Path | None = None
    """ROS 2 parameter file of the detectors in place of config/detector.yaml."""
    profile: Literal["extended", "stock", "ideal"] = "extended"
    """Sensing."""
    model: str = ""
    """MJCF file with the OP3's joint names, or 'menagerie'; empty for this package's own."""
    video: bool = False
    """Also write fall.mp4, the first controller and the last side by side."""


def run_evaluate(
    args: Evaluate, progress: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Simulate, judge, write everything into `args.out`; returns the summary.

    Raises:
        BadInputError: whatever the settings name cannot be used.
    """
    # Gymnasium and matplotlib come with them, which other commands do without.
    from op3_fall.evaluation.evaluate import evaluate
    from op3_fall.evaluation.kept_cells import load_cell, save_cell
    from op3_fall.evaluation.report import summarise
    from op3_fall.evaluation.tables import markdown

    plan = make_plan(args)
    out = results.open_folder(args.out)
    cells = evaluate(
        plan, progress, keep=partial(save_cell, out),
        earlier=partial(load_cell, args.reuse) if args.reuse else lambda *names: None,
    )  # fmt: skip
    summary = summarise(plan, cells, _identity(args.policy))
    with whole_file(out / "table.md") as file:
        file.write_text(markdown(summary))
    results.write_json(out / "summary.json", summary)
    _draw(args, plan, cells, summary)
    return summary


def make_plan(args: Evaluate) -> "Plan":
    """What the settings ask for.

    Raises:
        BadInputError: an unknown name, a number out of range, or a file that cannot be used.
    """
    from op3_fall.evaluation.evaluate import Plan
    from op3_fall.evaluation.scenarios import MAX_FALLS, MAX_SEED, SCENARIOS
    from op3_fall.evaluation.tolerance_file import load_tolerances

    check_whole("number of falls", args.falls, 1, MAX_FALLS)
    check_whole("seed", args.seed, 0, MAX_SEED)
    for name in args.scenarios:
        check_choice("scenario", name, SCENARIOS, remedy="choose from them")
    plan = Plan(
        controllers=_controllers(args), scenarios=args.scenarios or tuple(SCENARIOS),
        falls=args.falls, seed=args.seed, tolerances=load_tolerances(args.tolerances),
        detectors=load_detector(args.detector), profile=args.profile, model=args.model,
    )  # fmt: skip
    plan.load_model(plan.scenarios[0])
    return plan


def _controllers(args: Evaluate) -> "dict[str, Make]":
    from op3_fall.evaluation.controllers import BASELINES, POLICY

    known = dict(BASELINES)
    for name in args.controllers:
        check_choice("controller", name, [*BASELINES, POLICY], remedy="choose from them")
    if POLICY in args.controllers and args.policy is None:
        raise BadInputError(
            "controller 'policy' has no file; allowed is an ONNX policy; add --policy FILE"
        )
    if args.policy is not None:
        known[POLICY] = _load_policy(args.policy, args.profile)
    return {name: known[name] for name in known if name in (args.controllers or known)}


def _load_policy(path: Path, profile: str) -> "Make":
    from op3_fall.evaluation.controllers import policy_controller
    from op3_fall.onnx_policy import OnnxPolicy
    from op3_fall.policy_spec import Installation

    policy = OnnxPolicy.load(policy_path(path), Installation(sensor_profile=profile))
    return policy_controller(policy.contract, policy.infer)


def _identity(policy: Path | None) -> dict[str, str]:
    """Which file it was."""
    if policy is None:
        return {}
    path = policy_path(policy)
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _draw(args: Evaluate, plan: "Plan", cells: Any, summary: dict[str, Any]) -> None:
    from op3_fall.evaluation import film, plots
    from op3_fall.evaluation.evaluate import replay

    shown = plan.scenarios[0]
    title = f"{shown}, {plan.falls} falls"
    plots.plot_loads(args.out / "envelope.png", cells[shown], title)
    plots.plot_damage(args.out / "damage.png", summary)
    falls = replay(plan, shown, film.most_to_the_front(plan.scenario(shown)))
    model = plan.load_model(shown).mj
    try:
        film.film_strip(args.out / "film_strip.png", model, falls)
    except BadInputError as error:
        if args.video:
            raise
        # Numbers and graphs need no OpenGL; they are done.
        print(f"op3-fall: no film strip: {error}", file=sys.stderr)
    if args.video:
        film.write_video(args.out / "fall.mp4", model, falls)
