"""What autoencoders are also used for: outliers, probes, few labels, restoration."""

from __future__ import annotations

import hashlib
import json
import math
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from hashae.cli.main import cli
from hashae.codes import hamming
from hashae.comparison import load_data
from hashae.errors import ConfigError, EncoderFileError, HashaeError, SourceError, UnknownName
from hashae.evaluation.likeness import psnr, ssim
from hashae.images.canonical import CanonicalForm
from hashae.models import create_model
from hashae.models.restorer import Restorer
from hashae.training.few_labels import draw_labelled, few_labels
from hashae.training.restoring import restoration_loss, restore_picture, train_restorer
from hashae.training.trained import TrainedModel
from hashae.training.weights import save_weights
from hashae.uses import outliers as outliers_module
from hashae.uses.damage import answer, blurred, damage
from hashae.uses.gallery import to_html
from hashae.uses.outliers import find_outliers, rarity, scores, surprise
from hashae.uses.probe import CLASSIFIERS, probe
from hashae.uses.restore import check_output, restore_folder
from hashae.uses.study import run_probes

FORM = CanonicalForm(name="plain", size=8, thumb=8, channels=1, trim=False, rank=False)
SHAPE = (1, 8, 8)


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder of a dozen colour pictures, 16 x 12: smooth slopes; shared, so never write into it."""
    folder = tmp_path_factory.mktemp("slopes")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:12, 0:16] / 16
    for number in range(12):
        a, b, c = rng.uniform(-1, 1, (3, 3))
        levels = 128 + 60 * (a * rows[..., None] + b * columns[..., None] + 0.5 * c)
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def fingerprint(folder):
    return {path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest()) for path in folder.iterdir()}


class StubEncoder:
    """Eight bits: the means of the rows of an 8 x 8 image, bright or dark; decoded as such rows."""

    name, bits, form, decoder_data = "rows", 8, FORM, b"x"

    def canonical_logits(self, images):
        return images[:, 0].mean(axis=2) - 0.5

    def decode(self, codes):
        rows = np.unpackbits(codes, axis=1).astype(np.float32)
        return rows[:, None, :, None].repeat(8, axis=3)


@pytest.fixture
def striped(tmp_path):
    """Return a folder of fifteen pictures of stripes, one of noise, and one that is broken."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "striped"
    folder.mkdir()
    for number in range(15):
        levels = np.zeros((8, 8), np.uint8)
        levels[number % 3 :: 4] = 255
        Image.fromarray(levels).save(folder / f"{number:02d}.png")
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "noise.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_rarity_is_the_mean_distance_to_the_nearest_others(rng, monkeypatch):
    monkeypatch.setattr(outliers_module, "BLOCK", 7)
    codes = rng.integers(0, 256, (30, 4), dtype=np.uint8)
    codes[5] = codes[20]
    distances = hamming(codes, codes)
    expected = [np.sort(np.delete(row, place))[:3].mean() for place, row in enumerate(distances)]
    np.testing.assert_allclose(rarity(codes, 3), expected, rtol=1e-6)
    with raises_sentence(ConfigError, "3 codes given; the distance to 3 others needs 4 or more"):
        rarity(codes[:3], 3)


def test_surprise_is_the_length_of_a_message():
    codes = np.array([[0xFF], [0xFF], [0xFF], [0x7F]], np.uint8)
    # Every bit but the first is on in all: 5 of 6; the first in 3 of 4: 4 of 6.
    always = -7 * math.log2(5 / 6)
    assert surprise(codes).tolist() == pytest.approx([always - math.log2(4 / 6)] * 3 + [always - math.log2(2 / 6)])


def test_scores_are_ranks():
    assert scores(np.array([1, 3, 3, 9], np.float32)).tolist() == pytest.approx([0, 0.5, 0.5, 1])


def test_noise_among_stripes_comes_first(striped):
    report = find_outliers([striped], StubEncoder())
    assert report.ranked[0].path.endswith("noise.png")
    assert report.ranked[0].error > report.ranked[1].error
    assert len(report.ranked) == 16
    assert [problem.relative for problem in report.failed] == ["broken.png"]
    assert json.loads(json.dumps(report.to_dict(2)))["outliers"][0]["score"] == 1
    assert find_outliers([striped], StubEncoder(), by="rarity").ranked[0].error is None


