# SPDX-License-Identifier: Apache-2.0
"""Forces from outside on n robots: the scenario's push, pushes while it runs, a hand's hold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError, check_choice, check_range
from op3_fall.model import Op3Model
from op3_fall.rows import Rows
from op3_fall.scenarios import Scenario

__all__ = ["OutsideForces"]

Array = NDArray[np.float64]


class _Push(NamedTuple):
    """A push of one simulation that was asked for while it ran."""

    row: int
    body: int
    force: Array
    """N, world, (3,)."""
    until_s: float


class OutsideForces:
    """What acts on the links, as MuJoCo's `xfrc_applied`; all of it adds up."""

    def __init__(self, model: Op3Model, applied: Array, dt_s: float) -> None:
        """Take over `applied`, (n, bodies, 6); `dt_s` is the physics step."""
        n = len(applied)
        self._applied, self._dt_s, self._torso = applied, dt_s, model.torso_id
        # Of the head's two links the outer one is pushed, which carries nearly all of its mass.
        self._part_body = np.array([bodies[0] for bodies in model.part_bodies])
        self._part_body[robot.PARTS.index("head")] = model.head_id
        links = np.sort(np.concatenate(model.part_bodies))
        self._links = {model.mj.body(int(link)).name: int(link) for link in links}
        self._force, self._active = np.zeros((n, 3)), np.zeros(n, dtype=bool)
        self._body = np.full(n, model.head_id)
        self._from_s, self._until_s = np.zeros(n), np.zeros(n)
        self._added: list[_Push] = []
        self._wrench: Array | None = None

    def reset(self, scenario: Scenario, rows: Rows) -> None:
        """Only the scenario's push is left at `rows`, and it is still to come."""
        self._applied[rows] = 0.0
        self._added = [push for push in self._added if push.row not in rows]
        if self._wrench is not None:
            self._wrench[rows] = 0.0
        self._force[rows], self._active[rows] = scenario.push_force, False
        self._body[rows] = self._part_body[scenario.push_part]
        # Half a step of tolerance: a push of 0.1 s must not last 51 steps by rounding.
        self._from_s[rows] = scenario.push_start_s - self._dt_s / 2
        self._until_s[rows] = scenario.push_start_s + scenario.push_duration_s - self._dt_s / 2

    def push(
        self, rows: Rows, body: str, force_n: ArrayLike, now_s: Array, duration_s: float
    ) -> None:
        """Push `body` at its centre of mass from the next step on.

        Args:
            rows: simulations, (k,).
            body: a link of the robot.
            force_n: N, in the world, (3,).
            now_s: each simulation's own time, (k,).
            duration_s: how long; less than a physics step counts as one.

        Raises:
            BadInputError: an unknown body, or a force or duration that is not finite and usable.
        """
        check_choice("body", body, self._links, remedy="push one of them")
        force = np.asarray(force_n, dtype=float)
        for axis, component in zip("xyz", force, strict=True):
            check_range(f"force {axis}", float(component), -1000, 1000, unit="N")
        check_range("push duration", duration_s, 0, 60, unit="s")
        link = self._links[body]
        until_s = now_s + max(duration_s, self._dt_s) - self._dt_s / 2
        for row, end in zip(rows, until_s, strict=True):
            self._added.append(_Push(int(row), link, force, float(end)))
            self._applied[row, link, :3] += force

    def hold(self, wrench: ArrayLike | None) -> None:
        """Force in N and torque in N m (n, 6) at the torso's centre of mass, until the next call.

        Raises:
            BadInputError: another shape, or a component that is not finite or beyond 1000.
        """
        self._wrench = None if wrench is None else self._checked(wrench)
        self._applied[:, self._torso, 3:] = 0.0 if self._wrench is None else self._wrench[:, 3:]
        self._apply({self._torso})

    def _checked(self, wrench: ArrayLike) -> Array:
        values, shape = np.array(wrench, dtype=float), (len(self._applied), 6)
        if values.shape != shape:
            raise BadInputError(
                f"wrench has shape {values.shape}; allowed is {shape}, a force and a torque for "
                "each simulation; give as many"
            )
        for value in (values.min(), values.max()):
            check_range("component of the wrench", float(value), -1000, 1000)
        return values

    def update(self, time_s: Array) -> None:
        """Begin and end pushes for the step that begins at `time_s` (n,)."""
        if self._added:
            self._end_pushes(time_s)
        active = (time_s >= self._from_s) & (time_s < self._until_s)
        changed = active != self._active
        if changed.any():
            self._active = active
            self._apply(set(self._body[changed].tolist()))

    def _end_pushes(self, time_s: Array) -> None:
        lasting = [push for push in self._added if time_s[push.row] < push.until_s]
        if len(lasting) < len(self._added):
            bodies = {push.body for push in self._added}
            self._added = lasting
            self._apply(bodies)

    def _apply(self, bodies: set[int]) -> None:
        """Write the forces on `bodies` anew, from all there are."""
        for body in bodies:
            scheduled = (self._active & (body == self._body))[:, None]
            self._applied[:, body, :3] = np.where(scheduled, self._force, 0.0)
        if self._wrench is not None and self._torso in bodies:
            # Only where a hand is: adding 0 would turn another simulation's -0 into +0.
            held = np.nonzero(self._wrench.any(axis=-1))[0]
            self._applied[held, self._torso, :3] += self._wrench[held, :3]
        for push in self._added:
            if push.body in bodies:
                self._applied[push.row, push.body, :3] += push.force
