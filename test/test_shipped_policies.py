# SPDX-License-Identifier: Apache-2.0
"""The policies in models/policies: they load, say where they come from, and protect."""

import re
from dataclasses import fields

import numpy as np
import pytest

from op3_fall import robot
from op3_fall.detectors import DetectorConfig
from op3_fall.evaluation.controllers import BASELINES, Make, policy_controller
from op3_fall.evaluation.evaluate import Plan, evaluate
from op3_fall.onnx_policy import OnnxPolicy
from op3_fall.policy_spec import Installation, PolicySpec
from op3_fall.resources import POLICIES, policy_path

MOVED = {"arms": robot.ARMS, "arms_legs": (*robot.ARMS, *robot.LEGS),
         "roll": robot.JOINTS}  # fmt: skip
MADE_FOR = {"arms": "front", "arms_legs": "all", "roll": "front_strong"}


def shipped(name: str) -> OnnxPolicy:
    return OnnxPolicy.load(policy_path(name), Installation(sensor_profile="extended"))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_moves_what_its_task_says_and_its_file_is_small(name: str) -> None:
    """Loading it also checks its golden sample."""
    joints = {label for block in shipped(name).contract.action
              for term in block.terms for label in term.labels}  # fmt: skip
    assert joints == set(MOVED[name])
    assert policy_path(name).stat().st_size < 5e6


@pytest.mark.parametrize("name", POLICIES)
def test_its_card_and_its_file_agree_on_where_it_comes_from(name: str) -> None:
    card = policy_path(name).with_suffix(".md").read_text()
    provenance = shipped(name).contract.provenance
    training, evaluation = provenance["training"], provenance["evaluation"]
    assert training["command"].startswith(f"op3-fall train {name}")
    assert f"`op3-fall train {name}`" in card
    commit = re.search(r"commit ([0-9a-f]{7,40})", card)
    assert commit is not None and training["commit"].startswith(commit[1])
    for situation in (key.split(".")[0] for key in evaluation if key.endswith(".damage_index")):
        row = next(line for line in card.splitlines() if line.startswith(f"| {situation} |"))
        assert f"| {evaluation[f'{situation}.damage_index']:.3g} (" in row


@pytest.mark.parametrize("name", POLICIES)
def test_falls_that_it_is_made_for_are_softer_than_without(name: str) -> None:
    """Than those of a robot that is stiff; the tables in the cards have 1,000 falls."""
    policy = shipped(name)
    spec = PolicySpec(**{f.name: getattr(policy.contract, f.name) for f in fields(PolicySpec)})
    controllers: dict[str, Make] = {"freeze": BASELINES["freeze"]}
    controllers["policy"] = policy_controller(spec, policy.infer)
    plan = Plan(controllers, (MADE_FOR[name],), 24, detectors=DetectorConfig())
    freeze, softer = (
        float(np.mean(cell.scores["damage_index"]))
        for cell in evaluate(plan)[MADE_FOR[name]].values()
    )
    assert softer < 0.95 * freeze
