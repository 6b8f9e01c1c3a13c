"""Networks from elsewhere: what they may ask for, and what is said when they cannot be run."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from hashae.errors import EncoderFileError
from hashae.session import MOST_MEMORY, open_session, run

ONES = np.ones((1, 4), np.float32)


def greedy(numbers):
    """Return a network that makes so many numbers on its way from ``x (n, 4)`` to ``y (n, 4)``."""
    many = helper.make_tensor("many", TensorProto.INT64, [1], [numbers])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Expand", ["sum", "many"], ["long"]),
            helper.make_node("ReduceMean", ["long"], ["mean"], keepdims=1),
            helper.make_node("Add", ["x", "mean"], ["y"]),
        ],
        "greedy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [many],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def test_a_network_gives_what_it_computes():
    session = open_session(greedy(10), 1, "x.onnx")
    assert run(session, "x.onnx", x=ONES).tolist() == [[5.0, 5.0, 5.0, 5.0]]


def test_a_network_that_wants_absurd_memory_does_not_get_it():
    session = open_session(greedy(MOST_MEMORY // 4 + 1), 1, "x.onnx")
    with pytest.raises(EncoderFileError, match=r"^x\.onnx wants more than 4 GiB of memory to run$"):
        run(session, "x.onnx", x=ONES)
    assert run(open_session(greedy(10), 1, "y.onnx"), "y.onnx", x=ONES).shape == (1, 4)  # others still run


def test_an_input_that_does_not_fit_is_told():
    session = open_session(greedy(10), 1, "x.onnx")
    with pytest.raises(EncoderFileError, match=r"^x\.onnx cannot be run \(.*\)$"):
        run(session, "x.onnx", x=np.ones((1, 5), np.float32))


def test_the_limits_of_a_program_around_us_hold():
    code = """
import onnxruntime
where = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0,
                                  onnxruntime.OrtMemType.DEFAULT)
onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(1 << 28, -1, -1, -1))
from hashae import pretrained
encoder = pretrained.load(threads=1)
import numpy as np
size = encoder.form.thumb
print(encoder.encode(np.zeros((3, 1, size, size), np.uint8)).shape)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert re.fullmatch(r"\(3, \d+\)", done.stdout.strip()), done.stderr
