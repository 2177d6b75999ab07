# SPDX-License-Identifier: Apache-2.0
"""The command side of the OP3's driver, op3_manager, without I/O and without a clock.

The controller with the topics of its motion modules and of op3_manager, each of which has a thread
of its own that nothing blocks. Nobody restores gains but `dxl_torque`, and that leaves goal_pwm
alone.
"""

from numpy.typing import ArrayLike

from op3_fall import robot
from op3_fall.driver_controller import Controller, DriverCycle
from op3_fall.driver_events import Level, Status
from op3_fall.driver_modules import ActionModule, BaseModule, WalkingModule
from op3_fall.driver_ownership import NONE
from op3_fall.errors import check_choice

__all__ = ["BUTTONS", "Driver", "DriverCycle"]

BUTTONS = tuple(name + held for name in ("mode", "start", "user") for held in ("", "_long"))
_BOOT_CYCLES = 13  # op3_manager asks for ini_pose 0.1 s after it has started the loop,
_BUTTON_CYCLES = 25  # and 0.2 s after a long press of the user button
_TORQUE_WITNESS = robot.JOINT_INDEX["r_sho_pitch"]


class Driver(Controller):
    """One robot's driver."""

    def __init__(
        self,
        position: ArrayLike,
        *,
        servo: robot.Servo | None = None,
        merge_bug: bool = True,
        boot: bool = False,
    ) -> None:
        """Start it on a robot that stands in `position`.

        Args:
            position: present angles, rad, (20,); the first goals.
            servo: gives the supply voltage and the sampling time of the I term.
            merge_bug: as in the official driver; without it every message has its own packet.
            boot: run op3_manager's start: 0.1 s later base_module takes all joints and plays
                ini_pose. Otherwise base_module owns all joints at once and is idle.
        """
        servo = servo or robot.Servo()
        super().__init__(position, servo=servo, merge_bug=merge_bug)
        self._count, self._ini_pose_at, self._ini_pose_asked = 0, -1, False
        level = Level.WARN if servo.voltage_v < 11 else Level.INFO
        volts = f"Present Volt : {servo.voltage_v:g}V"
        self._events.statuses.append(Status(level, "SENSOR", volts))
        if boot:
            self._ini_pose_at = _BOOT_CYCLES
        else:
            self.enable_ctrl_module("base_module")

    def ini_pose(self) -> None:
        """base_module asks for all joints and plays ini_pose, unless it does so already."""
        base = self._ownership.modules["base_module"]
        assert isinstance(base, BaseModule)
        if base.running or self._ini_pose_asked:
            self._warn("ini_pose: previous task is alive")
            return

        def start(switched: bool) -> None:
            self._ini_pose_asked = False
            if switched:
                base.start(self._goals.position)

        self._ini_pose_asked = True
        self.enable_ctrl_module("base_module", start)

    def action_page(self, page: int) -> None:
        """Play a page; -1 lets the running one end, -2 brakes it."""
        action = self._ownership.modules["action_module"]
        assert isinstance(action, ActionModule)
        action.command(page)

    def walking_command(self, text: str) -> None:
        """`start` or `stop`; the others change nothing that is simulated."""
        walking = self._ownership.modules["walking_module"]
        assert isinstance(walking, WalkingModule)
        walking.command(text)

    def dxl_torque(self) -> None:
        """op3_manager restarts the loop with the servos' start values; goal_pwm is not of them."""
        self.restart(initialise=True)

    def press_button(self, name: str) -> None:
        """A button of the OpenCR board, with `_long` if it was held for 2 s.

        Raises:
            BadInputError: there is no such button.
        """
        check_choice("button", name, BUTTONS, remedy="press one of them")
        self._events.buttons.append(name)
        self._events.info("SENSOR", f"Button : {name}")
        if name == "user_long":
            self.enable_ctrl_module(NONE)
            self.restart(initialise=not self.servos.read("torque_enable")[_TORQUE_WITNESS])
            self._ini_pose_at = self._count + _BUTTON_CYCLES

    def cycle(self, position: ArrayLike) -> DriverCycle:
        """One driver cycle of 8 ms.

        Args:
            position: present angles as the encoders give them, rad, (20,).
        """
        self._count += 1
        if self._count == self._ini_pose_at:
            self.ini_pose()
        return super().cycle(position)
