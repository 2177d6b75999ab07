# SPDX-License-Identifier: Apache-2.0
"""ROBOTIS' robotis_controller without I/O and without a clock: the inner part of the OP3's driver.

Messages come in by methods, `cycle` runs one driver cycle of 8 ms. What surprises in the real one
is here too:

- Item messages of the same cycle are merged into one packet (`driver_packets`).
- A joint takes targets only while its module is `none`, and a module gives its joints up only when
  its motion has ended. While a service waits for that, or a second request waits for a first, the
  controller's callback thread is blocked: its messages wait, as many as its queues hold.
- In DirectControlMode positions are not written and the IMU freezes.
- Nothing restores gains that somebody wrote.

Where the real driver would read past an array, the message is skipped with a warning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.driver_events import CYCLE_S, Events
from op3_fall.driver_goals import Goals
from op3_fall.driver_inbox import Inbox
from op3_fall.driver_ownership import NONE, Done, Ownership
from op3_fall.driver_packets import PacketQueue
from op3_fall.servo_bank import ServoBank
from op3_fall.signals import JointCommand

__all__ = ["Controller", "DriverCycle"]

Array = NDArray[np.float64]
_STALE_CYCLES = 6  # open_cr asks for power when its data are older than 50 ms


@dataclass(frozen=True)
class DriverCycle:
    """What one driver cycle did."""

    command: JointCommand
    """What the servos do from now on, (20,)."""
    goal: Array
    """Positions for /robotis/goal_joint_states, rad, (20,)."""
    position_offset: Array
    """Calibration offset that is taken off the encoders' angles, rad, (20,)."""
    imu_frozen: bool
    """The IMU repeats its last message."""
    wants_power: bool
    """open_cr sends `dynamixel_power` on /robotis/sync_write_item, as its data are old."""
    events: Events


