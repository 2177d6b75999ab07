# SPDX-License-Identifier: Apache-2.0
"""INT8 by onnxruntime's dynamic quantisation, kept only if robots fall no harder with it."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from op3_fall.errors import Op3FallError
from op3_fall.training.check_up import CheckUp
from op3_fall.training.config import TrainConfig
from op3_fall.training.export import Infer, infer_of

__all__ = ["Quantisation", "one_by_one", "quantised"]

MOST_WORSE = 0.02
"""Share by which the mean damage index may be above that of the float32 network."""


@dataclass(frozen=True)
class Quantisation:
    """Makes a network INT8 and compares the two as training's own evaluation does."""

    config: TrainConfig
    falls: int
    """Of the curriculum's last phase."""

    def __call__(self, model: onnx.ModelProto, infer: Infer) -> onnx.ModelProto:
        """The INT8 network.

        Raises:
            Op3FallError: robots fall harder with it, told with both figures.
        """
        small = quantised(model)
        watched = replace(self.config.evaluation, falls=self.falls)
        check_up = CheckUp(replace(self.config, evaluation=watched))
        before, after = (
            check_up.run(network)["damage_index"]
            for network in (infer, one_by_one(infer_of(small)))
        )
        if not after <= before * (1 + MOST_WORSE):
            raise Op3FallError(
                f"mean damage index over {self.falls} falls is {after:.4g} in INT8 and "
                f"{before:.4g} in float32; allowed is at most {MOST_WORSE:.0%} more; nothing was "
                "written; export without --int8"
            )
        return small


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with weights of 8 bits; activations are quantised as they come."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to prepare the model, which changes nothing here
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_dynamic(model, path, weight_type=QuantType.QInt8)
            return onnx.load(path)
    finally:
        root.setLevel(level)


def one_by_one(infer: Infer) -> Infer:
    """Robot by robot: the scales of a batch would be those of its largest values."""

    def alone(seen: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([infer(row[None]) for row in seen])

    return alone
