# SPDX-License-Identifier: Apache-2.0
"""Which motion module owns which joint, and the switch from one to another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from op3_fall import robot
from op3_fall.driver_events import Events
from op3_fall.driver_modules import MotionModule, make_modules

__all__ = ["NONE", "Done", "Ownership"]

NONE = "none"
Done = Callable[[bool], None]
"""Called with True when a switch is complete, with False when it will never be."""
_ALL = range(robot.NUM_JOINTS)


@dataclass
class _Switch:
    wanted: dict[int, str]
    stopped: list[MotionModule]
    whole: bool
    """Asked for a module, not for joints: afterwards every module that owns a joint is enabled."""
    done: Done | None


class Ownership:
    """Owners of the 20 joints. One switch at a time: the modules that lose a joint are stopped,
    and when none of them runs any more they are disabled and the joints change hands.
    """  # noqa: D205

    def __init__(self, events: Callable[[], Events]) -> None:
        """Start with nobody owning anything."""
        self._events = events
        self.modules = make_modules(events)
        self.owner = [NONE] * robot.NUM_JOINTS
        """Name of each joint's module, in driver order."""
        self._switch: _Switch | None = None

    @property
    def pending(self) -> bool:
        """A switch waits for motions to end."""
        return self._switch is not None

    @property
    def service_waits(self) -> bool:
        """That switch was asked for by a service."""
        return self._switch is not None and self._switch.done is not None

    def give_all_to(self, name: str, done: Done | None = None) -> None:
        """Give a module all joints it can own; `none` or empty frees all joints."""
        if name in ("", NONE):
            losing = [m for m in self.modules.values() if m.enabled]
            wanted = dict.fromkeys(_ALL, NONE)
        else:
            module = self.modules.get(name)
            if module is None:
                self._events().warnings.append(f"there is no module '{name}'")
            wanted = {j: name for j in _ALL if module and module.joints[j]}
            losing = self._losing(wanted)
        self._start(_Switch(wanted, losing, True, done))

    def give(self, joints: Sequence[str], modules: Sequence[str], done: Done | None) -> None:
        """Give each joint to a module (equally many of both)."""
        wanted: dict[int, str] = {}
        for joint, module in zip(joints, modules, strict=True):
            if joint in robot.JOINT_INDEX:
                wanted[robot.JOINT_INDEX[joint]] = module
            else:
                self._events().warnings.append(f"there is no joint '{joint}'")
        self._start(_Switch(wanted, self._losing(wanted), False, done))

    def _losing(self, wanted: Mapping[int, str]) -> list[MotionModule]:
        names = {self.owner[j] for j, name in wanted.items() if self.owner[j] != name}
        return [m for m in self.modules.values() if m.name in names and m.enabled]

    def _start(self, switch: _Switch) -> None:
        for module in switch.stopped:
            module.stop()
        self._switch = switch
        self.poll()

    def poll(self) -> None:
        """Complete the switch if the modules that it stopped have come to rest."""
        switch = self._switch
        if switch is None or any(module.running for module in switch.stopped):
            return
        for module in switch.stopped:
            module.enable(False)
        given = self._assign(switch.wanted)
        for module in self.modules.values():
            # A request by joint enables what it names alone; a module that kept some of its
            # joints stays disabled, and they hold.
            if module.name in (self.owner if switch.whole else given) and not module.enabled:
                module.enable(True)
        self._switch = None
        self._events().module_maps.append(tuple(self.owner))
        if switch.done:
            switch.done(True)

    def _assign(self, wanted: Mapping[int, str]) -> set[str]:
        given = set()
        for joint, name in wanted.items():
            module = self.modules.get(name)
            if name in ("", NONE):
                self.owner[joint] = NONE
            elif module is None:
                self._events().warnings.append(f"there is no module '{name}'")
            elif module.joints[joint]:
                self.owner[joint] = name
                given.add(name)
        return given

    def abort(self) -> None:
        """Tell who waits that the switch will not come."""
        if self._switch and self._switch.done:
            self._switch.done(False)
        self._switch = None
