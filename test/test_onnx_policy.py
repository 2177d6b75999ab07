# SPDX-License-Identifier: Apache-2.0
"""Policy files: what loads gives the commands of its network, everything else is refused."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from policy_samples import contract, fall, infer, layers, model, reading, row, write

from op3_fall.errors import BadInputError
from op3_fall.onnx_policy import ACTION, LARGEST_MB, OBSERVATION, OnnxPolicy
from op3_fall.onnx_scan import OPERATORS, check_network
from op3_fall.policy import Contract
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import Installation

N, M = contract().observation_length, contract().action_length
NETWORK = layers(N, M)
CONTRACT = contract(NETWORK)
TEXT = CONTRACT.to_json()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "policy.onnx", model(NETWORK), TEXT)


def refusal(path: Path, here: Installation | None = None) -> str:
    with pytest.raises(BadInputError) as error:
        OnnxPolicy.load(path, here)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE")


def test_a_file_gives_the_commands_of_its_network(path: Path) -> None:
    policy, codec = OnnxPolicy.load(path, Installation("extended")), PolicyCodec(CONTRACT)
    assert policy.contract.to_json() == TEXT
    first = reading(seed=9)
    np.testing.assert_array_equal(policy.reset(first).position, first.position)
    codec.reset(first)
    for seed in range(10, 20):
        seen, estimate = reading(seed=seed), fall(seed=seed)
        command = policy.step(seen, estimate)
        expected = codec.act(infer(NETWORK, codec.observe(seen, estimate)), seen)
        np.testing.assert_allclose(command.position, expected.position, atol=1e-5)
        assert np.abs(command.p_gain - expected.p_gain).max() <= 1
        assert np.abs(command.d_gain - expected.d_gain).max() <= 1
        assert not policy.refused.any()


def test_infer_is_the_network_alone(path: Path) -> None:
    policy = OnnxPolicy.load(path)
    seen = np.random.default_rng(0).uniform(-1, 1, (2, 3, N)).astype(np.float32)
    action = policy.infer(seen)
    assert action.shape == (2, 3, M) and action.dtype == np.float32
    np.testing.assert_allclose(action, infer(NETWORK, seen), atol=1e-5)
    np.testing.assert_allclose(policy.infer(seen[0, 0]), action[0, 0], atol=1e-6)
    assert np.abs(action).max() > 1, "it is the codec that limits"


def test_row_k_of_a_batch_is_robot_k_alone(path: Path) -> None:
    many, one = OnnxPolicy.load(path), OnnxPolicy.load(path)
    many.reset(reading((2, 3)))
    commands = [many.step(reading((2, 3), seed=s), fall((2, 3), seed=s)) for s in range(1, 4)]
    for k in np.ndindex(2, 3):
        one.reset(row(reading((2, 3)), k))  # type: ignore[arg-type]
        for s, command in enumerate(commands, start=1):
            alone = one.step(row(reading((2, 3), seed=s), k), row(fall((2, 3), seed=s), k))  # type: ignore[arg-type]
            np.testing.assert_allclose(alone.position, command.position[k], atol=1e-5)


def test_a_policy_of_another_set_up_is_refused(path: Path) -> None:
    assert refusal(path, Installation("stock", control_period_s=0.01)) == (
        "the policy does not fit: control_period_s is 0.02 in the policy and 0.01 here; "
        "sensor_profile is extended in the policy and stock here; change the set-up, or train a "
        "policy for it"
    )


AGAIN = "; allowed is what `op3-fall export` writes; copy or export it again"


def test_files_that_are_none_or_not_whole(tmp_path: Path, path: Path) -> None:
    assert refusal(tmp_path / "none.onnx") == (
        "'FILE' cannot be read (No such file or directory); allowed is a policy file; "
        "correct the path"
    )
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "'FILE' is truncated or no ONNX file" + AGAIN


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"<html></html>", b"\xff" * 99,
             b"\x00\x00\x00\x00ORTM" + bytes(90)],
)  # fmt: skip
def test_foreign_bytes_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert refusal(path).startswith("'FILE' is ")


@pytest.mark.parametrize("kind", [2, 3, 4, 5, "torch.save"])
def test_a_pickle_is_not_unpickled(path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    if kind == "torch.save":
        pytest.importorskip("torch").save({"actor": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(), protocol=kind))
    assert refusal(path) == (
        "'FILE' is a pickle or an archive such as a checkpoint of PyTorch, which is not opened, "
        "since loading it may run code; allowed is what `op3-fall export` writes; export the run"
    )
    assert not (path.parent / "unpickled").exists()


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 3000))
def test_no_bytes_make_the_scan_crash(noise: bytes, at: int) -> None:
    data = bytearray(model(NETWORK).SerializeToString())
    data[at : at + len(noise)] = noise
    for given_bytes in (noise, bytes(data)):
        try:
            check_network(given_bytes, "noise")
        except BadInputError as error:
            assert str(error).startswith("'noise' ")


def test_a_key_that_parsers_cut_to_another_field_is_refused() -> None:
    graph = model(NETWORK).graph
    outside = onnx.ModelProto(graph=graph)
    outside_weight(outside)
    body = outside.graph.SerializeToString()
    size = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    assert len(body) < 2**14
    for key in (b"\x3a", b"\xba\x80\x80\x80\x10"):  # field 7; the same with bit 32 set
        with pytest.raises(BadInputError):
            check_network(key + size + body, "crafted")


def test_a_file_beyond_the_limit_is_refused(path: Path) -> None:
    with open(path, "ab") as file:
        file.truncate(LARGEST_MB * 1_000_000 + 1)
    assert refusal(path) == (
        "'FILE' is larger than 50 MB; allowed is up to 50 MB; export a smaller network"
    )


def external(tensor: TensorProto, location: str) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def outside_weight(net: onnx.ModelProto) -> None:
    external(net.graph.initializer[0], "weights.bin")


def outside_constant(net: onnx.ModelProto) -> None:
    tensor = external(numpy_helper.from_array(np.zeros(3, np.float32)), "weights.bin")
    net.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def outside_in_branch(net: onnx.ModelProto) -> None:
    inner = onnx.ModelProto()
    inner.CopyFrom(model(NETWORK))
    outside_weight(inner)
    net.graph.node.append(helper.make_node("Where", ["c"], ["z"], then_branch=inner.graph))


def outside_sparse(net: onnx.ModelProto) -> None:
    external(net.graph.sparse_initializer.add().values, "weights.bin")


def outside_in_function(net: onnx.ModelProto) -> None:
    outside_constant(inner := model(NETWORK))
    net.functions.add().node.append(inner.graph.node[-1])


def outside_without_place(net: onnx.ModelProto) -> None:
    net.graph.initializer[0].data_location = TensorProto.EXTERNAL


def place_without_mark(net: onnx.ModelProto) -> None:
    net.graph.initializer[0].external_data.add().key = "location"


@pytest.mark.parametrize(
    "change",
    [outside_weight, outside_constant, outside_in_branch, outside_sparse, outside_in_function,
     outside_without_place, place_without_mark],
)  # fmt: skip
def test_weights_in_other_files_are_refused_before_anything_opens(
    path: Path, change: Callable[[onnx.ModelProto], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = model(NETWORK)
    change(net)
    write(path, net, TEXT)
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    assert refusal(path) == (
        "'FILE' keeps weights in another file; allowed are ONNX files with everything inside; "
        "export the policy again"
    )


def test_the_runtime_alone_would_read_other_files(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the file is scanned: from bytes, paths count from the working directory."""
    monkeypatch.chdir(path.parent)
    net = model(NETWORK)
    NETWORK[0][0].tofile("weights.bin")
    outside_weight(net)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(net.SerializeToString(), options)
    rows = np.ones((1, N), np.float32)
    out = np.asarray(session.run([ACTION], {OBSERVATION: rows})[0])
    np.testing.assert_allclose(out, infer(NETWORK, rows), atol=1e-5)


