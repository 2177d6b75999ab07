# SPDX-License-Identifier: Apache-2.0
"""Gymnasium's side of the environments: spaces, checks, and what one robot's values look like."""

from types import NoneType
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError, check_choice, check_kind
from op3_fall.policy_spec import PolicySpec
from op3_fall.rotations import rotation_vector
from op3_fall.scenarios import Scenario
from op3_fall.simulation import Simulation

__all__ = [
    "box",
    "check_action",
    "dict_observation",
    "masked",
    "observation_space",
    "of_one",
    "plain",
    "scenario_of",
]

Array = NDArray[np.float64]

_SHAPES = {
    "joints": (3, robot.NUM_JOINTS), "base": (4, 3), "contact_forces": (len(robot.PARTS),),
    "end_effectors": (5, 3),
}  # fmt: skip


def box(length: int) -> spaces.Box:
    """Vectors (length,) of normalised values."""
    return spaces.Box(-1.0, 1.0, (length,), np.float32)


def observation_space(spec: PolicySpec, *, as_dict: bool) -> spaces.Space[Any]:
    """Of one robot."""
    if not as_dict:
        return box(spec.observation_length)
    return spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, shape, np.float32) for name, shape in _SHAPES.items()}
    )


def dict_observation(simulation: Simulation) -> dict[str, NDArray[np.float32]]:
    """Ground truth of n robots, which no real robot has, in SI units.

    Returns:
        `joints` (n, 3, 20): angle, velocity and motor torque in driver order. `base` (n, 4, 3):
        position and velocity of the torso in the world, attitude as axis times angle (which has
        no singularity where falls end), angular velocity in the body frame. `contact_forces`
        (n, 14): size of the floor's force on each of `robot.PARTS`. `end_effectors` (n, 5, 3):
        left and right hand, left and right foot, head, in the world.
    """
    physics = simulation.physics
    joints = np.stack([simulation.true_joints, physics.joints[1], physics.torque], axis=1)
    base = np.stack([
        simulation.torso_position, simulation.torso_velocity,
        rotation_vector(simulation.torso_orientation), simulation.torso_angular_velocity,
    ], axis=1)  # fmt: skip
    values = (joints, base, simulation.floor_forces, simulation.end_effectors)
    return {
        name: np.nan_to_num(value.astype(np.float32))
        for name, value in zip(_SHAPES, values, strict=True)
    }


def check_action(action: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The action as numbers of that shape.

    Raises:
        BadInputError: another shape, or a value that is not finite.
    """
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # torch's refusal of a tensor with gradient
        values = np.full(0, np.nan)
    if values.shape != shape:
        given = values.shape if values.size else f"{action!r:.60}"
        raise BadInputError(
            f"action has shape {given}; allowed is {shape} of numbers in [-1, 1]; see the "
            "environment's action_space"
        )
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise BadInputError(
            f"action at {where} is {values[where]}; allowed are finite numbers in [-1, 1]; look "
            "for the NaN in the policy or its observation"
        )
    return values


def scenario_of(options: dict[str, Any] | None) -> Scenario | None:
    """The scenario that `reset`'s options ask for.

    Raises:
        BadInputError: an option that there is not, or no scenario.
    """
    check_kind("reset options", options, (dict, NoneType), "a mapping or None")
    for name in options or {}:
        check_choice("reset option", name, ("scenario",), remedy="leave it out")
    scenario = (options or {}).get("scenario")
    check_kind("scenario", scenario, (Scenario, NoneType), "an op3_fall.scenarios.Scenario")
    return scenario


def of_one(values: Any) -> Any:
    """Arrays (1, ...) without their leading axis, mappings of them too."""
    if isinstance(values, dict):
        return {name: of_one(value) for name, value in values.items()}
    return values[0]


def masked(info: dict[str, Any], which: NDArray[np.bool_]) -> dict[str, Any]:
    """As gymnasium's vector environments tell it, of the robots `which` (n,).

    Of each key its `_key` says whose value counts; NaN counts as none, and what nobody has is left
    out.
    """
    told: dict[str, Any] = {}
    for name, value in info.items():
        if isinstance(value, dict):
            told[name], told[f"_{name}"] = masked(value, which), which.copy()
            continue
        has = which & ~np.isnan(value) if value.dtype.kind == "f" else which.copy()
        if has.any():
            told[name], told[f"_{name}"] = np.where(has, value, np.zeros_like(value)), has
    return told


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """Values (1,) as Python's own numbers; NaN is left out."""
    return {
        name: plain(value) if isinstance(value, dict) else value[0].item()
        for name, value in info.items()
        if isinstance(value, dict) or value[0] == value[0]
    }
