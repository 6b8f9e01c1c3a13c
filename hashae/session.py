"""Open and run networks that may come from elsewhere, by ONNX Runtime.

A network can run no code, and what is in one file cannot name another. What it could still do is ask for memory: all
networks of a process share `MOST_MEMORY`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import EncoderFileError

if TYPE_CHECKING:
    import onnxruntime

MOST_MEMORY = 4 << 30
"""Bytes that networks may take together, weights and all: a batch of ours takes a few megabytes."""


def open_session(data: bytes, threads: int | None, origin: str) -> onnxruntime.InferenceSession:
    """Open a network.

    Parameters
    ----------
    data
        The bytes of an ONNX file.
    threads
        That share one run; None takes all cores.
    origin
        Named in errors.

    Raises
    ------
    EncoderFileError
        If the bytes are no ONNX model with one input and one output, or refer to other files.
    """
    # A tensor kept in another file has an entry with this key; no file of ours contains the word.
    if b"location" in data:
        raise EncoderFileError(f"{origin} refers to other files (external data); expected a file complete in itself")
    import onnxruntime

    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what matters is raised
    # Threads that spin between calls would take the cores from the decoding threads.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=_providers(onnxruntime))
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        raise EncoderFileError(f"{origin} is not an ONNX model ({str(error).splitlines()[0][:100]})") from error
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise EncoderFileError(f"{origin} has more than one input or output; expected a file that train wrote")
    return session


def _providers(runtime: Any) -> list[str]:
    """Return CUDA before the CPU where the installed ONNX Runtime has it."""
    available = runtime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def run(session: onnxruntime.InferenceSession, origin: str, **inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the output of a network.

    Raises
    ------
    EncoderFileError
        If it cannot be computed: the network does not fit its input, or wants more than `MOST_MEMORY`.
    """
    try:
        output: NDArray[np.float32] = session.run(None, inputs)[0]
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        reason = " ".join(str(error).split())
        if "memory" in reason.lower():
            raise EncoderFileError(f"{origin} wants more than {MOST_MEMORY >> 30} GiB of memory to run") from error
        raise EncoderFileError(f"{origin} cannot be run ({reason[:100]})") from error
    return output


@cache
def _limit_memory() -> None:
    """Let all sessions share one pool of memory with a limit, once."""
    import onnxruntime

    kinds = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    where = onnxruntime.OrtMemoryInfo("Cpu", kinds[0], 0, kinds[1])
    with suppress(RuntimeError):  # a program around us has made one: its limits hold
        onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(MOST_MEMORY, -1, -1, -1))