def renamed(net: onnx.ModelProto) -> None:
    net.graph.input[0].name = net.graph.node[0].input[0] = "obs"


def fixed_batch(net: onnx.ModelProto) -> None:
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def second_output(net: onnx.ModelProto) -> None:
    net.graph.output.append(
        helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", 16])
    )


def double(net: onnx.ModelProto) -> None:
    net.graph.node[-1].output[0] = "single"
    net.graph.node.append(helper.make_node("Cast", ["single"], [ACTION], to=TensorProto.DOUBLE))
    net.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def one_dimension(net: onnx.ModelProto) -> None:
    net.graph.node.insert(0, helper.make_node("Unsqueeze", ["observation", "axis"], ["row"]))
    net.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axis"))
    net.graph.node[1].input[0] = "row"
    del net.graph.input[0].type.tensor_type.shape.dim[0]


INPUT = f"; allowed by its contract is observation tensor(float) ['batch', {N}]; export it again"
OUTPUT = f"; allowed by its contract is action tensor(float) ['batch', {M}]; export it again"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (renamed, f"the network's input is obs tensor(float) ['batch', {N}]" + INPUT),
        (fixed_batch, f"the network's input is observation tensor(float) [1, {N}]" + INPUT),
        (one_dimension, f"the network's input is observation tensor(float) [{N}]" + INPUT),
        (second_output, f"the network's output is action tensor(float) ['batch', {M}], "
         "hidden tensor(float) ['batch', 16]" + OUTPUT),
        (double, f"the network's output is action tensor(double) ['batch', {M}]" + OUTPUT),
    ],
)  # fmt: skip
def test_a_network_of_another_signature(
    path: Path, change: Callable[[onnx.ModelProto], None], text: str
) -> None:
    net = model(NETWORK)
    change(net)
    assert refusal(write(path, net, TEXT)) == text


