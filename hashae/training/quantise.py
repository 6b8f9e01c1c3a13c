"""Eight-bit encoders: a third of the time, a quarter of the size, and whole-number arithmetic.

Weights and activations become 8-bit whole numbers with a scale for each output channel and each activation (Jacob et
al. 2018). Sums of whole numbers do not depend on their order, so codes do not depend on the processor either. Weights
keep to seven bits: some processors add two products in 16 bits, which 8-bit weights would overflow.

The rounding flips the bits whose logits are near 0, a few of 256; measure before you ship.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hashae.encoder import METADATA_KEY, Encoder, EncoderInfo
from hashae.errors import ConfigError

CALIBRATION = 512
"""Images whose activations set the scales."""

BATCH = 64


def quantise(encoder: Encoder, images: NDArray[np.float32]) -> Encoder:
    """Return `encoder` with 8-bit weights and activations; its decoder stays as it is.

    Parameters
    ----------
    encoder
        As :func:`hashae.training.export.export_encoder` made it.
    images
        ``float32 (n, channels, size, size)`` in canonical form, n at least 1; the first `CALIBRATION` are used. They
        should be like those that the encoder will meet: the largest activation seen sets the scale.

    Raises
    ------
    ConfigError
        If there are no images, they have another shape, or the encoder is quantised already.
    """
    expected = encoder.form.shape
    if images.dtype != np.float32 or images.shape[1:] != expected or not len(images):
        raise ConfigError(f"images are {images.dtype} {images.shape}; expected float32 (n, {expected}), n at least 1")
    if is_quantised(encoder.data):
        raise ConfigError(f"encoder {encoder.name!r} is quantised already; give the one in floating point")
    graph = onnx.load_from_string(_quantised(encoder.data, images[:CALIBRATION]))
    info = EncoderInfo.from_json(_metadata(encoder.data))
    info.made["quantised"] = "8 bits"
    onnx.helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
    onnx.checker.check_model(graph)
    return Encoder(graph.SerializeToString(deterministic=True), encoder.decoder_data, origin=encoder.name)


def is_quantised(data: bytes) -> bool:
    """Tell whether the bytes of an ONNX file hold 8-bit arithmetic."""
    return any(node.op_type == "DequantizeLinear" for node in onnx.load_from_string(data).graph.node)


def _metadata(data: bytes) -> str:
    found: dict[str, str] = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    return found[METADATA_KEY]


def _quantised(data: bytes, images: NDArray[np.float32]) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _silence():
        source, prepared, target = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "target.onnx"))
        source.write_bytes(data)
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            _reader(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Rounded logits would all but lose their signs near 0.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul", "Sub"]},
        )
        return target.read_bytes()


def _reader(images: NDArray[np.float32]) -> Any:
    """Return what ONNX Runtime reads calibration batches from."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the base is untyped
        """Batches in order, then None."""

        def __init__(self) -> None:
            self._batches = iter([images[at : at + BATCH] for at in range(0, len(images), BATCH)])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Return the next batch."""
            batch = next(self._batches, None)
            return None if batch is None else {"images": batch}

    return Reader()


@contextlib.contextmanager
def _silence() -> Any:
    """Keep the advice of the quantiser off the terminal."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)
