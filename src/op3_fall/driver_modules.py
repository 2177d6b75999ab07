# SPDX-License-Identifier: Apache-2.0
"""The driver's motion modules: who owns joints, what moves them, and how long they keep them.

After ROBOTIS' modules of the same names (ROBOTIS-GIT/ROBOTIS-OP3 `jazzy-devel`). base_module and
action_module move the robot; the others own joints and hold them: their motions are not simulated,
of walking_module only the P gains that it writes while it steps in place.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.driver_events import CYCLE_S, Events
from op3_fall.motion_pages import PAGES

__all__ = ["ActionModule", "BaseModule", "MotionModule", "WalkingModule", "make_modules"]

Array = NDArray[np.float64]


def _smooth(share: float) -> float:
    """Minimum jerk from 0 to 1 at rest on both ends."""
    return share**3 * (10 + share * (-15 + 6 * share))


class MotionModule:
    """Owns joints; holds them unless a subclass moves them."""

    def __init__(self, name: str, joints: Iterable[str], events: Callable[[], Events]) -> None:
        """Make it, disabled.

        Args:
            name: as in `enable_ctrl_module`.
            joints: those that it can own.
            events: where to tell of things.
        """
        self.name = name
        owned = set(joints)
        self.joints: NDArray[np.bool_] = np.array([j in owned for j in robot.JOINTS])
        self._events = events
        self.enabled = False
        self.running = False

    def enable(self, on: bool) -> None:
        """Switch the module on or off."""
        self.enabled = on

    def stop(self) -> None:
        """Ask a running motion to end; `running` says when it has."""

    def process(self, goal: Array) -> Array:
        """Goals (20,) for the next cycle, rad, from those of this one; called while enabled."""
        return goal

    @property
    def p_gain(self) -> NDArray[np.int64] | None:
        """P registers (20,) that the module wants, 0 for no wish; None if it never has one."""
        return None


class BaseModule(MotionModule):
    """Plays ini_pose: 4 s of minimum jerk; nothing stops it."""

    CYCLES = 501

    def __init__(self, events: Callable[[], Events]) -> None:
        """Make it, disabled."""
        super().__init__("base_module", robot.JOINTS, events)
        self._start, self._count = np.zeros(robot.NUM_JOINTS), 0

    def start(self, goal: Array) -> None:
        """Go to the crouch from `goal` (20,)."""
        self._start, self._count, self.running = goal.copy(), 0, True

    def process(self, goal: Array) -> Array:
        """The next point of the trajectory."""
        if not self.running:
            return goal
        if self._count == 1:
            self._events().info("Base", "Start Init Pose")
        share = _smooth(self._count / (self.CYCLES - 1))
        self._count += 1
        if self._count == self.CYCLES:
            self._events().info("Base", "Finish Init Pose")
            self.running = False
        return self._start + share * (robot.POSES["ini_pose"] - self._start)


class ActionModule(MotionModule):
    """Plays pages; one ends with its last step unless it is braked.

    Between two steps it moves with minimum jerk, where the real one has ramps of its own.
    """

    BRAKE, STOP = -2, -1

    def __init__(self, events: Callable[[], Events]) -> None:
        """Make it, disabled."""
        super().__init__("action_module", robot.JOINTS, events)
        self._page, self._step, self._count = 0, 0, 0
        self._start = np.zeros(robot.NUM_JOINTS)
        self._told_running = False

    def enable(self, on: bool) -> None:
        """Switch the module on or off; off brakes."""
        super().enable(on)
        if not on:
            self.running = False

    def command(self, page: int) -> None:
        """What came on /robotis/action/page_num."""
        events = self._events()
        if not self.enabled:
            events.error("Action", "Action Module is not enabled")
        elif page == self.BRAKE:
            self.running = False
        elif page != self.STOP:  # a page that is not repeated ends anyway
            reason = self._cannot_play(page)
            if reason:
                events.error("Action", reason)
                events.error("Action", f"Failed to start page {page}")
                events.movement_done.append("action_failed")
            else:
                self._page, self._step, self._count, self.running = page, 0, 0, True
                events.info("Action", f"Succeed to start page {page}")

    def _cannot_play(self, page: int) -> str:
        if not 1 <= page <= 255:
            return f"Can not play page.({page} is invalid index)"
        if self.running:
            return f"Can not play page {page}.(Now playing)"
        return "" if page in PAGES else f"Page {page} has no action"

    def process(self, goal: Array) -> Array:
        """The next point of the page; tells of its start and end."""
        if self.running:
            goal = self._play(goal)
        if self.running != self._told_running:
            self._told_running = self.running
            self._events().info("Action", "Action_Start" if self.running else "Action_Finish")
            if not self.running:
                self._events().movement_done.append("action")
        return goal

    def _play(self, goal: Array) -> Array:
        step = PAGES[self._page][self._step]
        if self._count == 0:
            self._start = goal.copy()
        self._count += 1
        share = _smooth(min(self._count / step.cycles, 1.0))
        goal = self._start + share * (step.goal - self._start)
        if self._count == step.cycles + step.pause_cycles:
            self._step, self._count = self._step + 1, 0
            self.running = self._step < len(PAGES[self._page])
        return goal


# setJointGains in op3_walking_module.cpp: every leg, and on top of it the one that supports alone.
_LEG_GAINS = {"hip_pitch": 1600, "hip_roll": 1600, "knee": 4000, "ank_pitch": 800,
              "ank_roll": 1600}  # fmt: skip
_SUPPORT_GAINS = {"hip_pitch": 4000, "hip_roll": 4000, "ank_pitch": 1600}


def _walking_gains(support: str) -> NDArray[np.int64]:
    """P registers (20,) while a side (`l`, `r`) or none of both carries the robot alone."""
    gains = np.zeros(robot.NUM_JOINTS, dtype=np.int64)
    for side in "lr":
        extra = _SUPPORT_GAINS if side == support else {}
        for joint, value in (_LEG_GAINS | extra).items():
            gains[robot.JOINT_INDEX[f"{side}_{joint}"]] = value
    if support == "r":  # sic; the other side is not treated alike
        gains[robot.JOINT_INDEX["l_ank_pitch"]] = 1600
    return gains


class WalkingModule(MotionModule):
    """Steps in place as far as its P gains go; stops at a phase boundary, every 0.3 s.

    The joints hold: neither steps nor the motion into the walking posture are simulated.
    """

    PERIOD_S, DOUBLE_SUPPORT = 0.6, 0.1
    _GAINS = {support: _walking_gains(support) for support in ("", "l", "r")}  # noqa: RUF012
    _STANDING = np.where(_GAINS[""] > 0, robot.Servo.NOMINAL_P, 0)

    def __init__(self, events: Callable[[], Events]) -> None:
        """Make it, disabled."""
        super().__init__("walking_module", [*robot.LEGS, "l_sho_pitch", "r_sho_pitch"], events)
        self._walking, self._time_s = False, 0.0
        self._wanted = self._STANDING

    def command(self, text: str) -> None:
        """What came on /robotis/walking/command."""
        if not self.enabled:
            self._events().warnings.append("walking module is not ready.")
        elif text == "start":
            self._walking = self.running = True
            self._events().info("Walking", "Start walking")
        elif text == "stop":
            self.stop()

    def stop(self) -> None:
        """Stop at the next phase boundary."""
        self._walking = False
        self._events().info("Walking", "Stop walking")

    def process(self, goal: Array) -> Array:
        """Hold; step through the phases, which decide on the P gains and when it may stop."""
        half = self.PERIOD_S / 2
        if abs(self._time_s - half) <= CYCLE_S / 2 + 1e-9:
            self._time_s = half
        if not self._walking and self._time_s in (0.0, half):
            self.running = False
        double = self.DOUBLE_SUPPORT * half / 2
        alone = double < self._time_s % half < half - double
        support = ("l" if self._time_s < half else "r") if alone else ""
        self._wanted = self._GAINS[support] if self.running else self._STANDING
        if self.running:
            self._time_s += CYCLE_S
            if self._time_s >= self.PERIOD_S:
                self._time_s = 0.0
        return goal

    @property
    def p_gain(self) -> NDArray[np.int64]:
        """As the phase wants them; 0 for the arms."""
        return self._wanted


def make_modules(events: Callable[[], Events]) -> dict[str, MotionModule]:
    """All modules by name, in the order in which op3_manager runs them."""
    head, direct, online, tuning = (
        MotionModule(name, joints, events)
        for name, joints in (
            ("head_control_module", robot.HEAD), ("direct_control_module", robot.JOINTS),
            ("online_walking_module", robot.LEGS), ("tuning_module", robot.JOINTS),
        )
    )  # fmt: skip
    modules = [ActionModule(events), BaseModule(events), head, WalkingModule(events), direct,
               online, tuning]  # fmt: skip
    return {module.name: module for module in modules}
