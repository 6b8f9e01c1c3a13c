"""From a trained model to an encoder file: ONNX, with its settings in the metadata."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict
from datetime import datetime, timezone
from io import BytesIO
from typing import Any

import onnx
import torch
from torch import Tensor, nn

import hashae
from hashae.config import TrainConfig
from hashae.encoder import METADATA_KEY, Encoder, EncoderInfo
from hashae.images.canonical import CanonicalForm
from hashae.models.base import HashModel
from hashae.training.loop import TrainResult
from hashae.training.radius import Radii


class _EncodeOnly(nn.Module):
    """Canonical images to logits, thresholds subtracted: every bit is then ``logit > 0``."""

    def __init__(self, model: HashModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode(images) - self.model.threshold


class _DecodeOnly(nn.Module):
    """Bits as 0.0 and 1.0 to images."""

    def __init__(self, model: HashModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor) -> Tensor:
        return self.model.decode_code(codes)


def export_encoder(
    model: HashModel,
    form: CanonicalForm,
    *,
    name: str,
    radii: Radii,
    result: TrainResult | None = None,
    config: TrainConfig | None = None,
) -> Encoder:
    """Return the encoder of a trained model, decoder included.

    Parameters
    ----------
    model
        Trained; left in evaluation mode on the CPU.
    form
        Canonical form it was trained with.
    name
        For people.
    radii
        From :func:`hashae.training.radius.choose_radii`.
    result, config
        Written into the metadata as its history.
    """
    model.to("cpu").eval()
    made: dict[str, Any] = {
        "hashae": hashae.__version__,
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "model": asdict(model.config),
    }
    if config is not None:
        made["train"] = asdict(config)
    if result is not None:
        made["result"] = asdict(result)
    info = EncoderInfo(
        name=name,
        bits=model.config.bits,
        form=form,
        radius=radii.code,
        key_radius=radii.key,
        tail=radii.tail,
        made=made,
        health=radii.health,
    )
    images = torch.zeros(2, *model.config.image_shape)
    encoder = _to_onnx(_EncodeOnly(model), images, "images", "logits", {METADATA_KEY: info.to_json()})
    decoder = _to_onnx(_DecodeOnly(model), torch.zeros(2, model.config.bits), "codes", "images", {})
    return Encoder(encoder, decoder)


def _to_onnx(module: nn.Module, example: Tensor, source: str, target: str, metadata: dict[str, str]) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it would advise about opset conversion
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[source],
            output_names=[target],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
    buffer = BytesIO()
    assert program is not None
    program.save(buffer)  # type: ignore[arg-type]  # it takes files too
    graph = onnx.load_from_string(buffer.getvalue())
    for node in graph.graph.node:  # the exporter writes source paths of this machine into every node
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for field in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        field.ClearField("metadata_props")
        field.ClearField("doc_string")
    graph.graph.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data