@pytest.mark.parametrize(("n", "m", "kind"), [(N - 1, M, "input"), (N, M + 2, "output")])
def test_a_network_of_another_length(path: Path, n: int, m: int, kind: str) -> None:
    name, given_n, allowed = {
        "input": (OBSERVATION, n, INPUT), "output": (ACTION, m, OUTPUT),
    }[kind]  # fmt: skip
    assert refusal(write(path, model(layers(n, m)), TEXT)) == (
        f"the network's {kind} is {name} tensor(float) ['batch', {given_n}]" + allowed
    )


def test_a_declared_output_that_is_not_what_comes_out(path: Path) -> None:
    net = model(layers(N, M + 1))
    net.graph.output[0].type.tensor_type.shape.dim[1].dim_value = M
    assert refusal(write(path, net, TEXT)) == (
        f"the network's output is action tensor(float) ['batch', {M + 1}]" + OUTPUT
    )


def test_a_network_that_fails_when_it_runs(path: Path) -> None:
    net = model(NETWORK)
    net.graph.node[-1].output[0] = "clean"
    net.graph.initializer.append(numpy_helper.from_array(np.full(M, 999), "beyond"))
    net.graph.node.append(helper.make_node("Gather", ["clean", "beyond"], [ACTION], axis=1))
    told = refusal(write(path, net, TEXT))
    assert told.startswith("the network of 'FILE' does not run (")
    assert told.endswith("; allowed is one that turns observation into action; export it again")


KNOWN = ", ".join(sorted(OPERATORS))


def bomb(net: onnx.ModelProto) -> None:
    """Takes 4 TB while the file is opened: constants are computed then."""
    shape = numpy_helper.from_array(np.array([2**40]), "shape")
    net.graph.initializer.append(shape)
    net.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["zeros"]))


def endless(net: onnx.ModelProto) -> None:
    net.graph.node.append(helper.make_node("Loop", ["", "true"], ["z"], body=net.graph))


def unknown(net: onnx.ModelProto) -> None:
    net.graph.node[1].op_type = "Launch"


def in_a_function(net: onnx.ModelProto) -> None:
    net.functions.add().node.append(helper.make_node("RandomNormal", [], ["z"]))


