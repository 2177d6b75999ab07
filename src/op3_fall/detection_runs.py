# SPDX-License-Identifier: Apache-2.0
"""Run the detectors and the known rules over simulated episodes, with the truth beside them."""

from collections.abc import Callable

import numpy as np

from op3_fall.bracing import Brace
from op3_fall.detection_watch import Label, Observed, Watch
from op3_fall.detectors import DetectorConfig
from op3_fall.episode_runs import Moment, play
from op3_fall.episodes import Episodes
from op3_fall.no_return import Snapshots, find_no_return
from op3_fall.simulation import Simulation

__all__ = ["observe"]

Progress = Callable[[float], None]


def observe(
    episodes: Episodes,
    duration_s: float,
    config: DetectorConfig,
    *,
    brace: bool = False,
    no_return: bool = False,
    listen: Callable[[Moment, Watch], None] = lambda moment, watch: None,
    progress: Progress = lambda share: None,
) -> Observed:
    """Simulate the episodes and watch them with all detectors.

    Args:
        episodes: what happens.
        duration_s: how long, s.
        config: of our detectors.
        brace: meet falls with the protective pose, every other one with the compliance schedule;
            else every robot goes on with what it did.
        no_return: find the point of no return of the falls.
        listen: called with each driver cycle, after the detectors have had it.
        progress: called with the share done.
    """
    simulation = Simulation(len(episodes))
    watch = Watch(episodes, config, simulation.servo)
    respond = Brace(episodes, simulation.servo, watch.estimates) if brace else None
    snapshots = Snapshots()
    moments = play(simulation, episodes, duration_s, respond)
    for step, moment in enumerate(moments):
        watch.add(moment)
        listen(moment, watch)
        if no_return and step % 2:
            snapshots.add(moment.time_s, simulation)
        progress(moment.time_s / duration_s)
    truth = simulation.measure()
    observed = watch.result(duration_s, truth)
    falls = np.nonzero(observed.label == Label.FALL)[0]
    if no_return and falls.size:
        observed.no_return_s[falls] = find_no_return(
            episodes.take(falls), snapshots, falls, truth.impact_s[falls]
        )
    return observed