class Controller:
    """One robot's controller: joints, their modules, the servos' registers."""

    def __init__(
        self,
        position: ArrayLike,
        *,
        servo: robot.Servo | None = None,
        merge_bug: bool = True,
    ) -> None:
        """Start it on a robot that stands in `position`, its joints owned by no module.

        Args:
            position: present angles, rad, (20,); the first goals.
            servo: gives the sampling time of the I term.
            merge_bug: as in the official driver; without it every message has its own packet.
        """
        self._servo = servo or robot.Servo()
        self.servos = ServoBank(position)
        """The servos' memory."""
        self._packets = PacketQueue(merge=merge_bug)
        self._events = Events()
        self._ownership = Ownership(lambda: self._events)
        self._inbox = Inbox(self._ownership, self._warn)
        self._goals = Goals(position)
        self._present = self._goals.position.copy()
        self._p_cache = self.servos.read("position_p_gain")
        self._p_writes: NDArray[np.bool_] = np.zeros(robot.NUM_JOINTS, dtype=bool)
        self._direct, self._stale_cycles = False, 0

    def _warn(self, text: str) -> None:
        self._events.warnings.append(text)

    # The controller's topics and services, all called by one thread.

    def set_joint_states(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Goals in rad for joints that no module owns."""
        self._inbox.receive("set_joint_states", 10, lambda: self._set_goals(names, positions))

    def _set_goals(self, names: Sequence[str], positions: Sequence[float]) -> None:
        if len(positions) < len(names):
            self._warn(f"set_joint_states has {len(names)} names and {len(positions)} positions; "
                       "it is skipped")  # fmt: skip
            return
        if not np.isfinite(positions).all():
            self._warn("set_joint_states has a position that is not finite; it is skipped")
            return
        for name, position in zip(names, positions, strict=False):
            joint = robot.JOINT_INDEX.get(name)
            if joint is None:
                self._warn(f"set_joint_states: there is no joint '{name}'")
            elif self._direct or self._ownership.owner[joint] == NONE:
                self._goals.set(joint, position)

    def sync_write_item(self, item: str, names: Sequence[str], values: Sequence[int]) -> None:
        """A raw register value for each of some devices; goes out in the next cycle."""

        def work() -> None:
            self._events.warnings += self._packets.add_item(item, names, values)

        self._inbox.receive("sync_write_item", 10, work)

    def write_control_table(self, device: str, item: str, length: int, data: bytes) -> None:
        """Raw bytes from a register of one device on; goes out in the next cycle."""

        def work() -> None:
            self._events.warnings += self._packets.add_bytes(device, item, length, data)

        self._inbox.receive("write_control_table", 5, work)

    def set_control_mode(self, mode: str) -> None:
        """`MotionModuleMode` or the trap `DirectControlMode`; anything else does nothing."""

        def work() -> None:
            if mode in ("MotionModuleMode", "DirectControlMode"):
                self._direct, self._stale_cycles = mode == "DirectControlMode", 0
            else:
                self._warn(f"set_control_mode: there is no mode '{mode}'")

        self._inbox.receive("set_control_mode", 10, work)

    def enable_offset(self, on: bool) -> None:
        """Bring the calibration offset in, or out, over 100 cycles."""

        def work() -> None:
            self._goals.enable_offset(on)

        self._inbox.receive("enable_offset", 10, work)

    def set_offsets(self, offsets_rad: Mapping[str, float]) -> None:
        """Calibration offsets by joint, as /robotis/load_offset reads them; others keep theirs."""

        def work() -> None:
            for name, offset in offsets_rad.items():
                if name in robot.JOINT_INDEX:
                    self._goals.set_offset(robot.JOINT_INDEX[name], offset)

        self._inbox.receive("load_offset", 10, work)

    def enable_ctrl_module(self, name: str, done: Done | None = None) -> None:
        """Give a module all joints that it can own; `none` or empty frees all joints.

        Args:
            name: of the module.
            done: given by the service, which blocks the thread until it is called.
        """

        def work() -> None:
            self._ownership.give_all_to(name, done)

        self._inbox.receive("enable_ctrl_module", 10, work, done=done, switches=True)

    def set_joint_ctrl_modules(
        self, names: Sequence[str], modules: Sequence[str], done: Done | None = None
    ) -> None:
        """Give each joint to a module; `done` as in `enable_ctrl_module`."""

        def work() -> None:
            if len(names) == len(modules):
                self._ownership.give(names, modules, done)
                return
            self._warn(f"set_joint_ctrl_modules has {len(names)} joints and {len(modules)} "
                       "modules; it is skipped")  # fmt: skip
            if done:
                done(False)

        self._inbox.receive("set_joint_ctrl_modules", 10, work, done=done, switches=True)

    def modules_of(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Each of those joints that exist, and its module."""
        owner = self._ownership.owner
        return [(n, owner[robot.JOINT_INDEX[n]]) for n in names if n in robot.JOINT_INDEX]

    def abort(self) -> None:
        """Tell every service that waits that it will not be served."""
        self._ownership.abort()
        self._inbox.abort()

    def restart(self, *, initialise: bool) -> None:
        """Stop the loop and start it again: the goals become the present angles.

        How long the loop stands still is in no source; here it is no time.

        Args:
            initialise: write the servos' start values (dxl_init_OP3.yaml) and turn torque on.
        """
        if initialise:
            self.servos.initialise()
        self._goals.hold(self._present)
        self._p_cache = self.servos.read("position_p_gain")

    def cycle(self, position: ArrayLike) -> DriverCycle:
        """One driver cycle of 8 ms.

        Args:
            position: present angles as the encoders give them, rad, (20,).
        """
        self._goals.ramp_offset()
        self._present = np.asarray(position, dtype=float) - self._goals.offset
        self._events.warnings += self._packets.send(self.servos)
        if not self._direct:
            self._write_goals()
            self._run_modules()
        self._stale_cycles = self._stale_cycles + 1 if self._direct else 0
        self._ownership.poll()
        self._inbox.drain()
        events, self._events = self._events, Events()
        return DriverCycle(
            command=self.servos.command(np.asarray(position), self._servo, CYCLE_S),
            goal=self._goals.position.copy(),
            position_offset=self._goals.offset,
            imu_frozen=self._direct,
            wants_power=self._stale_cycles > _STALE_CYCLES,
            events=events,
        )

    def _write_goals(self) -> None:
        if self._p_writes.any():
            self.servos.write_p_gains(self._p_cache, self._p_writes)
            self._p_writes[:] = False
        refused = ~self.servos.write_goals(self._goals.register)
        for joint in np.nonzero(refused)[0]:
            self._warn(f"servo {robot.JOINTS[joint]} rejects a write: goal_position is "
                       f"{self._goals.register[joint]}, outside its position limits")  # fmt: skip

    def _run_modules(self) -> None:
        """Each enabled module's goals, and the P gains that it wants, for the next cycle."""
        owner = np.array(self._ownership.owner)
        for module in self._ownership.modules.values():
            if not module.enabled:
                continue
            mine = owner == module.name
            self._goals.set_where(mine, module.process(self._goals.position))
            if module.p_gain is not None:
                changed = mine & (module.p_gain > 0) & (module.p_gain != self._p_cache)
                self._p_cache = np.where(changed, module.p_gain, self._p_cache)
                self._p_writes |= changed
