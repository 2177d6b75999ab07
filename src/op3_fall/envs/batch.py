# SPDX-License-Identifier: Apache-2.0
"""Falls of n robots under one policy: simulation, detectors and the policy's codec, in step.

The single environment is n = 1 of this, the vector environment n; nothing here loops over robots.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.detectors import DetectorConfig, Detectors, suited
from op3_fall.envs.curriculum import CurriculumManager
from op3_fall.envs.draws import draw_scenario
from op3_fall.envs.given import reward_terms
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import TOLERANCE_N
from op3_fall.envs.takeover import Takeover
from op3_fall.errors import BadInputError
from op3_fall.fall_detection import FallPhase
from op3_fall.metrics import score
from op3_fall.model import Op3Model
from op3_fall.policy_spec import PolicySpec
from op3_fall.rows import Rows, assign, take
from op3_fall.scenarios import Scenario
from op3_fall.signals import FallEstimate, ImpactEstimate
from op3_fall.simulation import CONTROL_PERIOD_S, Simulation
from op3_fall.truth import Measurement, Peaks

__all__ = ["FallBatch", "Moment", "Verdict"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
ComputeReward = Callable[[Outcome], Mapping[str, Array]]

_NO_PHASE = -1


@dataclass(frozen=True)
class Moment:
    """What a control step gave, (n, ...)."""

    observation: NDArray[np.float32]
    """What the policy sees, (n, observations)."""
    reward: Array
    """Sum of the terms, (n,)."""
    terminated: Flags
    """The fall is over, or the physics broke down, (n,)."""
    info: dict[str, Any]
    """The terms, the metrics of the fall so far, and flags; values (n,), two of them mappings."""


class Verdict(NamedTuple):
    """What `CurriculumManager.record` wants to know of falls that have ended, (k,) each."""

    successes: Flags
    phase_ids: NDArray[np.int64]


class FallBatch:
    """N robots that fall, each through an episode of its own."""

    def __init__(
        self,
        n: int,
        spec: PolicySpec,
        compute_reward: ComputeReward,
        curriculum: CurriculumManager,
        model: Op3Model,
        detectors: DetectorConfig,
    ) -> None:
        """Make the simulation; `reset` all robots before the first `step`.

        Args:
            n: robots.
            spec: what the policy sees and does.
            compute_reward: terms of the reward, (n,) each, by name.
            curriculum: its current phase says how episodes begin.
            model: of the robot.
            detectors: when a fall is noticed and an impact felt.
        """
        self.simulation = Simulation(n, model=model, profile=spec.sensor_profile)
        self.curriculum = curriculum
        self.seeds, self.episodes = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._phase_ids = np.zeros(n, dtype=np.int64)
        self._compute_reward = compute_reward
        self._detector_config = suited(detectors, spec.sensor_profile)
        self._detectors: Detectors
        self.reading = self.simulation.reset(Scenario.standing(n))
        self._takeover = Takeover(spec, self.reading)
        self.fall: FallEstimate
        self._impact: ImpactEstimate
        self._truth = self.simulation.measure()
        self._com, self._com_speed = self._truth.com, np.zeros(n)
        self._terms: dict[str, Array] = {}

    def __len__(self) -> int:
        """Number of robots."""
        return len(self.simulation)

    def reset(self, rows: Rows, scenario: Scenario | None = None) -> NDArray[np.float32]:
        """Begin a new episode of the robots at `rows` (k,).

        Args:
            rows: sorted indices.
            scenario: how each begins, drawn from its seed, the number of its episode and the
                curriculum's phase if None.

        Returns:
            Observations of all robots (n, observations).

        Raises:
            BadInputError: a scenario of another length, or bumps that the floor was made without.
        """
        drawn = scenario is None
        if scenario is None:
            scenario = draw_scenario(self.curriculum.phase, self.seeds[rows], self.episodes[rows])
        scenario.check_length(len(rows))
        self._check_bumps(scenario)
        self.reading = self.simulation.reset(scenario, rows, in_rhythm=True)
        self._phase_ids[rows] = self.curriculum.phase_id if drawn else _NO_PHASE
        self.episodes[rows] += 1
        which = np.zeros(len(self), dtype=bool)
        which[rows] = True
        self._watch(rows)
        self._takeover.reset(self.reading, rows, scenario.position)
        if not self._terms:  # info has their names from the first reset on
            idle = self._takeover.codec.last_action
            outcome = self._outcome(self._takeover.fell, idle, Peaks.zeros(len(self)))
            self._terms = reward_terms(self._compute_reward(outcome), outcome.diverged)
        self._terms = {name: np.where(which, 0.0, v) for name, v in self._terms.items()}
        self._truth = self.simulation.measure()
        self._com = np.where(which[:, None], self._truth.com, self._com)
        self._com_speed = np.where(which, 0.0, self._com_speed)
        return self._observe(which)

    def step(self, action: NDArray[np.floating[Any]]) -> Moment:
        """One control step of 20 ms with actions (n, actions), finite."""
        takeover = self._takeover
        last_action, fell = takeover.codec.last_action, takeover.fell
        command = takeover.decide(action, self.reading, self.fall)
        if takeover.modes is not None:
            self.simulation.operate(takeover.modes)
        self.reading = self.simulation.step(command)
        peak = self._peaks()
        for cycle in self.simulation.cycles:
            self.fall, self._impact = self._detectors.step(cycle.reading)
        outcome = self._outcome(fell, last_action, peak)
        self._terms = reward_terms(self._compute_reward(outcome), outcome.diverged)
        takeover.follow(self.reading, self.fall)
        return Moment(
            observation=self._observe(),
            reward=sum(self._terms.values(), start=np.zeros(len(self))),
            terminated=outcome.at_rest | outcome.diverged,
            info=self.info(),
        )

    def info(self) -> dict[str, Any]:
        """Terms of the latest reward, metrics of the fall so far, and flags, (n,) each."""
        truth = self._truth
        return {
            "reward_terms": dict(self._terms),
            "metrics": score(truth),
            "acting": self._takeover.acting.copy(),
            "impact": truth.hit,
            "head_contact": np.isfinite(truth.head_contact_speed),
            "success": self.success,
            "diverged": truth.diverged,
            "curriculum_phase": self._phase_ids.copy(),
        }

    def _check_bumps(self, scenario: Scenario) -> None:
        none_here = not len(self.simulation.model.bump_ids)
        if none_here and not np.isnan(scenario.bumps).all():
            raise BadInputError(
                "the episode has bumps, but no phase of the curriculum had when the environment "
                "was made; allowed is a floor as it was made; define such a phase first, then "
                "make the environment"
            )

    def _watch(self, rows: Rows) -> None:
        """New detectors for the robots at `rows` (k,), which stand at rest."""
        reading = take(self.reading, rows)
        fresh = Detectors(reading, self.simulation.servo, self._detector_config)
        fall, impact = fresh.step(reading)
        if len(rows) == len(self):
            self._detectors, self.fall, self._impact = fresh, fall, impact
        else:
            self._detectors.replace(rows, fresh)
            everyone = slice(None)
            self.fall, self._impact = take(self.fall, everyone), take(self._impact, everyone)
            assign(self.fall, rows, fall)
            assign(self._impact, rows, impact)

    def verdict(self, rows: Rows) -> Verdict:
        """On the episodes of `rows` (k,) so far.

        Left out is who has not fallen (touched the floor with more than the feet), and whose
        scenario was not drawn from the curriculum.
        """
        truth = self._truth
        fell = rows[truth.hit[rows] | truth.diverged[rows]]
        fell = fell[self._phase_ids[fell] != _NO_PHASE]
        return Verdict(self.success[fell], self._phase_ids[fell])

    @property
    def success(self) -> Flags:
        """The head has not touched the floor, and no part more than it takes, (n,)."""
        truth = self._truth
        broken = np.isfinite(truth.head_contact_speed) | truth.diverged
        return ~broken & (truth.impact_peak.floor_force <= TOLERANCE_N).all(axis=-1)

    def _observe(self, which: Flags | None = None) -> NDArray[np.float32]:
        """What all see; `which` (n,) have not observed in this control step yet, all if None."""
        watches = self._takeover.watches
        which = watches if which is None else which & watches
        seen = self._takeover.codec.observe(self.reading, self.fall, which)
        # A robot whose physics broke down may have readings that are no numbers.
        return np.nan_to_num(seen, nan=0.0) if self._truth.diverged.any() else seen

    def _peaks(self) -> Peaks:
        """Of the driver cycles that ended in the latest control step."""
        peak = Peaks.zeros(len(self))
        for cycle in self.simulation.cycles:
            peak.raise_to(cycle.peak)
        return peak

    def _outcome(self, fell: Flags, last_action: Array, peak: Peaks) -> Outcome:
        before, now = self._truth, self.simulation.measure()
        first_head = np.isnan(before.head_contact_speed) & np.isfinite(now.head_contact_speed)
        com_speed = np.sqrt(((now.com - self._com) ** 2).sum(axis=-1)) / CONTROL_PERIOD_S
        last_com_speed, self._com_speed, self._com = self._com_speed, com_speed, now.com
        self._truth = now
        position = self.simulation.true_joints
        return Outcome(
            fell=fell,
            hit=now.hit,
            at_rest=fell & (self.fall.phase == FallPhase.DOWN) & self._impact.subsided,
            diverged=now.diverged,
            position=position,
            goal=self._takeover.goals(position),
            action=self._takeover.codec.last_action,
            last_action=last_action,
            peak=peak,
            worst=now.impact_peak,
            last_worst=before.impact_peak,
            saturated_share=(now.impact_saturated_s - before.impact_saturated_s)
            / CONTROL_PERIOD_S,
            head_hit_speed=np.where(first_head, now.head_contact_speed, 0.0),
            com_speed=com_speed,
            last_com_speed=last_com_speed,
        )

    @property
    def truth(self) -> Measurement:
        """Ground truth of every robot since its last reset."""
        return self._truth
