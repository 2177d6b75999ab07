# SPDX-License-Identifier: Apache-2.0
"""Protective motions as a YAML file: config/motions.yaml, or a user's own."""

from pathlib import Path
from typing import Any

import numpy as np

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.protective import DIRECTIONS, Motion, ProtectiveMotions
from op3_fall.resources import resource
from op3_fall.yaml_files import read_yaml

__all__ = ["ARMS_ONLY", "SHIPPED", "load_motions", "motions_yaml"]

SHIPPED = "config/motions.yaml"
"""What `resources.resource` finds."""
ARMS_ONLY = "config/motions_arms.yaml"
"""The same for policies that move the arms only."""
_KEYS = ("landing_tilt_rad", "soft_tilt_rad", "arms", "legs", "early", "landing")
_HEAD = """\
# What to do in a fall to each side, found by `op3-fall search`: drive to the pose `early`, from
# a tilt of landing_tilt_rad on to the pose `landing`. Stiffness scales of arms and legs are those
# in the fall, from soft_tilt_rad on, and after the contact. Angles are in rad; joints that are
# left out are at 0. Falls to the right are mirror images of those to the left.
"""


def load_motions(path: Path | None) -> ProtectiveMotions:
    """The motions in a file.

    Args:
        path: of the file; None for the one that is shipped.

    Raises:
        BadInputError: the file is missing or broken, or holds something else than motions.
    """
    path = resource(SHIPPED) if path is None else path
    source, allowed = f"motion file '{path}'", f"an entry for each of {', '.join(DIRECTIONS)}"
    content = read_yaml(path, "motion file", allowed)
    if not isinstance(content, dict):
        raise BadInputError(f"{source} holds no mapping; allowed is {allowed}; see {SHIPPED}")
    try:
        return ProtectiveMotions({name: _motion(name, entry) for name, entry in content.items()})
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None


def _motion(name: str, entry: Any) -> Motion:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        raise BadInputError(
            f"'{name}' is laid out differently; allowed is a mapping of {', '.join(_KEYS)}; see "
            f"{SHIPPED}"
        )
    poses = {}
    for key in ("early", "landing"):
        if not isinstance(entry[key], dict):
            raise BadInputError(
                f"{name}: {key} is no mapping; allowed are angles in rad by joint; see {SHIPPED}"
            )
        poses[key] = robot.joint_vector(entry[key], source=f"{name}: {key}")
    numbers = {key: _numbers(name, key, entry[key]) for key in _KEYS if key not in poses}
    return Motion(**poses, **numbers)


def _numbers(name: str, key: str, value: Any) -> Any:
    shape = (3,) if key in ("arms", "legs") else ()
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape:
        allowed = "three numbers" if shape else "a number"
        raise BadInputError(f"{name}: {key} is {value!r:.60}; allowed is {allowed}; see {SHIPPED}")
    return array


def motions_yaml(motions: ProtectiveMotions) -> str:
    """A file of these motions, to four digits."""
    return _HEAD + "".join(_entry(name, motions.by_direction[name]) for name in DIRECTIONS)


def _entry(name: str, motion: Motion) -> str:
    lines = [f"{name}:"]
    lines += [f"  {key}: {float(getattr(motion, key)):.4f}"
              for key in ("landing_tilt_rad", "soft_tilt_rad")]  # fmt: skip
    for key in ("arms", "legs"):
        lines.append(f"  {key}: [{', '.join(f'{x:.4f}' for x in getattr(motion, key))}]")
    for key in ("early", "landing"):
        angles = np.trunc(np.round(getattr(motion, key) * 1e4, 3)) / 1e4  # within the limits
        lines.append(f"  {key}:")
        lines += [f"    {joint}: {angle:.4f}"
                  for joint, angle in zip(robot.JOINTS, angles, strict=True) if angle]  # fmt: skip
    return "\n".join(lines) + "\n"
