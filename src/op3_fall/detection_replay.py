# SPDX-License-Identifier: Apache-2.0
"""Simulate one episode of the detectors' benchmark again, alone, and show it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from op3_fall import results
from op3_fall.detection_report import alarms_of, operated
from op3_fall.detection_runs import observe
from op3_fall.detection_set import FALL_S, NON_FALL_S
from op3_fall.detection_watch import OURS, PROFILES, Label, Observed, Watch
from op3_fall.detectors import DetectorConfig
from op3_fall.episode_graph import EpisodeTrace, draw_episode
from op3_fall.episode_runs import Moment
from op3_fall.episodes import Episodes, draw
from op3_fall.errors import check_range
from op3_fall.model import load_model
from op3_fall.recipes import FALLS

__all__ = ["replay"]

_SLOW, _SLOW_S = 0.25, (-0.1, 0.3)
"""Speed of the video around the first contacts, and from when to when that is."""
_BEFORE_S, _AFTER_S, _UPRIGHT_S = 0.3, 0.9, 3.0
"""Filmed before the disturbance, after the contacts, and of robots that do not fall."""


def replay(
    seed: int,
    out: Path,
    config: DetectorConfig,
    video: bool,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Write `episode_SEED.png`, and with `video` a film strip and `episode_SEED.mp4`.

    The robot goes on with what it does; the video has one that braces beside it.

    Args:
        seed: of the episode; it says its kind too.
        out: the folder.
        config: of our detectors.
        video: write those as well.
        progress: called with the share done; the video takes a minute.

    Returns:
        Seed, kind and label, and when what happened, s; None where it did not.

    Raises:
        BadInputError: a seed below 0, a folder that cannot be written, or no OpenGL.
    """
    check_range("seed", seed, 0, np.inf, remedy="take one of the worst cases in summary.json")
    episodes, out = draw([seed]), results.open_folder(out)
    observed, trace = _simulate(episodes, config, brace=False)
    told = _tell(observed, config)
    draw_episode(out / f"episode_{seed}.png", trace, told, config)
    if video:
        braced = _simulate(episodes, config, brace=True)
        _film(out / f"episode_{seed}", (trace, braced[1]), (told, _tell(braced[0], config)),
              progress)  # fmt: skip
    return told


def _simulate(
    episodes: Episodes, config: DetectorConfig, *, brace: bool
) -> tuple[Observed, EpisodeTrace]:
    """One episode, watched and logged."""
    duration_s = FALL_S if episodes.kind[0] in FALLS else NON_FALL_S
    rows = []

    def log_cycle(moment: Moment, watch: Watch) -> None:
        estimates = watch.estimates()
        assert estimates is not None, "the watch has had this moment"
        fall, impact = estimates
        rows.append({
            "time_s": moment.time_s, "qpos": moment.qpos[0],
            "true_tilt_rad": np.arccos(np.clip(-moment.gravity[0, 2], -1, 1)),
            "tilt_rad": fall.tilt[0], "clearance_m": fall.clearance[0],
            "torque_load_n_m": impact.torque_load[0], "spike_n_m": impact.spike[0],
        })  # fmt: skip

    observed = observe(
        episodes, duration_s, config, brace=brace, no_return=not brace, listen=log_cycle
    )
    log = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scores = {name: score[:, 0] for name, score in observed.scores.items()}
    return observed, EpisodeTrace(**log, scores=scores)


def _tell(observed: Observed, config: DetectorConfig) -> dict[str, Any]:
    """What `replay` returns."""
    told, settle_s = observed.verdict, config.fall.settle_s
    alarms = {
        name: alarms_of(observed, name, at, settle_s)
        for name, at in operated(config.fall).items()
    } | {OURS: told[PROFILES[0]].alarm_s}  # fmt: skip
    return {
        "seed": int(observed.episodes.seed[0]),
        "kind": str(observed.episodes.kind[0]),
        "label": Label(observed.label[0]).name.lower(),
        "event_s": _time(observed.episodes.event_s),
        "no_return_s": _time(observed.no_return_s),
        "alarm_s": {name: _time(alarm) for name, alarm in alarms.items()},
        "contact_s": _time(observed.contact_s),
        "felt_s": {p: [round(felt.time_s, 6) for felt in told[p].felt[0]] for p in told},
    }


def _time(of_one: np.ndarray) -> float | None:
    return round(float(of_one[0]), 6) if np.isfinite(of_one[0]) else None


def _film(
    stem: Path, traces: tuple[EpisodeTrace, EpisodeTrace],
    told: tuple[Mapping[str, Any], Mapping[str, Any]], progress: Callable[[float], None],
) -> None:  # fmt: skip
    """A film strip of the first, and both side by side, slower around the first contacts."""
    from op3_fall import rendering, video

    contacts = [t["contact_s"] for t in told if t["contact_s"] is not None]
    times, event_s = traces[0].time_s, told[0]["event_s"]
    end = max(contacts) + _AFTER_S if contacts else event_s + _UPRIGHT_S
    shown = slice(*np.searchsorted(times, [event_s - _BEFORE_S, end]))
    model, times = load_model().mj, times[shown]
    alone, braced = (trace.qpos[shown] for trace in traces)
    middle = min([*contacts, times[-1]])
    picks = [*np.linspace(event_s, middle, 5), times[-1]]
    rendering.film_strip(
        stem.with_name(f"{stem.name}_strip.png"), model, alone, times, [float(t) for t in picks]
    )
    loads = [np.nan_to_num(trace.torque_load_n_m[shown]) for trace in traces]
    slow = (contacts[0] + _SLOW_S[0], max(contacts) + _SLOW_S[1]) if contacts else (0.0, 0.0)
    video.write_pair_video(
        stem.with_suffix(".mp4"), model, alone, braced, labels=("left alone", "braced"),
        times_s=times, loads_n_m=(loads[0], loads[1]),
        captions=(_captions(told[0]), _captions(told[1])), slow_motion=_SLOW, slow_window_s=slow,
        progress=progress,
    )  # fmt: skip


def _captions(told: Mapping[str, Any]) -> list[tuple[float, str]]:
    """What happened, in time order."""
    felt = [*told["felt_s"][PROFILES[0]], None]
    times = {
        told["kind"]: told["event_s"], "fall noticed": told["alarm_s"][OURS],
        "first contact": told["contact_s"], "impact felt": felt[0],
    }  # fmt: skip
    return sorted((t, text) for text, t in times.items() if t is not None)