@pytest.mark.parametrize(
    ("change", "name"),
    [(bomb, "ConstantOfShape"), (endless, "Loop"), (unknown, "Launch"),
     (in_a_function, "RandomNormal")],
)  # fmt: skip
def test_operators_that_no_policy_needs_are_refused_before_anything_opens(
    path: Path, change: Callable[[onnx.ModelProto], None], name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    net = model(NETWORK)
    change(net)
    write(path, net, TEXT)
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    assert refusal(path) == (
        f"'FILE' has the operator '{name}'; allowed are {KNOWN}; export the policy again"
    )


def test_operators_of_other_makers_are_refused(path: Path) -> None:
    net = model(NETWORK)
    net.graph.node[1].domain = "com.microsoft"
    assert refusal(write(path, net, TEXT)) == (
        "'FILE' has operators of 'com.microsoft'; allowed are those of ONNX itself; export the "
        "policy again"
    )


def test_absurd_shapes(path: Path) -> None:
    """A weight that says it is larger than its bytes."""
    net = model(NETWORK)
    net.graph.initializer[0].dims[:] = [2**40, 2**20]
    told = refusal(write(path, net, TEXT))
    assert told.startswith("'FILE' is no ONNX model that onnxruntime can run (")
    assert told.endswith("; allowed is what `op3-fall export` writes; export it again")


def test_contracts_that_are_missing_or_of_another_version(path: Path) -> None:
    assert refusal(write(path, model(NETWORK), None)) == (
        "'FILE' has no policy contract; allowed are policies that `op3-fall export` wrote; "
        "export it again"
    )
    later = json.dumps(json.loads(TEXT) | {"version": 2, "new_field": 1})
    assert refusal(write(path, model(NETWORK), later)) == (
        "contract version is 2; allowed is 1; export the policy again with this version of "
        "op3_fall"
    )


def with_command(**change: Any) -> str:
    command = replace(CONTRACT.golden.command, **change)
    return replace(CONTRACT, golden=replace(CONTRACT.golden, command=command)).to_json()


GOLDEN = CONTRACT.golden.command
TAIL = "; allowed is 1e-05 rad and 1 count; export it again"


@pytest.mark.parametrize(
    ("text", "off"),
    [
        (with_command(position=GOLDEN.position + 2e-5), "2e-05 rad and 0 register counts"),
        (with_command(position=GOLDEN.position * np.nan), "nan rad and 0 register counts"),
        (with_command(p_gain=GOLDEN.p_gain + 2), "rad and 2 register counts"),
        (with_command(d_gain=GOLDEN.d_gain - 3), "rad and 3 register counts"),
        (with_command(goal_pwm=GOLDEN.goal_pwm - 9), "rad and 9 register counts"),
    ],
)
def test_a_golden_sample_that_comes_out_differently(path: Path, text: str, off: str) -> None:
    told = refusal(write(path, model(NETWORK), text))
    assert told.startswith(
        "'FILE' gives another command for its golden sample than it should (off by "
    )
    assert told.endswith(f"{off}){TAIL}")


def test_other_weights_do_not_pass_the_golden_sample(path: Path) -> None:
    other = [(w * np.float32(1.01), b) for w, b in NETWORK]
    assert "golden sample" in refusal(write(path, model(other), TEXT))


def poisoned(path: Path) -> OnnxPolicy:
    """A policy whose first action becomes NaN once the tilt grows by 10 rad/s."""
    names = [name for block in CONTRACT.observation for name in block.names]
    net = model(NETWORK)
    trigger = np.zeros((N, M), np.float32)
    trigger[names.index("fall_velocity"), 0] = 1.0
    net.graph.node[-1].output[0] = "clean"
    for name, value in (("trigger", trigger), ("one", np.float32(1)), ("zero", np.float32(0))):
        net.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    net.graph.node.extend([
        helper.make_node("MatMul", [OBSERVATION, "trigger"], ["seen"]),
        helper.make_node("Sub", ["one", "seen"], ["rest"]),
        helper.make_node("Sign", ["rest"], ["flag"]),
        helper.make_node("Log", ["flag"], ["log"]),
        helper.make_node("Mul", ["log", "zero"], ["poison"]),
        helper.make_node("Add", ["clean", "poison"], [ACTION]),
    ])  # fmt: skip
    return OnnxPolicy.load(write(path, net, TEXT))


def test_nan_from_the_network_holds_that_robot_and_says_so(path: Path) -> None:
    policy = poisoned(path)
    policy.reset(reading((2,)))
    before = policy.step(reading((2,), seed=1), fall((2,), seed=1))
    assert policy.refused.tolist() == [False, False]
    wild = fall((2,), seed=2, fall_velocity=[10.0, 0.0])
    after = policy.step(reading((2,), seed=2), wild)
    assert policy.refused.tolist() == [True, False]
    for name, value in vars(after).items():
        np.testing.assert_array_equal(value[0], vars(before)[name][0])
    assert not np.array_equal(after.position[1], before.position[1])
    policy.step(reading((2,), seed=3), fall((2,), seed=3))
    assert policy.refused.tolist() == [False, False]


def relu(net: onnx.ModelProto) -> None:
    """A network that gives zeros whatever it sees."""
    net.graph.node[-1].output[0] = "clean"
    net.graph.initializer.append(numpy_helper.from_array(np.zeros(M, bool), "never"))
    net.graph.initializer.append(numpy_helper.from_array(np.zeros(M, np.float32), "zeros"))
    net.graph.node.append(helper.make_node("Where", ["never", "clean", "zeros"], [ACTION]))


def test_nan_in_the_observation_is_refused_even_if_the_network_hides_it(path: Path) -> None:
    net = model(NETWORK)
    relu(net)
    quiet = [NETWORK[0], (NETWORK[1][0] * 0, NETWORK[1][1] * 0)]
    policy = OnnxPolicy.load(write(path, net, contract(quiet).to_json()))
    policy.reset(reading())
    policy.step(reading(), fall(gravity=[np.nan, 0.0, -1.0]))
    assert policy.refused.tolist() is True
    policy.step(reading(), fall())
    assert policy.refused.tolist() is False


def test_the_contract_in_the_file_is_exact(path: Path) -> None:
    stored = OnnxPolicy.load(path).contract
    assert stored.to_json() == Contract.from_json(TEXT).to_json() == TEXT
