# SPDX-License-Identifier: Apache-2.0
"""Phases of training, one after the other, by hand or by success rate.

Environments ask for `CurriculumManager.phase` when they reset a robot: a change acts at each
robot's next reset, and a robot in the middle of its episode ends it as it began.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from op3_fall.envs.curriculum_file import read_curriculum
from op3_fall.envs.phase import Phase, changed, check_flag
from op3_fall.errors import BadInputError, check_range

__all__ = ["JOINT_NOISE_RAD", "MASS_SHARE", "CurriculumManager"]

MASS_SHARE = 0.15
"""What `enable_mass_rand` switches on, as in docs/detection.md."""
JOINT_NOISE_RAD = 0.0015
"""What `enable_noise(joints=True)` switches on: one count of the encoder."""


class CurriculumManager:
    """The phases, and which of them is the current one.

    What is called between `start_phase_def` and `finish_phase_def` defines that phase, starting
    from the default `Phase`; nobody sees it before it is finished. What is called otherwise
    changes the current phase. Every change of the current phase starts the window of `record`
    anew.
    """

    def __init__(
        self,
        phases: Sequence[Phase] = (Phase(),),
        *,
        advance_at: float | None = None,
        window: int = 1000,
    ) -> None:
        """Start in phase 0.

        Args:
            phases: at least one; their places are their ids.
            advance_at: success rate, above 0, that leads to the next phase; None for never.
            window: episodes over which the rate is taken, 1 or more.

        Raises:
            BadInputError: no phase, or a rate or window that is not allowed.
        """
        if not phases:
            raise BadInputError("curriculum has no phase; allowed is one or more; give Phase()")
        if advance_at is not None:
            _check_number("advance_at", advance_at, int | float)
            check_range("advance_at", advance_at, 0.001, 1)
        _check_number("window", window, int)
        check_range("window", window, 1, 1_000_000, unit="episodes")
        self._phases = list(phases)
        self._advance_at, self._window = advance_at, deque[bool](maxlen=window)
        self._id = 0
        self._defining: tuple[int, Phase] | None = None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """The curriculum in a file: `phases`, a list of mappings, `advance_at` and `window`.

        Args:
            path: of a file such as config/curriculum/arms.yaml.

        Raises:
            BadInputError: the file is missing or broken, or holds what is not allowed.
        """
        phases, options = read_curriculum(Path(path))
        try:
            return cls(phases, **options)
        except BadInputError as error:
            raise BadInputError(f"curriculum file '{path}': {error}") from None

    @property
    def phase_id(self) -> int:
        """Which phase is the current one."""
        return self._id

    @property
    def phase(self) -> Phase:
        """The current phase, for robots that are reset now."""
        return self._phases[self._id]

    @property
    def phases(self) -> Mapping[int, Phase]:
        """All phases by id, to be read only."""
        return MappingProxyType(dict(enumerate(self._phases)))

    def enable_mass_rand(self, arms: bool = True, legs: bool = False, head: bool = False) -> None:
        """Let the masses of these parts differ by up to 15 %, and of the other two not at all."""
        given = {"arms": arms, "legs": legs, "head": head}
        for name, value in given.items():
            check_flag(name, value)
        self.change(**{f"mass_{name}": MASS_SHARE * value for name, value in given.items()})

    def enable_joint_offset_rand(self, value: float) -> None:
        """Let each encoder read up to `value` (rad, 0 to 0.2) beside the true angle."""
        self.change(joint_offset_rad=value)

    def enable_noise(self, imu: bool = False, joints: bool = False) -> None:
        """Switch noise on or off: of the IMU, with bias and mounting, and of the joint angles."""
        for name, value in (("imu", imu), ("joints", joints)):
            check_flag(name, value)
        self.change(imu_errors=float(imu), joint_noise_rad=JOINT_NOISE_RAD * joints)

    def enable_push(self, front: bool = True, back: bool = False, sides: bool = False) -> None:
        """Where pushes go; see `Phase.push_front`. None of them leaves the robot alone."""
        self.change(push_front=front, push_back=back, push_sides=sides)

    def set_push_severity(
        self, weak: bool = True, normal: bool = False, strong: bool = False
    ) -> None:
        """How hard pushes are: one or more classes; see `Phase.push_weak`."""
        self.change(push_weak=weak, push_normal=normal, push_strong=strong)

    def change(self, **values: Any) -> None:
        """Set fields of `Phase` by name, all together; the others keep their values.

        Raises:
            BadInputError: an unknown field, or a value that `Phase` refuses; nothing changes.
        """
        if self._defining is None:
            self._phases[self._id] = changed(self.phase, values)
            self._window.clear()
        else:
            phase_id, phase = self._defining
            self._defining = phase_id, changed(phase, values)

    def start_phase_def(self, phase_id: int = 0) -> None:
        """Begin to define a phase, new or again, from the default one.

        Raises:
            BadInputError: another definition is not finished, or phases between are missing.
        """
        if self._defining is not None:
            raise BadInputError(
                f"the definition of phase {self._defining[0]} is not finished; allowed is one at "
                "a time; call finish_phase_def first"
            )
        new = len(self._phases)
        if not _is_id(phase_id, new + 1):
            raise BadInputError(
                f"phase {phase_id!r} cannot be defined; allowed are {_known(new)}, to define it "
                f"again, or the next one, {new}; leave no gap"
            )
        self._defining = phase_id, Phase()

    def finish_phase_def(self) -> None:
        """Put the defined phase in its place, for all to see.

        Raises:
            BadInputError: no definition was started.
        """
        if self._defining is None:
            raise BadInputError(
                "no phase is being defined; allowed is to finish one that was started; call "
                "start_phase_def first"
            )
        phase_id, phase = self._defining
        self._phases[phase_id : phase_id + 1] = [phase]
        self._defining = None
        if phase_id == self._id:
            self._window.clear()

    def set_phase(self, phase_id: int = 0) -> None:
        """Make a phase the current one.

        Raises:
            BadInputError: there is no such phase.
        """
        if not _is_id(phase_id, len(self._phases)):
            raise BadInputError(
                f"phase {phase_id!r} is unknown; allowed are {_known(len(self._phases))}; "
                "define it first, or choose one of them"
            )
        self._id = phase_id
        self._window.clear()

    def to_next_phase(self) -> None:
        """Go on to the next phase; from the last one there is nowhere to go, so it stays."""
        if self._id + 1 < len(self._phases):
            self.set_phase(self._id + 1)

    def record(self, successes: ArrayLike, phase_ids: ArrayLike | None = None) -> None:
        """Count episodes that have ended, and go on to the next phase when the rate is reached.

        The rate counts once a whole window has ended in the phase. Episodes that end together are
        judged together, so one call goes on by one phase at most.

        Args:
            successes: true of each that ended well, (k,).
            phase_ids: in which phase each began, (k,): those of other phases do not count, as
                they say nothing about this one. All count if None.
        """
        ended = np.asarray(successes, dtype=bool)
        if phase_ids is not None:
            ended = ended[np.asarray(phase_ids) == self._id]
        self._window.extend(ended.ravel().tolist())
        full = len(self._window) == self._window.maxlen
        if self._advance_at is not None and full and self.success_rate >= self._advance_at:
            self.to_next_phase()

    @property
    def success_rate(self) -> float:
        """Share of successes among the last episodes of the phase; 0 before the first one."""
        return sum(self._window) / max(len(self._window), 1)

    def state(self) -> dict[str, Any]:
        """What changes while training goes on, as JSON has it; the phases are not part of it."""
        return {"phase_id": self._id, "window": list(self._window)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a manager with the same phases.

        Raises:
            BadInputError: it is no such state, or its phase is unknown.
        """
        match state:
            case {"phase_id": phase_id, "window": [*window], **more} if not more:
                self.set_phase(phase_id)
                self._window.extend(window)
            case _:
                raise BadInputError(
                    f"state of the curriculum is {state!r}; allowed is a mapping of phase_id and "
                    "window; give what state() returned"
                )


def _check_number(name: str, value: Any, kind: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        allowed = "a whole number" if kind is int else "a number"
        raise BadInputError(f"{name} is {value!r}; allowed is {allowed}; give one")


def _is_id(value: Any, count: int) -> bool:
    return type(value) is int and 0 <= value < count


def _known(count: int) -> str:
    return ", ".join(map(str, range(count)))
