"""Hashes side by side: the data, the variants, what is measured, and what happens when one fails."""

from __future__ import annotations

import csv
import io
import json
import re
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from hashae.cli.main import cli
from hashae.cli.output import print_table
from hashae.codes import hamming, unpack
from hashae.comparison import compare, load_data, parallel, parse_variants
from hashae.comparison import train_row as row_module
from hashae.comparison.copies import EditedCopies, make_copies
from hashae.comparison.figures import answers
from hashae.comparison.measure import linear_probe
from hashae.comparison.page import to_html
from hashae.comparison.rows import Comparison, Row
from hashae.comparison.table import COLUMNS, best, cell, lines, to_csv, used_columns
from hashae.comparison.variants import ORDER
from hashae.config import TrainConfig
from hashae.encoder import Encoder
from hashae.errors import ConfigError, HashaeError, SourceError
from hashae.models import list_models

SIDE = 8
VARYING = {"seconds", "rate", "size"}
"""Measures that differ from run to run; the file holds how long the training took."""
FAST = {"bits": 16, "trunk": "linear", "width": 2, "steps": 3, "threads": 1}


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def pictures(n=60, seed=0, channels=None):
    """Return pictures of two classes, dark and bright in the left half, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.integers(0, 120, (n, SIDE, SIDE, channels or 1), dtype=np.uint8)
    images[:, :, : SIDE // 2] += (labels * 130).astype(np.uint8)[:, None, None, None]
    return (images if channels else images[..., 0]), labels


def stored(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images, labels = pictures()
    path = stored(tmp_path_factory.mktemp("data") / "halves.npz", x=images, y=labels)
    return load_data(path)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "first"


@pytest.fixture(scope="module")
def compared(data, run_folder):
    """Two variants that work and one that does not."""
    return compare(data, parse_variants(["lsh,sparse:k=40,binary"]), run=run_folder, **FAST)


# Data


def test_the_digits_of_scikit_learn():
    digits = load_data("digits")
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.form.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.train.pixels.max() == 255
    rows = {pixels.tobytes() for pixels in digits.train.pixels}
    assert sum(pixels.tobytes() in rows for pixels in digits.test.pixels) <= 1  # scikit-learn holds a pair of equals
    assert len(load_data("digits", images=50, queries=20).train) == 50
    assert digits.fingerprint == load_data("digits").fingerprint != load_data("digits", seed=1).fingerprint


def test_arrays_with_parts_of_their_own(tmp_path):
    images, labels = pictures()
    path = stored(
        tmp_path / "a.npz", x_train=images[:40], y_train=labels[:40] + 5, x_test=images[40:], y_test=labels[40:] + 5
    )
    found = load_data(path)
    assert found.name == "a"
    for part, x, y in ((found.train, images[:40], found.train_labels), (found.test, images[40:], found.test_labels)):
        rows = [int(np.flatnonzero((images == picture[0]).all(axis=(1, 2)))[0]) for picture in part.pixels]
        assert sorted(rows) == sorted(int(np.flatnonzero((images == picture).all(axis=(1, 2)))[0]) for picture in x)
        assert rows != sorted(rows)  # files are often sorted by class
        assert np.array_equal(y, labels[rows])
    assert found.classes == ("5", "6")
    assert len(load_data(path, images=10, queries=5).test) == 5


def test_colour_arrays_keep_their_channels(tmp_path):
    images, labels = pictures(channels=3)
    found = load_data(stored(tmp_path / "c.npz", images=images, labels=labels[:, None]))
    assert found.form.shape == (3, SIDE, SIDE)
    assert found.augment == "tiny"
    assert len(found.train) + len(found.test) == 60


def test_arrays_without_labels_are_not_scored(tmp_path):
    found = load_data(stored(tmp_path / "u.npz", x=pictures()[0]))
    assert found.train_labels is None
    assert found.classes == ()


def test_sub_folders_are_labels(tmp_path):
    for number, image in enumerate(pictures(12)[0]):
        folder = tmp_path / ("cats", "dogs")[number % 2] / "more"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    found = load_data(tmp_path)
    assert found.classes == ("cats", "dogs")
    for images, labels in ((found.train, found.train_labels), (found.test, found.test_labels)):
        assert [found.classes[label] for label in labels] == [path.parts[-3] for path in images.paths]
    assert not {*found.train.paths} & {*found.test.paths}
    Image.fromarray(image).save(tmp_path / "loose.png")
    assert load_data(tmp_path).classes == ()  # a picture without a class: none is scored


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"z": pictures()[0]}, "{path} holds z; expected x_train and x_test, or x"),
        (
            {"x": np.zeros((20, 8, 8), np.float32)},
            "images in {path} are float32 (20, 8, 8); expected uint8 (n, side, side[, 3])",
        ),
        (
            {"x": np.zeros((20, 8, 9), np.uint8)},
            "images are uint8 (16, 8, 9); expected uint8 (n, side, side) or (n, channels, side, side)",
        ),
        (
            {"x": pictures()[0], "y": np.zeros(5, int)},
            "labels in {path} are int64 (5,); expected 60 whole numbers, one an image",
        ),
        (
            {"x_train": pictures(40)[0], "x_test": np.zeros((10, 9, 9), np.uint8)},
            "images of bad are (40, 8, 8) in x_train and (10, 9, 9) in x_test; expected one size and number of "
            "channels",
        ),
        (
            {"x_train": pictures(40, channels=3)[0], "x_test": pictures(10)[0]},
            "images of bad are (40, 3, 8, 8) in x_train and (10, 8, 8) in x_test; expected one size and number of "
            "channels",
        ),
        (
            {"x": np.array([np.zeros((8, 8)), np.zeros((9, 9))], dtype=object)},
            "{path} holds lists of arrays, as images of different sizes make; expected one array, "
            "uint8 (n, side, side[, 3])",
        ),
        (
            {"x": pictures()[0], "y": np.full(60, 3)},
            "all labels of bad are 3; scoring needs at least two classes: leave them out",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, arrays, sentence):
    path = stored(tmp_path / "bad.npz", **arrays)
    with raises_sentence(ConfigError, sentence.format(path=path)):
        load_data(path)


def test_a_single_image_is_not_enough(tmp_path, picture):
    with raises_sentence(SourceError, "one holds 1 images; a comparison needs at least 10"):
        load_data(stored(tmp_path / "one.npz", x=pictures(1)[0]))
    folder = tmp_path / "folder"
    folder.mkdir()
    picture.save(folder / "one.png")
    with pytest.raises(SourceError, match="holds 1 readable pictures; learning a code needs at least 2"):
        load_data(folder)


def test_what_is_no_data_at_all(tmp_path):
    with raises_sentence(
        SourceError, "nowhere cannot be compared on; expected a folder, an .npz file with images, or digits"
    ):
        load_data("nowhere")
    for number, text in enumerate(("not arrays", "")):
        path = tmp_path / f"text{number}.npz"
        path.write_text(text)
        with raises_sentence(SourceError, f"{path} cannot be read as arrays (it is no .npz file)"):
            load_data(path)


# Variants


def test_all_models_are_compared_unless_some_are_named():
    assert sorted(ORDER) == list_models()
    assert [variant.name for variant in parse_variants([])] == list(ORDER)


def test_a_variant_is_a_model_with_settings():
    variants = parse_variants(["binary, sparse:k=8:loss=mse", "plain:dropout=0.5:batch_norm=false"])
    assert [variant.name for variant in variants] == [
        "binary",
        "sparse:k=8:loss=mse",
        "plain:dropout=0.5:batch_norm=False",
    ]
    config = variants[1].config(bits=16, image_shape=(1, 8, 8), trunk="dense", width=2)
    assert (config.options["k"], config.options["loss"], config.trunk) == (8, "mse", "dense")
    config = variants[2].config(bits=16, image_shape=(1, 8, 8), trunk="dense", width=2)
    assert (config.dropout, config.batch_norm) == (0.5, False)


def test_a_model_without_the_trunk_takes_its_own():
    (variant,) = parse_variants(["convolutional"])
    assert variant.config(bits=16, image_shape=(1, 8, 8), trunk="dense", width=2).trunk == "conv"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("vae", f"no variant is called 'vae'; known ones are {', '.join(list_models())}"),
        ("sparse:k", "setting 'k' has no name or no value; expected for example width=16"),
        ("plain,plain", "variant plain is named 2 times; name each once"),
        ("sparse:beta=-1", "beta of the sparse model is -1.0; expected at least 0"),
        (
            "threshold:q=1",
            "unknown setting q of the threshold model; its own are loss, output, those of every model batch_norm, "
            "bits, dropout, image_shape, model, noise, scaling, trunk, width",
        ),
    ],
)
def test_variants_that_cannot_be_read(text, sentence):
    with raises_sentence(ConfigError, sentence):
        parse_variants([text])


# The comparison


def test_a_variant_that_fails_does_not_stop_the_others(compared):
    assert [row.variant for row in compared.rows] == ["lsh", "sparse:k=40", "binary"]
    (failed,) = compared.failed
    assert failed.error == "k is 40, of 16 units; expected at most as many as bits"
    assert [line.variant for line in lines(compared)] == sorted(
        ("lsh", "binary"), key=lambda name: -next(row for row in compared.rows if row.variant == name).measures.map
    )


def test_a_loss_that_is_not_finite_is_a_failed_variant(data):
    result = compare(data, parse_variants(["plain"]), **FAST, training={"learning_rate": 1e30})
    assert re.match(r"the loss is (nan|inf) at step \d with learning rate", result.rows[0].error)


def test_measures_are_what_a_slower_method_says(compared, data, run_folder):
    row = compared.rows[2]
    encoder = Encoder.load(run_folder / "binary-0" / "encoder.onnx", threads=1)
    database, queries = encoder.encode(data.train.pixels), encoder.encode(data.test.pixels)
    distances = hamming(queries, database)
    right = data.test_labels[:, None] == data.train_labels[None, :]
    within = [(ok & (d <= 2)).sum() / max((d <= 2).sum(), 1) for ok, d in zip(right, distances, strict=True)]
    assert row.measures.precision == pytest.approx(np.mean(within))
    assert row.measures.empty == pytest.approx(((distances <= 2).sum(axis=1) == 0).mean())
    assert row.measures.unique == pytest.approx(len({code.tobytes() for code in database}) / len(database))
    assert row.measures.imbalance == pytest.approx(np.abs(2 * unpack(database).mean(axis=0) - 1).mean())
    clean = data.form(data.test.pixels)
    assert row.measures.code_error == pytest.approx(float(np.square(encoder.decode(queries) - clean).mean()))
    assert row.measures.size == len(encoder.data)
    assert (row.measures.steps, row.seed) == (3, 0)
    assert row.examples["answers"][0].tolist() == np.argsort(distances[0], kind="stable")[:8].tolist()
    assert row.examples["curve"][2] == pytest.approx(row.measures.precision)


def test_a_linear_probe_finds_what_is_linear():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    assert linear_probe(x[:300], labels[:300], x[300:], labels[300:]) > 0.9
    assert linear_probe(x[:300], rng.permutation(labels[:300]), x[300:], labels[300:]) < 0.7
    assert linear_probe(x[:300], np.zeros(300, np.int64), x[300:], labels[300:]) == (labels[300:] == 0).mean()


def test_what_is_finished_is_not_trained_again(compared, data, run_folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(row_module, "train_variant", refuse)
    again = compare(data, parse_variants(["binary,lsh"]), run=run_folder, **FAST)
    assert [row.measures for row in again.rows] == [compared.rows[2].measures, compared.rows[0].measures]
    assert np.array_equal(again.rows[0].examples["map"], compared.rows[2].examples["map"])


def test_variants_trained_at_once_are_those_trained_one_by_one(compared, data, tmp_path):
    told = []
    again = compare(
        data,
        parse_variants(["lsh,sparse:k=40,binary"]),
        run=tmp_path / "run",
        **FAST,
        jobs=2,
        on_progress=lambda name, report: told.append((name, report and report.step)),
    )

    def lasting(row):
        return {name: value for name, value in row.to_dict()["measures"].items() if name not in VARYING}

    assert [row.variant for row in again.rows] == ["lsh", "sparse:k=40", "binary"]
    assert lasting(again.rows[0]) == lasting(compared.rows[0])
    assert again.rows[1] == compared.rows[1]
    assert lasting(again.rows[2]) == lasting(compared.rows[2])
    assert [step for name, step in told if name == "binary"] == [None, 1, 2, 3]
    assert (tmp_path / "run/binary-0/encoder.onnx").is_file()


def test_a_process_that_ends_costs_its_variants_only(data):
    (variant,) = parse_variants(["plain"])
    lost = Future()
    lost.set_exception(BrokenProcessPool())
    row = parallel._row(lost, variant, TrainConfig(seed=4))
    assert (row.variant, row.seed, row.measures) == ("plain", 4, None)
    assert row.error == "a process that trained came to a sudden end (out of memory?); try fewer jobs"


def test_a_damaged_row_is_made_again(compared, data, run_folder, monkeypatch, tmp_path):
    for name in ("settings.json", "lsh-0/row.json", "lsh-0/examples.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    (tmp_path / "lsh-0/row.json").write_text("{")
    called = []

    def told(*_, **__):
        called.append(1)
        raise HashaeError("stopped here")

    monkeypatch.setattr(row_module, "train_variant", told)
    assert compare(data, parse_variants(["lsh"]), run=tmp_path, **FAST).failed[0].error == "stopped here"
    assert called


@pytest.mark.parametrize(
    ("setting", "word"), [({"bits": 24}, "bits"), ({"steps": 5}, "steps"), ({"width": 3}, "width")]
)
def test_a_run_folder_belongs_to_one_comparison(compared, data, run_folder, setting, word):
    sentence = f"{run_folder} holds a comparison with other settings ({word}); use a new --run folder"
    with raises_sentence(ConfigError, sentence):
        compare(data, parse_variants(["lsh"]), run=run_folder, **{**FAST, **setting})
    with raises_sentence(ConfigError, sentence.replace(f"({word})", "(data)")):
        compare(replace(data, test=data.test.take(np.arange(5))), run=run_folder, **FAST)


def test_trained_encoders_are_measured_beside(compared, data, run_folder, tmp_path):
    (tmp_path / "bad.onnx").write_text("no model")
    paths = [run_folder / "binary-0" / "encoder.onnx", tmp_path / "bad.onnx"]
    good, bad = compare(data, encoders=paths, **FAST).rows
    trained = compared.rows[2].measures
    assert good.measures == replace(trained, error=None, seconds=None, steps=None, rate=good.measures.rate)
    assert bad.measures is None
    assert "is not an ONNX model" in bad.error


def test_seeds_are_rows_of_one_line(compared, data):
    rows = [
        Row("binary", seed, replace(compared.rows[2].measures, map=value, probe=None))
        for seed, value in enumerate((0.25, 0.75))
    ]
    found = lines(Comparison(data, compared.settings, tuple(rows)))
    assert len(found) == 1
    assert found[0].value("map") == 0.5
    assert found[0].spread("map") == pytest.approx(np.std([0.25, 0.75], ddof=1))
    assert cell(found[0], COLUMNS[0]) == "0.500 ± 0.354"
    assert found[0].value("probe") is None


def test_the_best_of_a_column(compared, data):
    base = replace(compared.rows[2].measures, probe=None)
    rows = (
        Row("a", 0, replace(base, map=0.2, code_error=0.3)),
        Row("b", 0, replace(base, map=0.6, code_error=0.4)),
        Row("c", 0, None, "failed"),
    )
    found = lines(Comparison(data, compared.settings, rows))
    columns = {column.field: column for column in used_columns(found)}
    assert [line.variant for line in found] == ["b", "a"]
    assert best(found, columns["map"]) == "b"
    assert best(found, columns["code_error"]) == "a"
    assert best(found, columns["size"]) is None
    assert "probe" not in columns


def test_the_table_as_csv_and_json(compared):
    rows = list(csv.DictReader(io.StringIO(to_csv(compared))))
    assert [row["variant"] for row in rows] == ["lsh", "sparse:k=40", "binary"]
    assert float(rows[2]["map"]) == compared.rows[2].measures.map
    assert rows[1]["failure"].startswith("k is 40")
    assert rows[1]["map"] == ""
    values = json.loads(json.dumps(compared.to_dict()))
    assert values["rows"][2]["measures"]["map"] == compared.rows[2].measures.map
    assert (values["images"], values["queries"], values["bits"]) == (48, 12, 16)


def test_the_page_is_complete_in_itself(compared):
    page = to_html(compared)
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "k is 40, of 16 units" in page
    for row in compared.rows:
        assert row.variant in page


def test_wrong_answers_are_framed(compared, data):
    found = lines(compared)
    axes = answers(found, data).axes[0]
    asked = 4
    wrong = sum(
        int((data.train_labels[line.rows[0].examples["answers"][:asked]] != data.test_labels[:asked, None]).sum())
        for line in found
    )
    assert 0 < len(axes.patches) == wrong
    assert len(axes.images) == asked + len(found) * asked * 8  # the questions stand above, once


def test_a_table_too_wide_for_its_lines_keeps_its_cells_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    row = ["convolutional", "0.123", "45.6 %"]
    print_table("", ["variant", "mAP", "2 bits"], [row])
    assert any(all(cell in line for cell in row) for line in capsys.readouterr().out.splitlines())
    monkeypatch.setenv("COLUMNS", "80")
    print_table("", ["variant", "mAP", "2 bits"], [row])
    assert "│" in capsys.readouterr().out


def test_the_page_without_labels(compared, data):
    bare = replace(data, train_labels=None, test_labels=None, classes=())
    rows = tuple(replace(row, measures=replace(row.measures, map=None, precision=None)) for row in compared.rows[::2])
    page = to_html(Comparison(bare, compared.settings, rows))
    assert page.count("data:image/png;base64,") == 3


def test_names_are_text_and_not_markup(compared, data):
    row = replace(compared.rows[0], variant="<script>x</script>")
    assert "<script>x" not in to_html(Comparison(data, compared.settings, (row,)))


# Edited copies


def test_copies_are_found_up_to_a_radius_that_others_seldom_reach(data, run_folder, compared):
    encoder = Encoder.load(run_folder / "binary-0" / "encoder.onnx", threads=1)
    codes = encoder.encode(data.test.pixels)
    rows = np.arange(len(data.test))
    assert EditedCopies(data.test, rows).recall(encoder, np.unique(codes, axis=0)[:1].repeat(12, 0)) < 1
    distances = hamming(codes, codes)
    others = np.sort(distances[~np.eye(12, dtype=bool)])
    expected = (np.zeros(12) < others[0]).mean()  # every copy is its original, at distance 0
    assert EditedCopies(data.test, rows).recall(encoder, codes) == expected


def test_files_and_arrays_are_edited(data, picture_folder):
    folder = load_data(picture_folder, queries=2)
    for one in (folder, data):
        copies = make_copies(one)
        assert set(copies.rows.tolist()) == set(range(len(one.test)))
        assert copies.images.pixels.shape == (len(copies.rows), *one.test.pixels.shape[1:])
        assert len(copies.rows) > 20 * len(one.test)
        # The first edit is hardly one: the copy looks like its original, and like no other.
        first = np.array([copies.rows.tolist().index(row) for row in range(len(one.test))])
        seen = copies.images.pixels[first].astype(np.float32).reshape(len(first), 1, -1)
        away = np.abs(seen - one.test.pixels.astype(np.float32).reshape(1, len(first), -1)).mean(axis=2)
        assert away.argmin(axis=1).tolist() == list(range(len(first)))
        assert away.diagonal().max() < 25


# The command


def test_the_command_prints_a_table_and_writes_files(data, tmp_path):
    images, labels = pictures()
    path = stored(tmp_path / "halves.npz", x=images, y=labels)
    arguments = ["compare", str(path), "--variants", "lsh,pca:bits=72", "--bits", "16", "--workers", "1"]
    result = CliRunner().invoke(cli, [*arguments, "--csv", str(tmp_path / "t.csv"), "--html", str(tmp_path / "t.html")])
    assert result.exit_code == 0, result.output
    assert "halves: 48 images, 12 questions, 16 bits" in result.output
    assert "pca:bits=72 (seed 0) failed: bits is 72; images (1, 8, 8) have 64 values" in result.output
    assert (tmp_path / "t.csv").read_text().startswith("variant,seed,")
    assert "<html" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere cannot be compared on; expected a folder, an .npz file with images, or digits"),
        (["digits", "--variants", "vae"], f"no variant is called 'vae'; known ones are {', '.join(list_models())}"),
        (["digits", "--bits", "12"], "bits is 12; expected a multiple of 8 from 8 to 512"),
        (
            ["digits", "--variants", "pca", "--bits", "72"],
            "no variant finished; the first: pca: bits is 72; images (1, 8, 8) have 64 values and as many components: "
            "use at most 64 bits, or lsh",
        ),
        (["digits", "--csv", "/nowhere/x.csv"], "/nowhere does not exist; create the folder first"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, sentence):
    result = CliRunner().invoke(cli, ["compare", *arguments])
    assert isinstance(result.exception, HashaeError)
    assert str(result.exception) == sentence


@pytest.mark.parametrize("seeds", ["a", "0,0", "1,", "-1"])
def test_seeds_are_whole_numbers(seeds):
    result = CliRunner().invoke(cli, ["compare", "digits", "--seeds", seeds])
    assert result.exit_code == 2
    assert f"--seeds is {seeds!r}; expected" in result.output
