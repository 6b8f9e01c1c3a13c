"""The training loop, its inputs and what it writes down, on pictures of 16 pixels."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from hashae.config import TrainConfig
from hashae.errors import ConfigError, SourceError, TrainingDiverged
from hashae.images.canonical import CanonicalForm
from hashae.models import Losses, create_model
from hashae.training import TrainingImages, load_training_images, train

SIDE = 16
CONFIG = TrainConfig(steps=12, batch=8, precision="float32", device="cpu", threads=1)


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def pictures(n=24, channels=None, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, channels or 1, 4, 4), dtype=np.uint8)
    fine = coarse.repeat(SIDE // 4, axis=2).repeat(SIDE // 4, axis=3)
    return fine if channels else fine[:, 0]


def new_model(name="binary", seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"bits": 16, "image_shape": (1, SIDE, SIDE), "trunk": "dense", "width": 2, **settings}
    return create_model(name, **settings)


def trained(config=CONFIG, name="binary", **settings):
    model = new_model(name, **settings)
    train(model, pictures(), config)
    return model


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[key], other[key]) for key in one)


# What training does


@pytest.mark.parametrize("name", ["binary", "plain"])
@pytest.mark.parametrize("trunk", ["dense", "conv"])
def test_training_reduces_the_loss(name, trunk):
    seen = []
    result = train(
        new_model(name, trunk=trunk, width=4),
        pictures(),
        replace(CONFIG, steps=60, learning_rate=0.01, sigma=0.2, temperature=0.5, views=0.3),
        on_step=seen.append,
    )
    losses = [report.loss for report in seen]
    assert len(losses) == result.steps == 60
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) * 0.97
    assert result.images == 24
    assert result.loss == pytest.approx(np.mean(losses[-3:]))
    assert result.seconds > 0


def test_a_trained_model_is_on_the_cpu_and_in_evaluation_mode():
    model = trained()
    assert not model.training
    assert all(value.device.type == "cpu" for value in model.state_dict().values())


@pytest.mark.parametrize("trunk", ["dense", "conv"])
def test_one_seed_gives_one_model_and_another_seed_another(trunk):
    assert same_weights(trained(trunk=trunk), trained(trunk=trunk))
    assert not same_weights(trained(trunk=trunk), trained(replace(CONFIG, seed=1), trunk=trunk))


def test_every_setting_of_the_loss_changes_the_model():
    reference = trained()
    for setting in (
        {"learning_rate": 1e-3},
        {"weight_decay": 0.5},
        {"sigma": 3.0},
        {"temperature": 0.5},
        {"reconstruction": 0.0},
        {"agreement": 0.0},
        {"balance": 0.0},
        {"decorrelation": 1.0},
        {"views": 0.5},
        {"mirror": True},
        {"batch": 6},
    ):
        assert not same_weights(reference, trained(replace(CONFIG, **setting))), setting


def test_reports_follow_the_schedules():
    seen = []
    train(new_model(), pictures(), replace(CONFIG, sigma=2.0), on_step=seen.append)
    assert [report.step for report in seen] == list(range(1, 13))
    assert {report.steps for report in seen} == {12}
    sigmas = [report.sigma for report in seen]
    assert sigmas == sorted(sigmas)
    assert (sigmas[0], sigmas[-1]) == (0.0, 2.0)
    assert max(report.rate for report in seen) <= CONFIG.learning_rate
    assert all(0 <= report.balance <= 1 for report in seen)
    assert set(seen[0].terms) == {"reconstruction", "agreement", "balance", "decorrelation"}
    seconds = [report.seconds for report in seen]
    assert seconds == sorted(seconds)


def test_more_images_in_a_batch_than_there_are_is_no_mistake():
    assert train(new_model(), pictures(2), replace(CONFIG, batch=64)).images == 2


def test_a_budget_ends_the_training_early():
    seen = []
    config = replace(CONFIG, steps=1_000_000, budget=1.0)
    result = train(new_model(), pictures(), config, on_step=seen.append)
    assert result.seconds < 5
    assert 8 < result.steps < 1_000_000
    assert seen[-1].steps == seen[-1].step == result.steps
    assert seen[-1].sigma == pytest.approx(config.sigma, rel=0.3)  # the schedules were fitted, not cut off


def test_a_generous_budget_changes_nothing():
    assert same_weights(trained(), trained(replace(CONFIG, budget=600.0)))


def test_thresholds_of_the_plain_model_balance_its_bits():
    model = trained(name="plain")
    clean = torch.from_numpy(pictures(channels=1)).float() / 255
    with torch.no_grad():
        share = model.code(model.encode(clean)).float().mean(dim=0)
    assert torch.allclose(share, torch.full_like(share, 0.5), atol=1 / 24 + 1e-6)
    assert model.threshold.abs().max() > 0


def test_a_loss_that_is_not_finite_stops_the_training(monkeypatch):
    model = new_model()
    sound = model.loss
    calls = []

    def breaking(views, weights):
        calls.append(1)
        losses = sound(views, weights)
        return Losses(losses.total * math.nan, losses.terms) if len(calls) == 4 else losses

    monkeypatch.setattr(model, "loss", breaking)
    with pytest.raises(TrainingDiverged) as caught:
        train(model, pictures(), replace(CONFIG, learning_rate=1e-3))
    sentence = (
        r"the loss is nan at step 3 with learning rate [0-9.e-]+ and noise [0-9.]+; "
        r"try a smaller learning_rate, or precision='float32'"
    )
    assert re.fullmatch(sentence, str(caught.value))
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_bfloat16_trains_too():
    seen = []
    train(new_model(), pictures(), replace(CONFIG, precision="bfloat16"), on_step=seen.append)
    assert all(math.isfinite(report.loss) for report in seen)


# What it is given


def test_images_and_model_have_to_fit():
    with raises_sentence(ConfigError, "the canonical form gives images (3, 16, 16); the model takes (1, 16, 16)"):
        train(new_model(), pictures(channels=3), CONFIG)
    with raises_sentence(ConfigError, "the canonical form gives images (1, 24, 24); the model takes (1, 16, 16)"):
        train(new_model(), pictures(), CONFIG, form=CanonicalForm.preset("photo", 24))


def test_images_have_to_fit_the_thumb():
    form = CanonicalForm.preset("photo", SIDE)
    sentence = (
        f"training images are (1, 16, 16); expected 1 channels and a side that is a multiple of the thumb, {form.thumb}"
    )
    with raises_sentence(ConfigError, sentence):
        train(new_model(), pictures(), CONFIG, form=form)


def test_colour_images_train_a_colour_model():
    model = new_model(image_shape=(3, SIDE, SIDE))
    assert train(model, pictures(channels=3), replace(CONFIG, steps=2)).steps == 2


def test_cuda_has_to_be_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with raises_sentence(ConfigError, "device is cuda, but torch sees no CUDA device here; use device='auto' or 'cpu'"):
        train(new_model(), pictures(), replace(CONFIG, device="cuda"))


def test_arrays_become_training_images():
    flat = TrainingImages.from_array(pictures())
    assert flat.pixels.shape == (24, 1, SIDE, SIDE)
    assert flat.pixels.flags.c_contiguous
    assert flat.aspects.tolist() == [1.0] * 24
    assert len(flat) == 24
    assert TrainingImages.from_array(pictures(channels=3)).pixels.shape == (24, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 8, 8), np.float32),
        np.zeros((4, 8, 9), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((2, 1, 1, 8, 8), np.uint8),
    ],
)
def test_arrays_of_another_kind_are_refused(array):
    sentence = f"images are {array.dtype} {array.shape}; expected uint8 (n, side, side) or (n, channels, side, side)"
    with raises_sentence(ConfigError, sentence):
        TrainingImages.from_array(array)


@pytest.mark.parametrize("n", [0, 1])
def test_one_image_is_not_enough(n):
    with raises_sentence(ConfigError, f"{n} images given; learning a code needs at least 2"):
        TrainingImages.from_array(pictures(n) if n else np.empty((0, 8, 8), np.uint8))


# A folder of pictures

FORM = CanonicalForm.preset("photo", 8)


def test_bad_files_are_left_out_and_listed(picture_folder):
    (picture_folder / "drawn" / "note.jpg").write_text("not a picture")
    (picture_folder / "empty.png").touch()
    (picture_folder / "gone.png").symlink_to(picture_folder / "nowhere.png")
    calls = []
    images = load_training_images(picture_folder, FORM, on_progress=lambda done, total: calls.append((done, total)))
    assert len(images) == 36
    assert images.pixels.shape == (36, 1, 2 * FORM.thumb, 2 * FORM.thumb)
    assert np.allclose(images.aspects, 96 / 72)
    assert {(problem.relative, problem.reason) for problem in images.problems} == {
        ("drawn/note.jpg", "not an image (the file holds text)"),
        ("empty.png", "empty file (0 bytes)"),
        ("gone.png", "broken link"),
    }
    assert calls == [(done, 38) for done in range(1, 39)]


def test_the_number_of_decoding_threads_changes_nothing(picture_folder):
    one, three = (load_training_images(picture_folder, FORM, workers=workers) for workers in (1, 3))
    assert np.array_equal(one.pixels, three.pixels)


def test_of_a_large_folder_a_sample_is_taken_that_the_seed_decides(picture_folder):
    first, again, other = (load_training_images(picture_folder, FORM, limit=10, seed=seed) for seed in (0, 0, 1))
    assert len(first) == len(other) == 10
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    everything = load_training_images(picture_folder, FORM).pixels.reshape(36, -1)
    rows = [int(np.flatnonzero((everything == picture).all(axis=1))[0]) for picture in first.pixels.reshape(10, -1)]
    assert rows == sorted(set(rows))


def test_a_folder_of_bad_files_cannot_be_learned_from(tmp_path, picture):
    picture.save(tmp_path / "one.png")
    (tmp_path / "note.jpg").write_text("not a picture")
    sentence = (
        f"{tmp_path} holds 1 readable pictures (the first problem: {tmp_path / 'note.jpg'}: not an image (the file "
        "holds text)); learning a code needs at least 2: add pictures or use a trained encoder"
    )
    with raises_sentence(SourceError, sentence):
        load_training_images(tmp_path, FORM)


# What it writes down


def test_a_run_folder_holds_a_log_and_no_pickle(tmp_path):
    run = tmp_path / "runs" / "first"
    train(new_model(), pictures(), CONFIG, run=run)
    names = {path.name for path in run.rglob("*") if path.is_file()}
    assert {"log.jsonl", "state.json", "model.safetensors", "optimiser.safetensors"} <= names
    for name in names:
        assert name.endswith((".safetensors", ".json", ".jsonl")) or "tfevents" in name, name
        assert (run / name).read_bytes()[:2] not in {b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK"}, name
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert TrainConfig.from_dict(lines[0]["config"]) == CONFIG
    assert [line["step"] for line in lines[1:]] == list(range(1, 13))
    for line in lines[1:]:
        assert {"loss", "sigma", "balance", "rate", "seconds", "steps"} <= set(line)
        assert set(line["terms"]) == {"reconstruction", "agreement", "balance", "decorrelation"}


def test_writing_a_log_does_not_change_the_model(tmp_path):
    model = new_model()
    train(model, pictures(), CONFIG, run=tmp_path)
    assert same_weights(model, trained())


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard_gets_the_numbers_where_it_is_installed(tmp_path):
    train(new_model(), pictures(), replace(CONFIG, steps=2), run=tmp_path)
    events = b"".join(path.read_bytes() for path in tmp_path.glob("*tfevents*"))
    for name in (b"loss", b"sigma", b"agreement", b"decorrelation"):
        assert name in events


def test_without_a_run_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained()
    assert list(tmp_path.iterdir()) == []