def test_outliers_say_what_they_need(striped, tmp_path):
    encoder = StubEncoder()
    encoder.decoder_data = None
    with pytest.raises(EncoderFileError, match="encoder 'rows' has no decoder to measure errors with; keep its"):
        find_outliers([striped], encoder)
    with pytest.raises(ConfigError, match=r"0 readable pictures in .*; telling which do not belong needs 12 or more"):
        find_outliers([tmp_path / "striped"], StubEncoder(), limit=0)


def test_the_gallery_is_complete_in_itself(striped):
    report = find_outliers([striped], StubEncoder())
    page = to_html(report, lambda path: b"jpeg" if "noise" in path else None, count=3)
    assert page.count("<figure>") == 3 + 12
    assert page.count("data:image/jpeg;base64,anBlZw==") == 1
    assert not re.search(r'(src|href)="(?!data:)', page)
    report = outliers_module.OutlierReport("<b>", "error", report.ranked, ())
    assert "<b>" not in to_html(report, lambda _path: None)


def test_the_command_ranks_a_folder(pictures, tmp_path):
    page = tmp_path / "page.html"
    arguments = ["outliers", pictures, "--encoder", "photo", "--count", 3, "--html", page, "--json", "--workers", 1]
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pictures"] == 12
    ranked = [one["error"] for one in found["outliers"]]
    assert ranked == sorted(ranked, reverse=True)
    assert len(ranked) == 3
    assert page.read_text().count("data:image/jpeg") == 12


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_probe_finds_what_is_there_and_nothing_else(classifier):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    told = np.eye(3, dtype=np.float32)[labels] + 0.1 * rng.normal(size=(400, 3)).astype(np.float32)
    nothing = rng.normal(size=(400, 3)).astype(np.float32)
    for features, least, most in ((told, 0.95, 1), (nothing, 0.15, 0.55)):
        [found] = probe(
            "x", features[:200], labels[:200], features[200:], labels[200:], classifiers=[classifier], seed=0
        )
        assert least <= found.accuracy <= most


def test_probes_say_what_they_need():
    x, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
    with raises_sentence(ConfigError, "all labels to learn from are of one class; a probe needs at least two"):
        probe("x", x, y, x, y)
    with raises_sentence(UnknownName, "no classifier is called 'forest'; known ones are logistic, svm, network"):
        probe("x", x, np.arange(4), x, y, classifiers=["forest"])


def test_codes_and_latents_are_probed():
    model = create_model("plain", bits=16, image_shape=SHAPE, trunk="linear")
    found = run_probes(TrainedModel.of(model, FORM), load_data("digits", images=200, queries=100), classifiers=["svm"])
    assert [one.features for one in found] == ["codes", "latents"]
    assert found[1].accuracy > 0.5  # a random projection keeps much of a digit


def test_labelled_images_are_of_all_classes():
    labels = np.repeat([0, 1, 2], [50, 30, 4])
    drawn = draw_labelled(labels, 20)
    assert np.bincount(labels[drawn]).tolist() == [8, 8, 4]
    assert len(set(drawn)) == 20
    assert draw_labelled(labels, 20, seed=1).tolist() != drawn.tolist()
    with raises_sentence(ConfigError, "2 labelled images asked for; expected 3 (one of each class) to 84"):
        draw_labelled(labels, 2)
    with raises_sentence(ConfigError, "all labels are of one class; telling classes apart needs at least two"):
        draw_labelled(labels[:50], 20)


def test_few_labels_leave_the_model_as_it_was():
    torch.manual_seed(0)
    model = create_model("binary", bits=16, image_shape=SHAPE, trunk="linear").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = load_data("digits", images=100, queries=60)
    told = []
    found = few_labels(
        model,
        FORM,
        data.train,
        data.train_labels,
        data.test,
        data.test_labels,
        count=40,
        steps=30,
        on_step=lambda *step: told.append(step),
    )
    assert found.labelled == 40
    assert found.scratch > 0.2  # ten classes
    assert 0 <= found.tuned <= 1
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
    assert told[0] == ("from scratch", 1, 30)
    assert told[-1] == ("pre-trained", 30, 30)


def test_the_command_refuses_few_labels_on_an_encoder_file_and_data_without_labels(tmp_path):
    done = CliRunner().invoke(cli, ["probe", "digits", "--few", "20"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("--few trains the model further, and photo is an encoder file")
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 8, 8), np.uint8))
    path = tmp_path / "w.safetensors"
    save_weights(create_model("plain", bits=8, image_shape=SHAPE, trunk="linear"), FORM, path)
    done = CliRunner().invoke(cli, ["probe", str(tmp_path / "x.npz"), "--model", str(path)])
    assert str(done.exception).startswith("x has no labels; a probe needs at least two classes")


