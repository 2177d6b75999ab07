# SPDX-License-Identifier: Apache-2.0
"""Readings, estimates, contracts and small networks for the tests of policies."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from signal_samples import fall_estimate

from op3_fall import action, observation, robot
from op3_fall.onnx_policy import ACTION, CONTRACT_KEY, OBSERVATION
from op3_fall.policy import Contract, GoldenSample
from op3_fall.policy_codec import PolicyCodec
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

ARMS = robot.ARMS


def reading(shape: tuple[int, ...] = (), seed: int = 0, **given: ArrayLike) -> SensorReading:
    """Any reading (...), or the given values in it."""
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "time_s": np.full(shape, 0.02 * seed),
        **{name: rng.uniform(-1, 1, (*shape, n))
           for name, n in (("position", 20), ("velocity", 20), ("effort", 20),
                           ("angular_velocity", 3), ("linear_acceleration", 3),
                           ("orientation", 4))},
    }  # fmt: skip
    fields |= {name: np.asarray(value, dtype=float) for name, value in given.items()}
    return SensorReading(**fields)


def fall(shape: tuple[int, ...] = (), seed: int = 0, **given: ArrayLike) -> FallEstimate:
    """Any estimate (...) of a robot that falls, or the given values in it."""
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "phase": rng.integers(1, 4, shape),
        "tilt": rng.uniform(0, 3, shape),
        "fall_angle": rng.uniform(-np.pi, np.pi, shape),
        "fall_velocity": rng.uniform(-5, 5, shape),
        "fast": rng.uniform(size=shape) < 0.5,
        "gravity": rng.uniform(-1, 1, (*shape, 3)),
    }
    return fall_estimate(shape, **fields | given)


def row(record: Any, k: int) -> Any:
    """Robot k of a batch of readings, estimates or commands."""
    return type(record)(**{name: value[k] for name, value in vars(record).items()})


ACTIONS = (action.act_joint(ARMS, 0.2), action.act_kp_rel(ARMS), action.act_kd(ARMS))
RESIDUALS = action.as_residual(ACTIONS, robot.POSES["brace_front"])
"""The same joints, corrected on a pose."""
OBSERVATIONS = (
    observation.obs_joint(ARMS),
    observation.obs_fall_vel(),
    observation.obs_fall_vel_discrete(),
    observation.obs_fall_angle(),
    observation.obs_fall_angle_discrete(observation.FallAngle.FOUR),
    observation.obs_fall_angle_discrete(observation.FallAngle.EIGHT),
    observation.obs_kp(ARMS),
    observation.obs_kd(ARMS),
    observation.gravity(),
    observation.angular_velocity(),
    observation.phase(),
    observation.last_action(ACTIONS),
)
"""Every block at once."""

Layers = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


def layers(inputs: int, outputs: int) -> Layers:
    """Weights and biases of a small network."""
    rng = np.random.default_rng(1)
    sizes = ((inputs, 16), (16, outputs))
    return [
        (
            rng.normal(0, 0.3, size).astype(np.float32),
            rng.normal(0, 0.3, size[1]).astype(np.float32),
        )
        for size in sizes
    ]


def infer(network: Layers, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network of `model` gives."""
    (w0, b0), (w1, b1) = network
    return np.tanh(values @ w0 + b0) @ w1 + b1


def model(network: Layers) -> onnx.ModelProto:
    """The network as ONNX, without a contract."""
    names = (OBSERVATION, "hidden", "squashed", ACTION)
    weights = [
        numpy_helper.from_array(array, name)
        for k, pair in enumerate(network)
        for array, name in zip(pair, (f"w{k}", f"b{k}"), strict=True)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n])
        for name, n in ((OBSERVATION, network[0][0].shape[0]), (ACTION, len(network[1][1])))
    ]
    nodes = [
        helper.make_node("Gemm", [names[0], "w0", "b0"], [names[1]]),
        helper.make_node("Tanh", [names[1]], [names[2]]),
        helper.make_node("Gemm", [names[2], "w1", "b1"], [names[3]]),
    ]
    graph = helper.make_graph(nodes, "policy", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def contract(network: Layers | None = None, **given: Any) -> Contract:
    """A contract with every block whose golden sample the network reproduces, if one is given."""
    readings = tuple(reading(seed=k) for k in range(3))
    falls = tuple(fall(seed=k) for k in range(2))
    command = JointCommand.hold(np.zeros(20))
    fields: dict[str, Any] = {
        "observation": OBSERVATIONS, "action": ACTIONS, "sensor_profile": "extended",
        "golden": GoldenSample(readings, falls, command),
    } | given  # fmt: skip
    plain = Contract(**fields)
    if network is None:
        return plain
    codec = PolicyCodec(plain)
    codec.reset(readings[0])
    for seen, estimate in zip(readings[1:], falls, strict=True):
        command = codec.act(infer(network, codec.observe(seen, estimate)), seen)
    return replace(plain, golden=GoldenSample(readings, falls, command))


def write(path: Path, net: onnx.ModelProto, text: str | None) -> Path:
    """A policy file of network and contract."""
    if text is not None:
        helper.set_model_props(net, {CONTRACT_KEY: text})
    path.write_bytes(net.SerializeToString())
    return path
