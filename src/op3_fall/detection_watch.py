# SPDX-License-Identifier: Apache-2.0
"""Watch simulated episodes with the detectors and the known rules, and judge what happened."""

from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.detectors import DetectorConfig, Detectors
from op3_fall.driver_events import CYCLE_S
from op3_fall.episode_runs import Moment
from op3_fall.episodes import Episodes, draw
from op3_fall.known_rules import KNOWN_RULES
from op3_fall.robot import Servo
from op3_fall.signals import FallEstimate, ImpactEstimate, SensorReading
from op3_fall.truth import Measurement

__all__ = ["OURS", "PROFILES", "Felt", "Label", "Observed", "Verdict", "Watch", "as_profile",
           "merge_observed"]  # fmt: skip

Array = NDArray[np.float64]

OURS = "capture_point"
"""Name of our rule beside those of `KNOWN_RULES`; its score is the margin in m."""
PROFILES = ("extended", "stock")
_LYING_RAD = 0.9
_STANDING_RAD = 0.35
"""A robot that leans this much more at the end than before does not stand."""
_BLOW_N = 200.0
"""A floor force of six times the weight on a part other than the feet is a blow."""
_QUIET_S = 0.064
"""After this long below half of it the next is a new one."""


class Label(IntEnum):
    """What really happened."""

    NEITHER = -1
    """It touched the floor without falling over, or ended on its edge: counts for nothing."""
    NON_FALL = 0
    FALL = 1


_BLOW_RISE_N, _JUST_NOW, _BEFORE = 30.0, 7, 12
"""A felt impact is real if the floor's force on parts other than the feet rose by the robot's
weight within so many cycles, over its median in so many before."""


class Felt(NamedTuple):
    """An impact that was felt."""

    time_s: float
    sense: int
    """`ImpactSense`."""
    real: bool
    """A part other than the feet had just struck the floor (`Watch.struck`)."""


@dataclass
class Verdict:
    """What the detectors said on one sensor profile, n episodes; times are stamps of readings."""

    alarm_s: Array
    """First alarm, of a fall at or after the event, s; NaN if none, (n,)."""
    side_rad: Array
    """Told side at the alarm, (n,)."""
    last_side_rad: Array
    """Told side with the last reading before the contact, (n,)."""
    remaining_s: Array
    """Predicted time to impact at the alarm, (n,)."""
    alarms: NDArray[np.int64]
    """False alarms: in a fall those before the event, else all, (n,)."""
    felt: list[list[Felt]]
    """Impacts felt, a list an episode."""


@dataclass
class Observed:
    """N episodes."""

    episodes: Episodes
    """What they were."""
    duration_s: float
    """Of each."""
    label: NDArray[np.int64]
    """`Label`, (n,)."""
    contact_s: Array
    """First contact of a part other than the feet, s; NaN if none, (n,)."""
    no_return_s: Array
    """Point of no return, s; NaN where it was not sought, (n,)."""
    side_rad: Array
    """Side that was down at the contact, (n,)."""
    blows: list[list[float]]
    """Blows after the first contact, s, to a driver cycle, a list an episode."""
    time_s: Array
    """Of the readings, (t,)."""
    scores: dict[str, Array]
    """Of each rule, (t, n)."""
    attitude_rad: Array
    """Error of the gravity direction, (t, n)."""
    verdict: dict[str, Verdict]
    """By sensor profile."""


def merge_observed(parts: list[Observed]) -> Observed:
    """Batches of the same duration as if they had been one."""
    first = parts[0]

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], dict):
            return {k: joined([v[k] for v in values]) for k in values[0]}
        if isinstance(values[0], list):
            return list(chain.from_iterable(values))
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values, axis=-1)
        if isinstance(values[0], Verdict):
            return Verdict(**{k: joined([vars(v)[k] for v in values]) for k in vars(values[0])})
        return values[0]

    merged = {k: joined([vars(p)[k] for p in parts]) for k in vars(first)}
    seeds = np.concatenate([p.episodes.seed for p in parts])
    return Observed(**merged | {"time_s": first.time_s, "episodes": draw(seeds)})


