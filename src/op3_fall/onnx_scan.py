# SPDX-License-Identifier: Apache-2.0
"""Does an ONNX file point at other files? Read from its bytes before any runtime opens it.

onnxruntime follows such paths, relative to the working directory, even for a model given as bytes
(seen with 1.31). So the protobuf is walked here; field numbers are those of onnx.proto3.
"""

from collections.abc import Iterator

from op3_fall.errors import BadInputError

__all__ = ["check_self_contained"]

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
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_self_contained(data: bytes, source: str) -> None:
    """See that all tensors of the model are inside the file.

    Args:
        data: the file.
        source: its name, for the error text.

    Raises:
        BadInputError: a tensor is in another file, or the bytes are no protobuf message.
    """
    view = memoryview(data)
    found = [("model", 0, len(data))]
    try:
        while found:
            kind, start, end = found.pop()
            for field, value, span in _fields(view, start, end):
                outside = field == _DATA_LOCATION and value != _IN_FILE
                if kind == "tensor" and (field == _EXTERNAL_DATA or outside):
                    raise BadInputError(
                        f"'{source}' keeps weights in another file; allowed are ONNX files with "
                        "everything inside; export the policy again"
                    )
                child = _CHILDREN[kind].get(field)
                if child and span:
                    found.append((child, *span))
    except (IndexError, ValueError) as error:
        raise BadInputError(
            f"'{source}' is truncated or no ONNX file; allowed is what `op3-fall export` writes; "
            "copy or export it again"
        ) from error


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
