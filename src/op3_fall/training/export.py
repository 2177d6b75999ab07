# SPDX-License-Identifier: Apache-2.0
"""From a trained actor to a policy file: the network as ONNX with the contract in its metadata.

The file takes its name only when it gives what torch gives and its golden sample agrees.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from op3_fall.envs import Op3FallControlEnv
from op3_fall.envs.draws import draw_scenario
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.evaluation.controllers import Infer
from op3_fall.onnx_policy import (
    ACTION,
    CONTRACT_KEY,
    OBSERVATION,
    OnnxPolicy,
    open_network,
    run_network,
)
from op3_fall.policy import Contract, GoldenSample
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import PolicySpec
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation
from op3_fall.training.check_up import SEED
from op3_fall.training.recording import Recording, record_falls
from op3_fall.whole_file import whole_file

__all__ = [
    "OBSERVATIONS", "Exported", "Infer", "export_policy", "infer_of", "to_onnx", "torch_infer",
]  # fmt: skip

OBSERVATIONS = 10_000
"""On which the file is compared with torch."""
TOLERANCE = 1e-5
"""Of the actions, limited to [-1, 1] as the codec limits them."""
LARGEST_MB = 5.0
OPSET = 18
FALLS = 32
"""Simulated for half of those observations and the golden sample."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    bytes: int
    deviation: float
    """Largest difference of an action from torch's, before an INT8 quantisation."""


Finish = Callable[[onnx.ModelProto, Infer], onnx.ModelProto]
"""Another network made of the exported one, which gives what `Infer` gives; it may refuse."""


def export_policy(
    actor: torch.nn.Module,
    task: Op3FallControlEnv,
    out: Path,
    provenance: Mapping[str, Any],
    *,
    finish: Finish | None = None,
) -> Exported:
    """Write the policy file.

    Args:
        actor: observations (n, observations) to actions (n, actions), float32, on the CPU.
        task: the environment that it was trained in.
        out: ends in .onnx; replaced if it exists.
        provenance: where it comes from; any JSON values.
        finish: makes the network INT8, if asked for.

    Raises:
        BadInputError: `out` cannot be written, the file would be too large, the task's actions
            cannot run on a robot, or `provenance` holds what JSON lacks.
        Op3FallError: the exported numbers are not torch's, or the INT8 network falls harder.
    """
    out, spec, infer = _writable(out), task.policy_spec, torch_infer(actor)
    model = to_onnx(actor, spec)
    recording = record_falls(spec, infer, *_last_phase_falls(task))
    deviation = _deviation(infer, infer_of(model), _observations(spec, recording))
    precision = "float32"
    if finish is not None:
        model, precision = finish(model, infer), "int8"
    contract = Contract(
        **{f.name: getattr(spec, f.name) for f in fields(PolicySpec)},
        golden=golden_sample(spec, infer_of(model) if finish else infer, recording),
        provenance=provenance, precision=precision,
    )  # fmt: skip
    onnx.helper.set_model_props(model, {CONTRACT_KEY: contract.to_json()})
    data = model.SerializeToString(deterministic=True)
    _check_size(len(data))
    with whole_file(out) as file:
        file.write_bytes(data)
        OnnxPolicy.load(file)
    return Exported(out, len(data), deviation)


def to_onnx(actor: torch.nn.Module, spec: PolicySpec) -> onnx.ModelProto:
    """The actor as ONNX, any number of robots at once."""
    example = torch.zeros(2, spec.observation_length)
    with _quiet():
        program = torch.onnx.export(
            actor, (example,), dynamo=True, opset_version=OPSET, external_data=False,
            input_names=[OBSERVATION], output_names=[ACTION],
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    model.graph.ClearField("value_info")
    # torch notes the source of each operator, with the paths of this machine.
    parts = (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
             *model.graph.initializer)  # fmt: skip
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's notes on packages that it looks for and on its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def torch_infer(actor: torch.nn.Module) -> Infer:
    """The actor on numpy arrays (n, observations)."""
    actor.eval()

    def infer(seen: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return actor(torch.from_numpy(np.ascontiguousarray(seen))).numpy()

    return infer


def infer_of(model: onnx.ModelProto) -> Infer:
    """A network on numpy arrays (n, observations)."""
    session = open_network(model.SerializeToString(), "the exported network")
    return lambda seen: run_network(session, seen)


def _last_phase_falls(task: Op3FallControlEnv) -> tuple[Simulation, Scenario]:
    """Robots, and falls of the last phase of the task's curriculum that no training has."""
    phase, seeds = task.curriculum.phases[len(task.curriculum.phases) - 1], SEED + np.arange(FALLS)
    simulation = Simulation(
        FALLS, model=task.load_model(), profile=task.policy_spec.sensor_profile
    )
    return simulation, draw_scenario(phase, seeds, np.zeros_like(seeds))


def golden_sample(spec: PolicySpec, infer: Infer, recording: Recording) -> GoldenSample:
    """What one robot commands after some steps of a recorded fall."""
    codec = PolicyCodec(spec)
    first, *later = recording.readings
    command: JointCommand = codec.reset(first)
    for reading, fall in zip(later, recording.falls, strict=True):
        seen = codec.observe(reading, fall)
        command = codec.act(infer(seen[None])[0], reading)
    return GoldenSample(recording.readings, recording.falls, command)


def _observations(spec: PolicySpec, recording: Recording) -> NDArray[np.float32]:
    """Half of them drawn over the whole range, half from falls, (OBSERVATIONS, n)."""
    rng, half = np.random.default_rng(0), OBSERVATIONS // 2
    drawn = rng.uniform(-1, 1, (half, spec.observation_length)).astype(np.float32)
    return np.concatenate([drawn, rng.choice(recording.observations, OBSERVATIONS - half)])


def _deviation(ours: Infer, exported: Infer, observations: NDArray[np.float32]) -> float:
    """Largest difference of the actions.

    Raises:
        Op3FallError: it is too large, or a value is not finite.
    """
    there, here = exported(observations), ours(observations)
    deviation = float(np.abs(np.clip(there, -1, 1) - np.clip(here, -1, 1)).max())
    if not deviation <= TOLERANCE or not np.isfinite(here).all():
        raise Op3FallError(
            f"the exported network differs from torch's by {deviation:.3g} on "
            f"{len(observations)} observations; allowed is {TOLERANCE:g} and finite numbers; "
            "nothing was written; choose another checkpoint"
        )
    return deviation


def _check_size(size: int) -> None:
    if size >= LARGEST_MB * 1e6:
        raise BadInputError(
            f"the policy file would have {size / 1e6:.1f} MB; allowed is less than "
            f"{LARGEST_MB:g} MB; train a smaller network"
        )


def _writable(out: Path) -> Path:
    folder = out.parent
    if out.suffix != ".onnx" or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInputError(
            f"policy path is '{out}'; allowed is a name that ends in .onnx in an existing "
            "writable folder; make the folder or choose another"
        )
    return out
