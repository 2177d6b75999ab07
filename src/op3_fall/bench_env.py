# SPDX-License-Identifier: Apache-2.0
"""`op3-fall bench env`: the native vector environment beside raw mjbatch and AsyncVectorEnv."""

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium.vector
import mjbatch
import numpy as np

from op3_fall.envs import IDS, Op3FallControlVectorEnv
from op3_fall.races import Contestant, figure, memory, peak_mb, race, ratio
from op3_fall.results import open_folder, print_table, provenance, write_json
from op3_fall.simulation import CONTROL_PERIOD_S

__all__ = ["bench_env", "peak_memory"]

RATIO_GOAL, GOAL_COUNT = 0.8, 256
"""Least share of raw mjbatch's speed, from so many robots on."""
ASYNC_GOAL = 3.0
"""Least multiple of AsyncVectorEnv's speed."""
MEMORY_GOAL_MB, MEMORY_COUNT = 2000.0, 1024
_EXPANDED = ("actuator_gainprm", "actuator_biasprm", "actuator_forcerange")
_WARM_UP_STEPS = 150  # then robots are in all phases of their falls: most have begun anew
_REACH = 0.2  # of actions; who flails does not come to rest, and episodes must end


def bench_env(
    out: Path, *, seconds: float = 4.0, env_id: str = "envs/Op3FallControl-v1",
    counts: Sequence[int] = (64, 256, 1024), rivals: Sequence[int] = (2, 16),
) -> dict[str, Any]:  # fmt: skip
    """Measure, print the table, write summary.json.

    Args:
        out: folder for summary.json.
        seconds: time for each figure, s; at least 5 rounds are run.
        env_id: registered environment.
        counts: robots of the vector environment.
        rivals: environments of AsyncVectorEnv, each a process; the fastest counts.

    Returns:
        The content of summary.json.

    Raises:
        BadInputError: `out` cannot be written.
    """
    open_folder(out)
    pairs = [_pair(env_id, n) for n in counts]
    for pair in pairs:
        race(pair, seconds)
    ratios = {str(n): ratio(*pair) for n, pair in zip(counts, pairs, strict=True)}
    figures = [figure(contestant) for pair in pairs for contestant in pair]
    multiple, others = _against_processes(env_id, pairs[-1][0], rivals, seconds)
    before_mb, after_mb = memory(f"op3_fall.bench_env:peak_memory({env_id!r}, {MEMORY_COUNT})")
    reached = [ratios[str(n)] for n in counts if n >= GOAL_COUNT]
    summary = {
        **provenance({"seconds": seconds, "env_id": env_id, "counts": counts}, 0),
        "cpu_count": os.cpu_count(),
        "figures": [*figures, *others],
        "vector_to_mjbatch_ratio": ratios,
        "vector_to_async_ratio": multiple,
        "memory": {"robots": MEMORY_COUNT, "before_mb": before_mb, "peak_mb": after_mb},
        "goals": {
            "least_ratio": RATIO_GOAL, "at_robots": GOAL_COUNT,
            "ratio_reached": min(reached) >= RATIO_GOAL if reached else None,
            "least_async_ratio": ASYNC_GOAL, "async_reached": multiple >= ASYNC_GOAL,
            "most_memory_mb": MEMORY_GOAL_MB, "memory_reached": after_mb <= MEMORY_GOAL_MB,
        },
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    _print(summary)
    return summary


def _native(env_id: str, n: int, steps: int = _WARM_UP_STEPS) -> Op3FallControlVectorEnv:
    """N robots after so many control steps."""
    env = _quietly(lambda: gymnasium.make_vec(env_id, num_envs=n)).unwrapped
    assert isinstance(env, Op3FallControlVectorEnv)
    env.reset(seed=0)
    step = _stepper(env, env_id, n)
    for _ in range(steps):
        step()
    return env


def _stepper(env: gymnasium.vector.VectorEnv, env_id: str, n: int) -> Callable[[], object]:
    """A control step of `n` robots with random actions."""
    rng, shape = np.random.default_rng(0), (n, IDS[env_id]().policy_spec.action_length)
    return lambda: env.step(rng.uniform(-_REACH, _REACH, shape).astype(np.float32))


def _pair(env_id: str, n: int) -> tuple[Contestant, Contestant]:
    """The environment with random actions, and raw mjbatch from where each of its bursts began."""
    env = _native(env_id, n)
    simulation = env.batch.simulation
    state = simulation.batch.bind("state")
    saved = state.copy()
    raw = mjbatch.Batch(simulation.model.mj, n)
    given = {name: (raw.expand(name), simulation.batch.expand(name)) for name in _EXPANDED}
    physics_steps = round(CONTROL_PERIOD_S / simulation.dt_s)

    def save() -> None:
        np.copyto(saved, state)
        for mine, theirs in given.values():
            np.copyto(mine, theirs)

    return (
        Contestant("vector environment", n, save, _stepper(env, env_id, n), physics_steps),
        Contestant(
            "mjbatch", n, lambda: np.copyto(raw.bind("state"), saved),
            lambda: raw.step(nstep=physics_steps), physics_steps,
        ),
    )  # fmt: skip


def _against_processes(
    env_id: str, ours: Contestant, counts: Sequence[int], seconds: float
) -> tuple[float, list[dict[str, Any]]]:
    """How many times the speed of the fastest AsyncVectorEnv ours is, and the rivals' figures."""
    ours.speeds.clear()
    rivals = [_asynchronous(env_id, n) for n in counts]
    try:
        race([ours, *(rival for rival, _ in rivals)], seconds)
    finally:
        for _, env in rivals:
            env.close()
    multiple = min(ratio(ours, rival) for rival, _ in rivals)
    return multiple, [figure(rival) for rival, _ in rivals]


def _asynchronous(env_id: str, n: int) -> tuple[Contestant, gymnasium.vector.AsyncVectorEnv]:
    """Gymnasium's AsyncVectorEnv over `n` single environments, a process each."""
    env = gymnasium.vector.AsyncVectorEnv([partial(_single, env_id)] * n)
    env.reset(seed=0)
    step = _stepper(env, env_id, n)
    for _ in range(_WARM_UP_STEPS):
        step()
    return Contestant("AsyncVectorEnv", n, lambda: None, step, 10), env


def _single(env_id: str) -> gymnasium.Env:
    return _quietly(lambda: gymnasium.make(env_id))


def _quietly(make: Callable[[], Any]) -> Any:
    """Gymnasium takes the version, which says which task it is, for that of a release."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        return make()


def peak_memory(env_id: str, n: int) -> tuple[float, float]:
    """Peak resident memory of this process before and after a rollout of n robots, MB."""
    before = peak_mb()
    _native(env_id, n, steps=24)  # of a PPO iteration
    return before, peak_mb()


def _print(summary: dict[str, Any]) -> None:
    ratios = summary["vector_to_mjbatch_ratio"]
    rows = [
        [f["name"], str(f["simulations"]), f"{f['control_steps_per_s']:.0f}",
         f"{ratios[str(f['simulations'])]:.2f}" if f["name"] == "vector environment" else ""]
        for f in summary["figures"]
    ]  # fmt: skip
    print_table(
        f"Environment steps; {summary['vector_to_async_ratio']:.1f} times AsyncVectorEnv; "
        f"{summary['memory']['robots']} robots in {summary['memory']['peak_mb']:.0f} MB",
        ["", "robots", "steps/s", "to mjbatch"], rows,
    )  # fmt: skip
