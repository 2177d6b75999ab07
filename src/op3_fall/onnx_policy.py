# SPDX-License-Identifier: Apache-2.0
"""Runs a policy from an ONNX file that carries its contract, on numpy and onnxruntime alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from op3_fall.errors import BadInputError
from op3_fall.onnx_scan import check_network
from op3_fall.policy import Contract
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import Installation
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["ACTION", "CONTRACT_KEY", "OBSERVATION", "OnnxPolicy", "open_network", "run_network"]

CONTRACT_KEY = "op3_fall_contract"
"""Key of the contract in the metadata of the ONNX file."""
OBSERVATION, ACTION = "observation", "action"
"""Name of the network's input and output, float32 (batch, n)."""
LARGEST_MB = 50
TOLERANCE_RAD = 1e-5
"""Of the golden sample's angles; its registers may differ by one count."""
_PICKLES = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))
"""How what `torch.save` and `pickle` write begins: a zip archive, or the opcode PROTO."""


class OnnxPolicy:
    """A network and the codec of its contract, for robots of any leading shape (...)."""

    def __init__(self, session: ort.InferenceSession, contract: Contract) -> None:
        """Use `load`, which checks that the two belong together."""
        self.contract = contract
        self._session = session
        self._codec = PolicyCodec(contract)

    @classmethod
    def load(cls, path: Path, here: Installation | None = None) -> "OnnxPolicy":
        """The policy in a file; nothing of it runs but the network, and on one thread.

        Args:
            path: the ONNX file.
            here: what the place offers, to be compared with the contract; None does not compare.

        Raises:
            BadInputError: missing, too large, truncated or foreign file, weights outside of it,
                operators that no policy needs, no or another contract, a network that does not
                fit it, a golden sample that comes out differently, or a place that the policy was
                not made for.
        """
        session = open_network(_read(path), str(path))
        text = session.get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
        if text is None:
            raise BadInputError(
                f"'{path}' has no policy contract; allowed are policies that `op3-fall export` "
                "wrote; export it again"
            )
        contract = Contract.from_json(text)
        for kind, nodes, name, length in (
            ("input", session.get_inputs(), OBSERVATION, contract.observation_length),
            ("output", session.get_outputs(), ACTION, contract.action_length),
        ):
            _check_node(kind, nodes, name, length)
        if here is not None:
            contract.check_runs_on(here)
        cls(session, contract)._check_golden(path)
        return cls(session, contract)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Robots (...) that hold still since the last step: the policy gave no finite action."""
        return self._codec.refused

    def reset(self, reading: SensorReading) -> JointCommand:
        """Start at the measured pose: the first command holds it with the nominal gains.

        Raises:
            BadInputError: the pose is not finite.
        """
        return self._codec.reset(reading)

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate | None = None
    ) -> JointCommand:
        """The command (..., 20) for this control step; called like any controller.

        Raises:
            Op3FallError: called before `reset`.
        """
        seen = self._codec.observe(reading, fall)
        action = self.infer(seen)
        if not np.isfinite(seen).all():
            # A network may turn NaN into an ordinary number (ReLU does).
            action = np.where(np.isfinite(seen).all(axis=-1, keepdims=True), action, np.nan)
        return self._codec.act(action, reading)

    def infer(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network alone gives: actions (..., `action_length`), not limited yet.

        Args:
            seen: observations (..., `observation_length`).
        """
        rows = seen.reshape(-1, seen.shape[-1])
        if self.contract.precision == "int8" and len(rows) > 1:
            # Its scales come from the whole input, so robots in one batch would act on each other.
            action = np.concatenate([run_network(self._session, row[None]) for row in rows])
        else:
            action = run_network(self._session, rows)
        return action.reshape(*seen.shape[:-1], self.contract.action_length)

    def _check_golden(self, path: Path) -> None:
        golden = self.contract.golden
        self.reset(golden.readings[0])
        command = golden.command
        try:
            for reading, fall in zip(golden.readings[1:], golden.falls, strict=True):
                command = self.step(reading, fall)
        except Exception as error:  # onnxruntime's exceptions have no other base
            raise BadInputError(
                f"the network of '{path}' does not run ({_first_line(error)}); allowed is one "
                f"that turns {OBSERVATION} into {ACTION}; export it again"
            ) from error
        off_rad = np.abs(command.position - golden.command.position).max()
        off_counts = max(
            int(np.abs(getattr(command, name) - getattr(golden.command, name)).max())
            for name in ("p_gain", "d_gain", "goal_pwm")
        )
        if self.refused.any() or not off_rad <= TOLERANCE_RAD or off_counts > 1:
            raise BadInputError(
                f"'{path}' gives another command for its golden sample than it should "
                f"(off by {off_rad:.3g} rad and {off_counts} register counts); allowed is "
                f"{TOLERANCE_RAD:g} rad and 1 count; export it again"
            )


def _read(path: Path) -> bytes:
    limit = LARGEST_MB * 1_000_000
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadInputError(
            f"'{path}' cannot be read ({error.strerror}); allowed is a policy file; "
            "correct the path"
        ) from error
    if len(data) > limit:
        raise BadInputError(
            f"'{path}' is larger than {LARGEST_MB} MB; allowed is up to {LARGEST_MB} MB; "
            "export a smaller network"
        )
    return data


def open_network(data: bytes, source: str) -> ort.InferenceSession:
    """The network of an ONNX file, on one thread.

    Args:
        data: the file.
        source: its name, for the error text.

    Raises:
        BadInputError: a pickle, truncated, foreign, weights or operators that are not allowed, or
            nothing that onnxruntime can run.
    """
    if data.startswith(_PICKLES):
        raise BadInputError(
            f"'{source}' is a pickle or an archive such as a checkpoint of PyTorch, which is not "
            "opened, since loading it may run code; allowed is what `op3-fall export` writes; "
            "export the run"
        )
    check_network(data, source)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Otherwise bytes that look like onnxruntime's own format are read as such.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other base
        raise BadInputError(
            f"'{source}' is no ONNX model that onnxruntime can run ({_first_line(error)}); "
            "allowed is what `op3-fall export` writes; export it again"
        ) from error


def run_network(session: ort.InferenceSession, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions (batch, m) for observations (batch, n)."""
    return np.asarray(session.run([ACTION], {OBSERVATION: rows})[0])


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


def _check_node(kind: str, nodes: Sequence[Any], name: str, length: int) -> None:
    given = ", ".join(f"{n.name} {n.type} {list(n.shape)}" for n in nodes) or "nothing"
    good = len(nodes) == 1 and (nodes[0].name, nodes[0].type) == (name, "tensor(float)")
    if good and len(nodes[0].shape) == 2:
        batch, values = nodes[0].shape
        good = not isinstance(batch, int) and values == length
    else:
        good = False
    if not good:
        raise BadInputError(
            f"the network's {kind} is {given}; allowed by its contract is {name} tensor(float) "
            f"['batch', {length}]; export it again"
        )