class Watch:
    """Everything that listens to n episodes while they are simulated."""

    def __init__(self, episodes: Episodes, config: DetectorConfig, servo: Servo) -> None:
        """Listen from the first reading on."""
        self._episodes, self._config, self._servo = episodes, config, servo
        self._detectors: dict[str, Detectors] = {}
        self._rules = [rule() for rule in KNOWN_RULES]
        self._logs: dict[str, list[NDArray[Any]]] = {}
        self._forces: list[Array] = []
        self._felt: dict[str, list[list[Felt]]] = {
            p: [[] for _ in episodes.seed] for p in PROFILES
        }
        self._latest: tuple[FallEstimate, ImpactEstimate] | None = None

    def estimates(self) -> tuple[FallEstimate, ImpactEstimate] | None:
        """What the detectors say with the extended profile; None before the first reading."""
        return self._latest

    def struck(self) -> NDArray[np.bool_]:
        """Where a part other than the feet has just struck the floor, (n,)."""
        now, before = self._forces[-_JUST_NOW:], self._forces[:-_JUST_NOW]
        level = np.median(before, axis=0) if before else np.zeros_like(now[0])
        touched = np.max(now, axis=0) > 0
        first = touched & (np.max(before, axis=0) == 0) if before else touched
        return first | (np.max(now, axis=0) - level > _BLOW_RISE_N)

    def add(self, moment: Moment) -> None:
        """Take one driver cycle in."""
        self._forces = [*self._forces[1 - _JUST_NOW - _BEFORE :], moment.floor_force]
        real = self.struck()
        for profile in PROFILES:
            reading = as_profile(moment.reading, profile)
            if profile not in self._detectors:
                self._detectors[profile] = Detectors(reading, self._servo, self._config)
            fall, impact = self._detectors[profile].step(reading)
            self._log(profile, phase=fall.phase, side=fall.fall_angle,
                      remaining=fall.time_to_impact)  # fmt: skip
            for k in np.nonzero(impact.onset)[0]:
                felt = Felt(float(reading.time_s[k]), int(impact.sense[k]), bool(real[k]))
                self._felt[profile][k].append(felt)
            if profile == PROFILES[0]:
                self._latest = fall, impact
                error = np.arccos(np.clip((fall.gravity * moment.gravity).sum(axis=-1), -1, 1))
                scores = {r.name: r.step(reading, fall.gravity) for r in self._rules}
                self._log("", attitude=error, **{OURS: fall.margin}, **scores)
        gx, gy, gz = moment.gravity.T
        self._log(
            "", time=np.array(moment.time_s), force=moment.floor_force,
            true_side=np.arctan2(-gy, gx), true_tilt=np.arccos(np.clip(-gz, -1, 1)),
        )  # fmt: skip

    def _log(self, prefix: str, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self._logs.setdefault(prefix + name, []).append(np.array(value, dtype=np.float32))

    def result(self, duration_s: float, truth: Measurement) -> Observed:
        """Judge the episodes after `duration_s`."""
        logs = {name: np.array(values) for name, values in self._logs.items()}
        n = len(self._episodes)
        # In whole cycles: single precision would put a reading before its own time.
        time_s = CYCLE_S * np.rint(logs["time"] / CYCLE_S).astype(float)
        contact = np.where(truth.diverged, np.nan, truth.impact_s)
        at = np.minimum(np.searchsorted(time_s, contact), len(time_s) - 1)
        label = self._label(logs["true_tilt"], time_s, contact, truth.diverged)
        return Observed(
            episodes=self._episodes, duration_s=duration_s, label=label, contact_s=contact,
            no_return_s=np.full(n, np.nan),
            side_rad=np.where(np.isfinite(contact), logs["true_side"][at, np.arange(n)], np.nan),
            blows=[_blows(time_s, logs["force"][:, k], contact[k]) for k in range(n)],
            time_s=time_s,
            scores={name: logs[name] for name in (OURS, *(r.name for r in self._rules))},
            attitude_rad=logs["attitude"],
            verdict={p: self._verdict(p, logs, time_s, label, contact) for p in PROFILES},
        )  # fmt: skip

    def _label(
        self, tilt: Array, time_s: Array, contact: Array, diverged: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        event = np.searchsorted(time_s, self._episodes.event_s)
        before, end = tilt[event, np.arange(tilt.shape[1])], tilt[-1]
        touched = np.isfinite(contact)
        stands = ~touched & (end < before + _STANDING_RAD)
        label = np.select([touched & (end > _LYING_RAD), stands],
                          [Label.FALL, Label.NON_FALL], Label.NEITHER)  # fmt: skip
        return np.where(diverged, Label.NEITHER, label)

    def _verdict(
        self, profile: str, logs: dict[str, Array], time_s: Array, label: NDArray[np.int64],
        contact: Array,
    ) -> Verdict:  # fmt: skip
        rows = np.arange(len(label))
        phase, event = logs[profile + "phase"] > 0, self._episodes.event_s
        fell = label == Label.FALL
        begins = phase & ~np.vstack([np.zeros_like(phase[:1]), phase[:-1]])
        early = begins & ((time_s[:, None] < event) | ~fell)
        # An alarm from before the event found nothing: it was false.
        counts = begins & ((time_s[:, None] >= event) | ~fell)
        first, found = counts.argmax(axis=0), counts.any(axis=0)
        side, before = logs[profile + "side"], np.searchsorted(time_s, contact) - 1
        known = found & fell & (first <= before)
        last = side[np.clip(before, 0, len(time_s) - 1), rows]
        return Verdict(
            alarm_s=np.where(found, time_s[first], np.nan),
            side_rad=np.where(found, side[first, rows], np.nan),
            last_side_rad=np.where(known, last, np.nan),
            remaining_s=np.where(found, logs[profile + "remaining"][first, rows], np.nan),
            alarms=early.sum(axis=0),
            felt=self._felt[profile],
        )


def as_profile(reading: SensorReading, profile: str) -> SensorReading:
    """An extended reading as that profile has it: stock reads neither velocity nor effort."""
    if profile == "extended":
        return reading
    nothing = np.zeros_like(reading.effort)
    return replace(reading, velocity=nothing, effort=nothing)


def _blows(time_s: Array, force: Array, contact_s: float) -> list[float]:
    """Beginnings of the blows after the first contact, s."""
    times, quiet_since = [], contact_s
    for now, size in zip(time_s, force, strict=True):
        if not now > contact_s:
            continue
        if size > _BLOW_N and now - CYCLE_S - quiet_since >= _QUIET_S:
            times.append(float(now - CYCLE_S))
        if size > _BLOW_N / 2:
            quiet_since = now
    return times
