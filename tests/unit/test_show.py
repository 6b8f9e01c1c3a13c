"""What a model has learned, as pictures: walks through latents, the log of a run, the pictures, their page."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from hashae.cli.main import cli
from hashae.codes import pack, unpack
from hashae.config import TrainConfig
from hashae.drawing import to_png
from hashae.errors import CheckpointError, ConfigError, HashaeError, SourceError, UnknownName
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.show import catalogue, figures, planes
from hashae.show.catalogue import KINDS, Request, check_kinds, draw
from hashae.show.model import EncoderModel, has_noise, open_model, read_log
from hashae.show.page import to_html
from hashae.show.pictures import fit_form, load_pictures
from hashae.training import train
from hashae.training.trained import TrainedModel
from hashae.training.weights import WEIGHTS, save_weights

FORM = CanonicalForm(name="plain", size=8, thumb=8, channels=1, trim=False, rank=False)
SHAPE = (1, 8, 8)


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def images(n, seed=0):
    return np.random.default_rng(seed).random((n, *SHAPE), dtype=np.float32)


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a training of three steps: a variational model that predicts variances."""
    torch.manual_seed(0)
    model = create_model("variational", bits=8, image_shape=SHAPE, trunk="linear", likelihood="predicted")
    folder = tmp_path_factory.mktemp("run") / "vae"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    train(model, pixels, TrainConfig(steps=3, batch=8, views=0, neighbours=1, precision="float32"), run=folder)
    return folder


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    torch.manual_seed(1)
    model = create_model("binary", bits=8, image_shape=SHAPE, trunk="linear").eval()
    path = tmp_path_factory.mktemp("weights") / "binary.safetensors"
    save_weights(model, FORM, path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder of two classes with four pictures each."""
    top = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(3)
    for name in ("dark", "light"):
        (top / name).mkdir()
        for number in range(4):
            levels = rng.integers(0, 120, (8, 8)) + 130 * (name == "light")
            Image.fromarray(levels.astype(np.uint8)).save(top / name / f"{number}.png")
    return top


def test_a_two_dimensional_latent_is_its_own_plane():
    latents = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    points, name = planes.plane_points(latents)
    assert (points == latents).all()
    assert name == "the two latents"
    grid = planes.find_plane(latents).grid(3)
    np.testing.assert_allclose(grid[4], latents.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(grid[8] - grid[4], planes.REACH * latents.std(axis=0), rtol=1e-5)


def test_principal_components_keep_the_distances_of_a_flat_cloud():
    rng = np.random.default_rng(0)
    flat = (rng.normal(size=(20, 2)) @ rng.normal(size=(2, 7)) + 5).astype(np.float32)
    points, name = planes.plane_points(flat)
    gaps, kept = (np.linalg.norm(a[:, None] - a[None], axis=-1) for a in (flat, points))
    np.testing.assert_allclose(kept, gaps, atol=1e-3)
    assert "100 % of the variance" in name


def test_planes_say_what_they_need():
    with raises_sentence(ConfigError, "2 pictures given; a plane through latents needs 3 or more"):
        planes.find_plane(np.zeros((2, 5), np.float32))
    with raises_sentence(ConfigError, "all pictures have one and the same latent; give pictures that differ"):
        planes.find_plane(np.ones((4, 5), np.float32))
    with raises_sentence(ConfigError, "4 pictures given; t-SNE needs 5 or more"):
        planes.plane_points(np.ones((4, 5), np.float32), "tsne")


def test_a_line_has_both_ends_and_the_middle():
    line = planes.between(np.zeros(3, np.float32), np.full(3, 4, np.float32), 3)
    assert line.tolist() == [[0] * 3, [2] * 3, [4] * 3]
    with raises_sentence(ConfigError, "steps is 1; expected 2 or more"):
        planes.between(line[0], line[1], 1)


def test_the_attribute_is_the_difference_of_the_means():
    group = np.array([True, False, True, False])
    latents = np.array([[3, 1], [0, 0], [5, 1], [2, 0]], np.float32)
    assert planes.attribute(latents, group).tolist() == [3, 1]
    with raises_sentence(ConfigError, "4 of 4 pictures have the attribute; expected some, and not all"):
        planes.attribute(latents, np.ones(4, bool))


def test_random_latents_are_drawn_as_the_model_means_them():
    rng = np.random.default_rng(0)
    latents = np.linspace(0, 1, 50, dtype=np.float32)[:, None].repeat(3, axis=1)
    latents[:, 2] = 1
    prior = planes.random_latents(SimpleNamespace(variational=True, binary=False), latents, 2000, rng)
    assert abs(prior.mean()) < 0.1
    assert abs(prior.std() - 1) < 0.1
    bits = planes.random_latents(SimpleNamespace(variational=False, binary=True), latents, 500, rng)
    assert set(np.unique(bits)) == {0, 1}
    assert (bits[:, 2] == 1).all()
    others = planes.random_latents(SimpleNamespace(variational=False, binary=False), latents, 500, rng)
    assert 0 <= others.min() < others.max() <= 1
    assert (planes.shaken(latents, latents, 0, rng) == latents).all()
    assert (planes.shaken(latents, latents, 1, rng)[:, 2] == 1).all()  # a latent that never varies stays


def test_the_grid_begins_at_the_lower_left():
    squares = np.arange(4, dtype=np.float32)[:, None, None, None].repeat(2, 2).repeat(2, 3) / 4
    shown = figures.decoded_grid(squares, 2, "plane").axes[0].images[0].get_array()
    assert shown[0, 0].tolist() == [128] * 3
    assert shown[-1, 0].tolist() == [0] * 3
    assert shown[-1, -1].tolist() == [64] * 3
    with raises_sentence(ConfigError, "4 images given for a grid of 3 x 3; expected 9"):
        figures.decoded_grid(squares, 3, "plane")


def test_the_log_is_read_in_order_and_steps_made_again_count_once(tmp_path):
    step = {"terms": {}, "sigma": 0.5, "balance": 0.1}
    lines = [{"config": {}}, *({"step": n, "loss": 1.0, **step} for n in (1, 2, 3)), {"step": 2, "loss": 7.0, **step}]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "log.jsonl").write_text(text + '\n{"step": 4, "lo')  # killed while writing
    assert [(one["step"], one["loss"]) for one in read_log(tmp_path)] == [(1, 1), (2, 7), (3, 1)]
    (tmp_path / "log.jsonl").write_text("nonsense\n" + text)
    with pytest.raises(CheckpointError, match=r"line 1 of .* is damaged"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text(text.splitlines()[1])
    with pytest.raises(CheckpointError, match="holds 1 steps; a curve needs two or more"):
        read_log(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no log\.jsonl; expected the folder of a training"):
        read_log(tmp_path / "nothing")


def test_a_finished_run_holds_its_model(run):
    assert (run / WEIGHTS).is_file()
    model = open_model(run)
    assert isinstance(model, TrainedModel)
    assert model.variational
    assert not has_noise(run)
    x = images(5)
    with torch.no_grad():
        logits = model.model.encode(torch.from_numpy(x))
        expected = pack((logits > model.model.threshold).numpy())
    assert (model.codes(x) == expected).all()
    assert model.model.threshold.abs().max() > 0  # the thresholds are those of the end
    np.testing.assert_allclose(model.latents(x), logits.numpy(), atol=1e-6)


def test_a_run_that_is_not_finished_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no weights\.safetensors; it is written when a training is fin"):
        open_model(tmp_path)


def test_latents_of_a_binary_model_decode_to_what_its_codes_mean(binary):
    model = open_model(binary)
    codes = np.arange(6, dtype=np.uint8)[:, None]
    np.testing.assert_allclose(model.decode(unpack(codes).astype(np.float32)), model.decode_codes(codes))
    assert model.binary
    with pytest.raises(ConfigError, match="binary predicts no variances; expected a variational model"):
        model.variances(images(1))


def test_each_bit_is_flipped_by_itself(binary, folders, monkeypatch):
    told = {}
    monkeypatch.setattr(figures, "code_meaning", lambda *given: told.update(zip("xdfb", given, strict=True)))
    request = Request(binary, (folders,), bits=(0, 5))
    draw("code", request)
    model = request.model
    codes = model.codes(told["x"])
    for place, mask in ((0, 0x80), (1, 0x04)):
        np.testing.assert_allclose(told["f"][:, place], model.decode_codes(codes ^ np.uint8(mask)), atol=1e-6)
    draw("code", Request(binary, (folders,)))
    effect = np.abs(
        np.stack([model.decode_codes(codes ^ np.uint8(0x80 >> bit)) for bit in range(8)]) - model.decode_codes(codes)
    ).mean(axis=(1, 2, 3, 4))
    assert len(told["b"]) == catalogue.TOLD_BITS
    assert np.argmax(effect) in told["b"]
    with raises_sentence(ConfigError, "bit 8 is not in the code; expected numbers from 0 to 7"):
        draw("code", Request(binary, (folders,), bits=(8,)))


def test_all_pictures_on_one_page(run, binary, folders):
    page = to_html(list(KINDS), Request(run, (folders,), (binary,), side=3, steps=3, count=3))
    assert page.count("data:image/png;base64,") == len(KINDS)
    assert "Not drawn" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_page_says_what_could_not_be_drawn(binary, folders):
    page = to_html(["variances", "curves", "bits"], Request(binary, (folders,)), strict=False)
    assert page.count("Not drawn: ") == 2
    with pytest.raises(CheckpointError):
        to_html(["bits", "curves"], Request(binary, (folders,)))
    with pytest.raises(ConfigError, match="none of the pictures can be drawn; the first: "):
        to_html(["curves"], Request(binary, (folders,)), strict=False)


@pytest.mark.parametrize(
    ("name", "pictures", "sentence"),
    [
        ("map", 1, "1 picture given; a map needs 3 or more"),
        ("interpolation", 1, "1 picture given; an interpolation needs 2 or more"),
        ("attribute", 2, "the pictures have no classes; an attribute is what one group has"),
        ("reconstructions", 0, "no pictures given; a reconstruction needs 1 or more: name files, a folder or an .npz"),
    ],
)
def test_too_little_is_said_in_a_sentence(binary, folders, name, pictures, sentence):
    files = tuple(sorted((folders / "dark").iterdir())[:pictures])
    with pytest.raises(HashaeError, match=f"^{re.escape(sentence)}"):
        draw(name, Request(binary, files))


def test_classes_of_an_attribute_have_to_be_known(binary, folders):
    with raises_sentence(UnknownName, "no class is called 'red'; known ones are dark, light"):
        draw("attribute", Request(binary, (folders,), groups=("red", "dark")))
    assert to_png(draw("attribute", Request(binary, (folders,), groups=("light", "dark"))))[1:4] == b"PNG"


def test_names_of_pictures():
    assert check_kinds("map, code,map") == ["map", "code"]
    assert check_kinds("all") == list(KINDS)
    with pytest.raises(UnknownName, match="no picture is called 'film'; known ones are reconstructions, curves, map, "):
        check_kinds("map,film")


def test_pictures_of_several_kinds(folders, tmp_path):
    found = load_pictures([folders], FORM)
    assert found.classes == ("dark", "light")
    assert found.images[found.labels == 1].mean() > found.images[found.labels == 0].mean() + 0.4
    assert load_pictures([folders / "light", folders / "dark"], FORM).labels.tolist() == [1] * 4 + [0] * 4
    assert load_pictures([folders / "dark"], FORM, limit=2).labels is None
    assert len(load_pictures(["digits"], FORM, limit=7)) == 7
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(HashaeError, match=r"broken\.png"):
        load_pictures([broken], FORM)
    with pytest.raises(SourceError, match="holds no readable pictures; expected at least one"):
        load_pictures([tmp_path], FORM)


def test_arrays_are_fitted_to_a_form():
    colour = np.zeros((1, 3, 16, 16), np.uint8)
    colour[:, 1] = 100
    assert fit_form(colour, FORM).shape == (1, 1, 8, 8)
    assert (fit_form(colour, FORM) == 59).all()
    form = CanonicalForm(name="colour", size=8, thumb=8, channels=3, trim=False, rank=False)
    assert fit_form(np.full((2, 1, 8, 8), 7, np.uint8), form).tolist() == np.full((2, 3, 8, 8), 7).tolist()


class StubEncoder:
    """Two bits of two pixels, as an encoder file would give them."""

    name, bits, form = "stub", 8, FORM

    def __init__(self, model):
        self.info = SimpleNamespace(made={"model": {"model": model}} if model else {})

    def canonical_logits(self, x):
        return (x.reshape(len(x), -1)[:, :8] - 0.5) * 4


def test_an_encoder_file_gives_soft_codes_only_where_they_mean_something():
    x = images(3)
    logits = StubEncoder("binary").canonical_logits(x)
    np.testing.assert_allclose(EncoderModel(StubEncoder("binary")).latents(x), 1 / (1 + np.exp(-logits)), atol=1e-6)
    for model in ("plain", None):
        assert (EncoderModel(StubEncoder(model)).latents(x) == (logits > 0)).all()
    with pytest.raises(ConfigError, match="stub is an encoder file, which holds no variances; give the run folder"):
        EncoderModel(StubEncoder("binary")).variances(x)


def invoke(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_the_command_writes_a_picture_or_a_page(run, folders, tmp_path):
    done = invoke("show", "map", run, folders, "-o", tmp_path / "map.png", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "map.png").read_bytes()[1:4] == b"PNG"
    done = invoke("show", "curves,map", run, folders, "-o", tmp_path / "page.html", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.html").read_text().count("<figure>") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("map,code", "m", "-o", "x.png"), "2 pictures are asked for, and x.png holds one"),
        (("map", "m", "-o", "x.gif"), "--output is x.gif; expected a file that ends with .png or .html"),
        (("map", "m.db", "-o", "x.png"), "m.db is a collection, which holds codes only; expected: hashae show bits"),
        (("film", "m", "-o", "x.png"), "no picture is called 'film'"),
        (("map", "missing.onnx", "-o", "x.png"), "missing.onnx does not exist; expected an encoder file"),
    ],
)
def test_the_command_refuses_in_a_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("show", *arguments)
    assert isinstance(done.exception, HashaeError)
    assert sentence in str(done.exception) or sentence.replace("missing.onnx", "") in str(done.exception)


@pytest.mark.parametrize("option", [("--bits", "1,x"), ("--groups", "3"), ("--groups", "a,a")])
def test_lists_in_options_are_checked(option):
    done = invoke("show", "code", "photo", "a.png", "-o", "x.png", *option)
    assert done.exit_code == 2
    assert f"{option[0]} is {option[1]!r}; expected" in done.output.replace("\n", " ")
