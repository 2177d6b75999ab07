# SPDX-License-Identifier: Apache-2.0
"""What is in an ONNX file? Read from its bytes before any runtime opens it.

onnxruntime follows paths to other files, relative to the working directory, even for a model given
as bytes (seen with 1.31), and it computes constants while it loads: one operator may take all
memory, a loop all time. So the protobuf is walked here; field numbers are those of onnx.proto3.
"""

from collections.abc import Iterator

from op3_fall.errors import BadInputError

__all__ = ["OPERATORS", "check_network"]

OPERATORS = frozenset({
    "Abs", "Add", "Cast", "Clip", "Concat", "Constant", "Div", "DynamicQuantizeLinear", "Elu",
    "Erf", "Exp", "Gather", "Gelu", "Gemm", "HardSigmoid", "HardSwish", "Identity",
    "LayerNormalization", "LeakyRelu", "Log", "MatMul", "MatMulInteger", "Max", "Min", "Mish",
    "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Selu",
    "Sigmoid", "Sign", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze",
    "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""What a network from observations to actions may be made of: nothing that loops, branches, or
makes more numbers than the file and the observations have."""

# Which fields of a message hold messages that can hold tensors.
_CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "node": {5: "attribute"},
    "function": {7: "node", 11: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph",
                  22: "sparse_tensor", 23: "sparse_tensor"},
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}  # fmt: skip
_EXTERNAL_DATA, _DATA_LOCATION, _IN_FILE = 13, 14, 0
_OP_TYPE, _DOMAIN = 4, 7
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_network(data: bytes, source: str) -> None:
    """See that all tensors of the model are inside the file, and that its operators are known.

    Args:
        data: the file.
        source: its name, for the error text.

    Raises:
        BadInputError: a tensor is in another file, an operator is not in `OPERATORS`, or the
            bytes are no protobuf message.
    """
    try:
        for kind, field, value, text in _walk(data):
            outside = field == _DATA_LOCATION and value != _IN_FILE
            if kind == "tensor" and (field == _EXTERNAL_DATA or outside):
                raise BadInputError(
                    f"'{source}' keeps weights in another file; allowed are ONNX files with "
                    "everything inside; export the policy again"
                )
            if kind == "node" and field in (_OP_TYPE, _DOMAIN):
                _check_operator(field, text.decode(), source)
    except (IndexError, ValueError) as error:
        raise BadInputError(
            f"'{source}' is truncated or no ONNX file; allowed is what `op3-fall export` writes; "
            "copy or export it again"
        ) from error


def _check_operator(field: int, name: str, source: str) -> None:
    if field == _OP_TYPE and name not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise BadInputError(
            f"'{source}' has the operator {name!r:.60}; allowed are {known}; export the policy "
            "again"
        )
    if field == _DOMAIN and name not in ("", "ai.onnx"):
        raise BadInputError(
            f"'{source}' has operators of {name!r:.60}; allowed are those of ONNX itself; export "
            "the policy again"
        )


def _walk(data: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """Kind of message, number, value and bytes of each field of the model, at any depth."""
    view = memoryview(data)
    found = [("model", 0, len(data))]
    while found:
        kind, start, end = found.pop()
        for field, value, span in _fields(view, start, end):
            wanted = kind == "node" and field in (_OP_TYPE, _DOMAIN) and span
            yield kind, field, value, data[slice(*span)] if wanted and span else b""
            child = _CHILDREN[kind].get(field)
            if child and span:
                found.append((child, *span))


def _fields(
    data: memoryview, at: int, end: int
) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Number, value and, for bytes, where they lie, of each field in data[at:end]."""
    while at < end:
        key, at = _varint(data, at)
        if key >> 32:
            raise ValueError("a key of more than 32 bits, which parsers cut differently")
        field, wire = key >> 3, key & 7
        value, span = 0, None
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        elif wire == _BYTES:
            size, at = _varint(data, at)
            span = (at, at + size)
            at += size
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("a field ends behind its message")
        yield field, value, span


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