def test_psnr_and_ssim():
    rng = np.random.default_rng(0)
    x = rng.random((3, 9, 11)).astype(np.float32)
    y = (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    assert psnr(x, x) == math.inf
    assert psnr(np.full_like(x, 0.5), np.full_like(x, 0.6)) == pytest.approx(20, abs=1e-4)
    assert ssim(x, x) == pytest.approx(1)
    values = []
    for c in range(3):
        for i in range(3):
            for j in range(5):
                a, b = (z[c, i : i + 7, j : j + 7].ravel().astype(np.float64) for z in (x, y))
                cov = np.cov(a, b)
                means = 2 * a.mean() * b.mean() + 1e-4, a.mean() ** 2 + b.mean() ** 2 + 1e-4
                spread = 2 * cov[0, 1] + 9e-4, cov[0, 0] + cov[1, 1] + 9e-4
                values.append(means[0] * spread[0] / (means[1] * spread[1]))
    assert ssim(x, y) == pytest.approx(np.mean(values))
    with pytest.raises(ConfigError, match=r"expected one shape, 7 x 7 pixels or more$"):
        ssim(x[:, :6], y[:, :6])


def test_damage_and_its_trivial_answers(rng):
    picture = rng.random((3, 20, 30)).astype(np.float32) * 0.4 + 0.3
    noisy = damage("denoise", picture, 0.05, rng)
    assert (noisy.seen - picture).std() == pytest.approx(0.05, rel=0.1)
    grey = damage("colour", picture, 0, rng)
    assert (grey.seen[0] == grey.seen[2]).all()
    np.testing.assert_allclose(grey.seen[0], np.tensordot([0.299, 0.587, 0.114], picture, 1), rtol=1e-5)
    holed = damage("inpaint", picture, 0.5, rng)
    hole = holed.hole[0].astype(bool)
    assert 0 < hole.sum() <= 10 * 15
    assert (holed.seen[:, ~hole] == picture[:, ~hole]).all()
    np.testing.assert_allclose(holed.seen[:, hole].T - picture[:, ~hole].mean(axis=1), 0, atol=1e-5)
    # What is under the hole is not looked at.
    assert (answer("inpaint", picture * (1 - holed.hole), holed.hole).seen == holed.seen).all()
    spike = np.zeros((1, 5, 5), np.float32)
    spike[0, 2, 2] = 16
    assert blurred(spike)[0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    with raises_sentence(UnknownName, "no restoration is called 'sharpen'; known ones are denoise, inpaint, colour"):
        damage("sharpen", picture, 0, rng)


@pytest.mark.parametrize("size", [(8, 8), (9, 14)])
def test_a_restorer_takes_any_size_and_starts_by_changing_nothing(size):
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        assert (Restorer(2)(x, torch.zeros(2, 1, *size)) == x).all()


def test_only_the_hole_is_filled(rng):
    network = Restorer(2)
    torch.nn.init.constant_(network.last.bias, 0.1)
    holed = damage("inpaint", rng.random((3, 12, 12)).astype(np.float32), 0.5, rng)
    changed = (restore_picture(network, holed, "inpaint") != holed.seen).any(axis=0)
    assert (changed == holed.hole[0].astype(bool)).all()


def test_colours_keep_the_luminance(rng):
    network = Restorer(2)
    network.last.bias.data = torch.tensor([0.2, -0.1, 0.05])
    grey = damage("colour", 0.3 + 0.4 * rng.random((3, 12, 12)).astype(np.float32), 0, rng)
    again = restore_picture(network, grey, "colour")
    assert np.ptp(again, axis=0).min() > 0.25
    np.testing.assert_allclose(np.tensordot([0.299, 0.587, 0.114], again, 1), grey.seen[0], atol=1e-6)


def test_a_restorer_learns_the_tint_of_its_pictures(rng):
    grey = rng.integers(60, 190, (6, 1, 12, 16), dtype=np.uint8).repeat(3, axis=1)
    tinted = [picture + np.array([40, 0, 236], np.uint8)[:, None, None] for picture in grey]  # more red, less blue
    losses = []
    _, steps = train_restorer(
        tinted, "colour", amount=0, steps=60, width=2, on_step=lambda _step, _steps, loss: losses.append(loss)
    )
    assert steps == 60
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5  # logarithms of the error


def test_colours_of_all_pictures_count_alike(rng):
    whole = torch.from_numpy(rng.random((2, 3, 9, 9)).astype(np.float32))
    away = torch.tensor([0.3, 0.03]).view(2, 1, 1, 1)
    halved = [
        restoration_loss(whole + away * torch.tensor(share).view(2, 1, 1, 1), whole, "colour")
        for share in ([1.0, 1.0], [0.5, 1.0], [1.0, 0.5])
    ]
    # Halving the error of the strong colours or that of the weak ones is worth as much; the mean would say a hundredth.
    assert float(halved[0] - halved[1]) == pytest.approx(math.log(4) / 2, rel=0.01)
    assert float(halved[0] - halved[2]) == pytest.approx(math.log(4) / 2, rel=0.25)
    assert restoration_loss(whole + 0.1, whole, "denoise") == pytest.approx(0.01, rel=1e-3)


def test_pictures_without_colours_are_left_out_where_colours_are_given(pictures, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in pictures.iterdir():
        with Image.open(path) as picture:
            picture.save(folder / path.name)
            if path.stem in {"03", "07"}:
                picture.convert("L").convert("RGB").save(folder / f"{path.stem}-grey.png")
    report, results = restore_folder(folder, tmp_path / "out", "colour", steps=1, threads=1)
    assert (report.grey, report.learned, report.tested) == (2, 10, 2)
    assert not any("grey" in one.relative for one in results)
    assert restore_folder(folder, tmp_path / "again", "denoise", steps=1, threads=1)[0].learned == 11
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in [*sorted(pictures.iterdir())[:4], *folder.glob("*-grey.png")]:
        (bare / path.name).write_bytes(path.read_bytes())
    with raises_sentence(
        SourceError,
        f"{bare} holds 4 usable pictures, not counting 2 that are grey; learning to restore needs 5 or more",
    ):
        restore_folder(bare, tmp_path / "out", "colour")


def test_a_folder_is_restored_and_left_alone(pictures, tmp_path):
    before = fingerprint(pictures)
    holed = tmp_path / "holed"
    holed.mkdir()
    levels = np.full((10, 14, 4), 200, np.uint8)
    levels[3:6, 4:9, 3] = 0
    Image.fromarray(levels).save(holed / "one.png")
    output = tmp_path / "out"
    arguments = ["restore", pictures, "-o", output, "--task", "inpaint", "--steps", 2, "--apply", holed, "--json"]
    done = CliRunner().invoke(cli, [*map(str, arguments), "--workers", "1"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["learned"], found["tested"], found["applied"], found["steps"]) == (10, 2, 1, 2)
    assert found["psnr_trivial"] == found["psnr_damaged"] > 0
    assert fingerprint(pictures) == before
    assert len(list((output / "restored").iterdir())) == 2
    assert (output / "sheet.png").read_bytes()[1:4] == b"PNG"
    again = np.asarray(Image.open(output / "applied" / "one.png.png").copy())
    assert again.shape == (10, 14, 3)
    assert (again[levels[..., 3] > 0] == 200).all()


def test_a_restoration_says_what_it_needs(pictures, tmp_path):
    with raises_sentence(
        ConfigError, f"{pictures / 'out'} lies in {pictures}, which is only read; give a folder elsewhere"
    ):
        check_output(pictures / "out", pictures)
    with pytest.raises(ConfigError, match="lies in"):
        check_output(pictures, pictures)
    with pytest.raises(ConfigError, match="does not exist; create the folder first"):
        check_output(tmp_path / "a" / "b", pictures)
    with raises_sentence(ConfigError, "amount is 2; expected a number above 0 and below 1"):
        restore_folder(pictures, tmp_path / "out", "denoise", amount=2)
    with raises_sentence(ConfigError, "amount is 0.5, and taking colours away has none; leave it out"):
        restore_folder(pictures, tmp_path / "out", "colour", amount=0.5)
    (tmp_path / "few").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "few" / "small.png")
    with pytest.raises(SourceError, match=r"0 usable pictures \(the first problem: .*small.png: smaller than 8 pixels"):
        restore_folder(tmp_path / "few", tmp_path / "out", "denoise")
    with pytest.raises(HashaeError, match="has transparent pixels"):
        restore_folder(pictures, tmp_path / "out", "inpaint", steps=1, apply=pictures)
