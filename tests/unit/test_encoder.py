"""Encoder files: the bits of the model in torch, in any batch, and a sentence for every file that is none."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import hashae
from hashae.codes import pack, unpack
from hashae.config import TrainConfig
from hashae.encoder import METADATA_KEY, Encoder, EncoderInfo, decoder_file, write_file
from hashae.errors import CodeError, ConfigError, EncoderFileError, ImageError
from hashae.images.canonical import CanonicalForm
from hashae.models import HashModel, create_model
from hashae.training import TrainingImages, TrainResult, train
from hashae.training.export import export_encoder
from hashae.training.radius import Radii

FORM = CanonicalForm.preset("photo", 16)
BITS = 72  # more than a key
CONFIG = TrainConfig(steps=15, batch=8, precision="float32", device="cpu", threads=1)


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Trained:
    model: HashModel
    encoder: Encoder
    thumbs: np.ndarray


def make(name, trunk):
    coarse = np.random.default_rng(3).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    thumbs = coarse.repeat(4, axis=2).repeat(4, axis=3)
    torch.manual_seed(0)
    model = create_model(name, bits=BITS, image_shape=FORM.shape, trunk=trunk, width=4)
    images = TrainingImages.from_array(thumbs)
    result = train(model, images, CONFIG, form=FORM)
    radii = Radii(9, 3, health={"imbalance": 0.1, "effective_bits": 30.0, "distinct": 1.0})
    encoder = export_encoder(model, FORM, name="tiny", radii=radii, result=result, config=CONFIG)
    return Trained(model, Encoder(encoder.data, encoder.decoder_data, threads=1), thumbs)


@pytest.fixture(scope="session")
def tiny():
    return make("binary", "conv")


@pytest.fixture(scope="session")
def tiny_plain():
    return make("plain", "dense")


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def torch_logits(trained):
    with torch.no_grad():
        logits = trained.model.encode(torch.from_numpy(FORM(trained.thumbs)))
        return (logits - trained.model.threshold).numpy()


def with_metadata(data, text):
    """Return an encoder file with other metadata."""
    graph = onnx.load_from_string(data)
    del graph.metadata_props[:]
    helper.set_model_props(graph, {} if text is None else {METADATA_KEY: text})
    return graph.SerializeToString()


def metadata(data):
    return {item.key: item.value for item in onnx.load_from_string(data).metadata_props}


def linear_model(*, inputs=1, metadata_text=None, weights=None):
    """Return a small valid ONNX model: a flattened image times a matrix."""
    names = [f"x{i}" for i in range(inputs)]
    matrix = np.zeros((4, 8), np.float32)
    initial = weights or numpy_helper.from_array(matrix, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[0], "w"], ["y"])],
        "foreign",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [initial],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata_text is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata_text})
    return model.SerializeToString()


# The same bits as in torch


@pytest.mark.parametrize("which", ["tiny", "tiny_plain"])
def test_the_exported_encoder_gives_the_logits_and_the_bits_of_the_model(which, request):
    trained = request.getfixturevalue(which)
    expected = torch_logits(trained)
    got = trained.encoder.logits(trained.thumbs)
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 1e-4
    sure = np.abs(expected) >= 1e-3
    assert np.array_equal((got > 0)[sure], (expected > 0)[sure])
    assert np.array_equal(unpack(trained.encoder.encode(trained.thumbs))[sure], (expected > 0)[sure])


@pytest.mark.parametrize("which", ["tiny", "tiny_plain"])
def test_the_exported_decoder_shows_what_the_model_shows(which, request):
    trained = request.getfixturevalue(which)
    codes = trained.encoder.encode(trained.thumbs)
    with torch.no_grad():
        expected = trained.model.decode_code(torch.from_numpy(unpack(codes)).float()).numpy()
    got = trained.encoder.decode(codes)
    assert got.shape == (40, *FORM.shape)
    assert got.dtype == np.float32
    assert got.min() >= 0
    assert got.max() <= 1
    assert np.abs(got - expected).max() < 1e-5


def test_the_exported_module_is_not_changed_by_its_export(tiny):
    assert not tiny.model.training
    assert all(parameter.device.type == "cpu" for parameter in tiny.model.parameters())


def test_a_code_does_not_depend_on_its_batch(tiny, monkeypatch):
    together = tiny.encoder.logits(tiny.thumbs)
    alone = np.concatenate([tiny.encoder.logits(tiny.thumbs[i : i + 1]) for i in range(40)])
    assert np.allclose(alone, together, atol=1e-4)
    assert np.allclose(tiny.encoder.logits(tiny.thumbs[::-1])[::-1], together, atol=1e-4)
    monkeypatch.setattr(hashae.encoder, "PART", 7)
    assert np.allclose(tiny.encoder.logits(tiny.thumbs), together, atol=1e-4)


def test_a_code_does_not_depend_on_the_number_of_threads(tiny, monkeypatch):
    monkeypatch.setattr(hashae.encoder, "PART", 7)
    one, two = tiny.encoder.encode_thumbs(tiny.thumbs), Encoder(tiny.encoder.data, threads=2)
    both = two.encode_thumbs(tiny.thumbs)
    assert np.array_equal(two.logits(tiny.thumbs), tiny.encoder.logits(tiny.thumbs))
    assert np.array_equal(both.codes, one.codes)
    assert np.array_equal(both.detail, one.detail)
    assert np.array_equal(both.confidence, one.confidence)


def test_no_images_give_no_codes(tiny):
    none = np.empty((0, 1, FORM.thumb, FORM.thumb), np.uint8)
    assert tiny.encoder.encode(none).shape == (0, BITS // 8)
    assert tiny.encoder.encode([]).shape == (0, BITS // 8)
    assert tiny.encoder.encode_thumbs(none).confidence.shape == (0,)


def test_brightness_and_padding_leave_the_code_alone(tiny):
    thumbs = (tiny.thumbs // 3 * 2 + 20).astype(np.uint8)  # darker, flatter
    apart = unpack(tiny.encoder.encode(thumbs)) != unpack(tiny.encoder.encode(tiny.thumbs))
    assert apart.mean() < 0.1


def test_paths_and_thumbs_give_the_same_codes(tiny, tmp_path):
    paths = []
    for row in range(12):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(tiny.thumbs[row, 0]).save(paths[-1])
    expected = tiny.encoder.encode_thumbs(tiny.thumbs[:12])
    assert np.array_equal(tiny.encoder.encode(paths), expected.codes)
    assert np.array_equal(tiny.encoder.encode([str(path) for path in paths], workers=3), expected.codes)
    one = tiny.encoder.encode_file(paths[5])
    assert np.array_equal(one.codes, expected.codes[5:6])
    assert one.confidence == pytest.approx(expected.confidence[5:6], abs=1e-4)


def test_a_bad_path_is_named(tiny, tmp_path):
    (tmp_path / "note.jpg").write_text("not a picture")
    with raises_sentence(ImageError, f"{tmp_path / 'note.jpg'}: not an image (the file holds text)"):
        tiny.encoder.encode([tmp_path / "note.jpg"])
    with raises_sentence(ImageError, f"{tmp_path / 'gone.jpg'}: no such file"):
        tiny.encoder.encode_file(tmp_path / "gone.jpg")


def test_confidence_is_the_mean_of_the_least_certain_eighth(tiny):
    encoded = tiny.encoder.encode_thumbs(tiny.thumbs)
    assert encoded.confidence.shape == (40,)
    assert encoded.confidence.dtype == np.float32
    assert encoded.confidence.min() >= 0
    assert encoded.confidence.max() <= 1
    sureness = np.sort(np.abs(2 / (1 + np.exp(-tiny.encoder.logits(tiny.thumbs).astype(np.float64))) - 1), axis=1)
    assert np.allclose(encoded.confidence, sureness[:, : BITS // 8].mean(axis=1), atol=1e-5)


def test_thumbs_of_another_kind_are_refused(tiny):
    with raises_sentence(ConfigError, "thumbs are uint8 (2, 1, 8, 8); expected uint8 (n, 1, 32, 32)"):
        tiny.encoder.encode(np.zeros((2, 1, 8, 8), np.uint8))


# What an encoder knows of itself


def test_properties_come_from_the_metadata(tiny):
    encoder = tiny.encoder
    assert (encoder.name, encoder.bits, encoder.key_bits, encoder.form) == ("tiny", BITS, 64, FORM)
    assert (encoder.info.radius, encoder.info.key_radius) == (9, 3)
    assert encoder.info.health["effective_bits"] == 30.0
    assert encoder.info.made["hashae"] == hashae.__version__
    assert encoder.info.made["train"]["steps"] == 15
    assert encoder.info.made["result"]["images"] == 40
    assert repr(encoder) == f"Encoder('tiny', bits=72, fingerprint='{encoder.fingerprint[:12]}')"


def test_metadata_survive_json(tiny):
    assert EncoderInfo.from_json(tiny.encoder.info.to_json()) == tiny.encoder.info


@pytest.mark.parametrize("name", ["on location", "allocation \\location", 'a "quoted" name', "écrans \U0001f408", ""])
def test_an_encoder_may_have_any_name(tiny, name):
    info = replace(tiny.encoder.info, name=name)
    assert EncoderInfo.from_json(info.to_json()) == info
    encoder = Encoder(with_metadata(tiny.encoder.data, info.to_json()), threads=1)
    assert encoder.name == name


def test_the_fingerprint_is_the_digest_of_the_file(tiny):
    assert tiny.encoder.fingerprint == hashlib.sha256(tiny.encoder.data).hexdigest()
    renamed = Encoder(with_metadata(tiny.encoder.data, replace(tiny.encoder.info, name="other").to_json()), threads=1)
    assert renamed.fingerprint != tiny.encoder.fingerprint
    assert np.array_equal(renamed.encode(tiny.thumbs), tiny.encoder.encode(tiny.thumbs))


def test_the_file_says_nothing_about_the_machine_it_was_made_on(tiny):
    parts = {str(Path.cwd()), str(Path.home()), str(Path(hashae.__file__).parent), str(Path(torch.__file__).parent)}
    for data in (tiny.encoder.data, tiny.encoder.decoder_data):
        for part in parts - {"/"}:
            assert part.encode() not in data, part
        assert b".py" not in data
        assert b"site-packages" not in data


def test_one_model_exports_to_one_file(tiny):
    again = export_encoder(
        tiny.model,
        FORM,
        name="tiny",
        radii=Radii(9, 3, health=tiny.encoder.info.health),
        result=TrainResult(**tiny.encoder.info.made["result"]),
        config=CONFIG,
    )
    # The metadata hold the date.
    assert with_metadata(again.data, None) == with_metadata(tiny.encoder.data, None)
    assert again.decoder_data == tiny.encoder.decoder_data


# On disk


def test_an_encoder_is_saved_with_its_decoder_and_loaded_with_it(tiny, tmp_path):
    path = tmp_path / "tiny.onnx"
    tiny.encoder.save(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tiny.decoder.onnx", "tiny.onnx"]
    loaded = Encoder.load(path, threads=1)
    assert loaded.fingerprint == tiny.encoder.fingerprint
    assert loaded.data == tiny.encoder.data
    assert loaded.decoder_data == tiny.encoder.decoder_data
    assert loaded.info == tiny.encoder.info
    codes = loaded.encode(tiny.thumbs)
    assert np.array_equal(codes, tiny.encoder.encode(tiny.thumbs))
    assert np.array_equal(loaded.decode(codes), tiny.encoder.decode(codes))


def test_an_encoder_without_its_decoder_encodes_and_says_what_is_missing(tiny, tmp_path):
    path = tmp_path / "tiny.onnx"
    tiny.encoder.save(path)
    decoder_file(path).unlink()
    alone = Encoder.load(str(path), threads=1)
    assert alone.decoder_data is None
    codes = alone.encode(tiny.thumbs)
    with raises_sentence(EncoderFileError, "encoder 'tiny' has no decoder; keep the .decoder.onnx file beside it"):
        alone.decode(codes)


def test_codes_of_another_width_are_not_decoded(tiny):
    with raises_sentence(CodeError, "codes are 64 bits wide; expected 72 bits: encode with the index's own encoder"):
        tiny.encoder.decode(np.zeros((1, 8), np.uint8))


def test_saving_over_an_old_file_leaves_no_part_behind(tiny, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"old")
    tiny.encoder.save(path)
    assert path.read_bytes() == tiny.encoder.data
    assert not list(tmp_path.glob("*.part"))


def test_saving_into_a_missing_folder(tiny, tmp_path):
    with raises_sentence(ConfigError, f"{tmp_path / 'nowhere'} does not exist; create the folder first"):
        tiny.encoder.save(tmp_path / "nowhere" / "tiny.onnx")


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").mkdir()
    with raises_sentence(EncoderFileError, f"{tmp_path / 'taken'} cannot be written (Is a directory)"):
        write_file(tmp_path / "taken", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("name", "expected"), [("x.onnx", "x.decoder.onnx"), ("my.v2.onnx", "my.v2.decoder.onnx"), ("x", "x.decoder.onnx")]
)
def test_the_decoder_lies_beside_the_encoder(name, expected):
    assert decoder_file(Path("a") / name) == Path("a") / expected


# Files that are no encoder


def test_a_missing_file(tmp_path):
    path = tmp_path / "gone.onnx"
    with raises_sentence(EncoderFileError, f"{path} does not exist; expected an encoder file (.onnx) that train wrote"):
        Encoder.load(path)


def test_a_folder(tmp_path):
    with raises_sentence(EncoderFileError, f"{tmp_path} cannot be read (Is a directory)"):
        Encoder.load(tmp_path)


def test_a_file_too_large(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with raises_sentence(EncoderFileError, f"{path} has 268,435,457 bytes; the limit is 268,435,456"):
        Encoder.load(path)


@pytest.mark.parametrize("data", [b"", b"this is a note", bytes(100), bytes(range(256)) * 4])
def test_a_file_that_is_no_onnx_model(tmp_path, data):
    path = tmp_path / "note.onnx"
    path.write_bytes(data)
    with pytest.raises(
        EncoderFileError, match=rf"^{re.escape(str(path))} is (not an ONNX model \(.+\)|an ONNX model, )"
    ):
        Encoder.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(tiny, tmp_path, share):
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny.encoder.data[: int(share * len(tiny.encoder.data))])
    with pytest.raises(
        EncoderFileError, match=rf"^{re.escape(str(path))} is (not an ONNX model \(.+\)$|an ONNX model, )"
    ):
        Encoder.load(path)


def test_an_onnx_model_of_somebody_else():
    sentence = "their.onnx is an ONNX model, but not one of hashae; expected a file that train wrote"
    with raises_sentence(EncoderFileError, sentence):
        Encoder(linear_model(), origin="their.onnx")


def test_a_model_with_two_inputs():
    sentence = "their.onnx has more than one input or output; expected a file that train wrote"
    with raises_sentence(EncoderFileError, sentence):
        Encoder(linear_model(inputs=2), origin="their.onnx")


def test_a_model_that_is_not_what_its_metadata_say(tiny):
    sentence = "their.onnx has shapes [[4], [8]]; its metadata say (1, 16, 16) and 72"
    with raises_sentence(EncoderFileError, sentence):
        Encoder(linear_model(metadata_text=tiny.encoder.info.to_json()), origin="their.onnx")


def test_weights_in_another_file_are_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(4 * 8 * 4))
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 8], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(tmp_path / "weights.bin")
    path = tmp_path / "outside.onnx"
    path.write_bytes(linear_model(weights=tensor))
    sentence = f"{path} refers to other files (external data); expected a file complete in itself"
    with raises_sentence(EncoderFileError, sentence):
        Encoder.load(path)


def test_a_decoder_with_weights_in_another_file_is_refused(tiny):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 8], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    encoder = Encoder(tiny.encoder.data, linear_model(weights=tensor), threads=1)
    sentence = "decoder of tiny refers to other files (external data); expected a file complete in itself"
    with raises_sentence(EncoderFileError, sentence):
        encoder.decode(np.zeros((1, BITS // 8), np.uint8))


def test_a_damaged_decoder_is_named(tiny):
    encoder = Encoder(tiny.encoder.data, b"garbage", threads=1)
    with pytest.raises(EncoderFileError, match=r"^decoder of tiny is not an ONNX model \(.+\)$"):
        encoder.decode(np.zeros((1, BITS // 8), np.uint8))


def test_a_decoder_of_another_encoder_is_named(tiny):
    encoder = Encoder(tiny.encoder.data, linear_model(), threads=1)
    sentence = (
        "decoder of tiny does not fit: it has shapes [[4], [8]], its encoder 72 bits and images (1, 16, 16); "
        "keep the two files of one training together"
    )
    with raises_sentence(EncoderFileError, sentence):
        encoder.decode(np.zeros((1, BITS // 8), np.uint8))


def test_an_encoder_of_a_newer_format(tiny):
    values = json.loads(metadata(tiny.encoder.data)[METADATA_KEY])
    data = with_metadata(tiny.encoder.data, json.dumps({**values, "format": 2}))
    with raises_sentence(EncoderFileError, "encoder has format 2; this version reads 1: update hashae"):
        Encoder(data)


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 12},
        {"bits": "many"},
        {"bits": None},
        {"form": {"name": "sepia"}},
        {"form": {"depth": 3}},
        {"form": None},
        {"colour": True},
    ],
)
def test_damaged_metadata_are_named(tiny, change):
    values = json.loads(metadata(tiny.encoder.data)[METADATA_KEY])
    with pytest.raises(EncoderFileError, match=r"^encoder metadata are damaged \(.+\); export it again$"):
        EncoderInfo.from_json(json.dumps({**values, **change}))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '{"format": 1}', "{}"])
def test_metadata_that_are_no_settings_are_named(text):
    with pytest.raises(EncoderFileError, match=r"^encoder metadata are damaged \(.+\); export it again$"):
        EncoderInfo.from_json(text)


def test_packed_bits_are_the_signs_of_the_logits(tiny):
    assert np.array_equal(tiny.encoder.encode(tiny.thumbs), pack(tiny.encoder.logits(tiny.thumbs) > 0))
