# SPDX-License-Identifier: Apache-2.0
"""A robot that is its own mirror image, and scenarios as a mirror shows them."""

from dataclasses import fields, replace

import mujoco
import numpy as np

from op3_fall import robot
from op3_fall.model import Op3Model, load_model
from op3_fall.scenarios import Scenario

_OTHER_SIDE = {"l_": "r_", "r_": "l_"}
MIRROR_PART = np.array(
    [robot.PARTS.index(_OTHER_SIDE.get(p[:2], p[:2]) + p[2:]) for p in robot.PARTS]
)


def symmetric_model(*, bumps: bool = False) -> Op3Model:
    """The OP3 with torso and head made symmetric; the limbs are so in ROBOTIS' data."""
    model = load_model(bumps=bumps)
    mj = model.mj
    for name in ("body_link", "head_pan_link", "head_tilt_link"):
        body = mj.body(name).id
        mj.body_iquat[body] = [1, 0, 0, 0]  # principal axes along the mirror
        mj.body_ipos[body, 1] = 0.0
    mj.body("head_tilt_link").ipos[1] = -mj.body("head_tilt_link").pos[1]  # the joint's, beside it
    mujoco.mj_setConst(mj, mujoco.MjData(mj))
    # The midphase goes by boxes in the frames of inertia, which have just been turned.
    mj.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    return model


def mirrored(scenario: Scenario) -> Scenario:
    """As a mirror in the plane of x and z shows it; without the sensors' errors."""
    return replace(
        scenario,
        position=robot.mirror_joints(scenario.position),
        orientation=scenario.orientation * [1, -1, 1, -1],
        push_force=scenario.push_force * [1, -1, 1],
        mass_scale=scenario.mass_scale[:, MIRROR_PART],
        push_part=MIRROR_PART[scenario.push_part],
        joint_offset=robot.mirror_joints(scenario.joint_offset),
        slope_direction_rad=-scenario.slope_direction_rad,
        bumps=scenario.bumps * [1, -1, -1],
    )


def joined(*scenarios: Scenario) -> Scenario:
    """One after the other in one batch."""
    return Scenario(
        **{f.name: np.concatenate([getattr(s, f.name) for s in scenarios])
           for f in fields(Scenario)}
    )  # fmt: skip
