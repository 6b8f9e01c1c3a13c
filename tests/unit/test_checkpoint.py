"""Checkpoints: a stopped run goes on as if it had not been stopped, and a damaged one says what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hashae.config import TrainConfig
from hashae.errors import CheckpointError
from hashae.models import create_model
from hashae.training import train

SIDE = 16
CONFIG = TrainConfig(steps=12, batch=8, precision="float32", device="cpu", threads=1, checkpoint_every=1e-9)
PICTURES = np.random.default_rng(0).integers(0, 256, (24, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def new_model(name="binary", seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"bits": 16, "image_shape": (1, SIDE, SIDE), "trunk": "dense", "width": 2, **settings}
    return create_model(name, **settings)


def stopped(model, run, config=CONFIG, at=7):
    """Train `model` until step `at` has been made but not saved, as by Ctrl-C."""

    def interrupt(report):
        if report.step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, PICTURES, config, run=run, on_step=interrupt)


def refused(run, sentence, model=None):
    with pytest.raises(CheckpointError, match=sentence):
        train(model or new_model(), PICTURES, CONFIG, run=run, resume=True)


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run that was stopped after six saved steps."""
    folder = tmp_path / "run"
    stopped(new_model(), folder)
    return folder


@pytest.mark.parametrize("name", ["binary", "plain"])
@pytest.mark.parametrize("trunk", ["dense", "conv"])
def test_a_resumed_run_ends_where_one_in_one_go_ends(tmp_path, name, trunk):
    whole = new_model(name, trunk=trunk)
    in_one_go = train(whole, PICTURES, CONFIG)
    stopped(new_model(name, trunk=trunk), tmp_path)
    resumed, seen = new_model(name, seed=9, trunk=trunk), []
    result = train(resumed, PICTURES, CONFIG, run=tmp_path, resume=True, on_step=seen.append)
    assert [report.step for report in seen] == list(range(7, 13))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert result.loss == in_one_go.loss
    assert result.steps == 12


def test_a_run_may_be_stopped_more_than_once(tmp_path):
    whole = new_model()
    train(whole, PICTURES, CONFIG)
    stopped(new_model(), tmp_path, at=4)

    def interrupt(report):
        if report.step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(new_model(), PICTURES, CONFIG, run=tmp_path, resume=True, on_step=interrupt)
    resumed = new_model()
    train(resumed, PICTURES, CONFIG, run=tmp_path, resume=True)
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_a_finished_run_is_finished_when_resumed(tmp_path):
    whole = new_model()
    train(whole, PICTURES, CONFIG, run=tmp_path)
    again = new_model(seed=9)
    assert train(again, PICTURES, CONFIG, run=tmp_path, resume=True).steps == 12
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whole.state_dict().items())


def test_the_log_goes_on_in_the_same_file(run):
    train(new_model(), PICTURES, CONFIG, run=run, resume=True)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "step" in line] == [*range(1, 8), *range(7, 13)]


def test_checkpoints_are_rare_unless_asked_for(tmp_path):
    def interrupt(report):
        if report.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(new_model(), PICTURES, replace(CONFIG, checkpoint_every=3600.0), run=tmp_path, on_step=interrupt)
    assert not (tmp_path / "state.json").exists()


def test_a_checkpoint_says_which_step_it_is(run):
    state = json.loads((run / "state.json").read_text("utf-8"))
    assert (state["step"], state["steps"], state["format"]) == (6, 12, 1)
    assert state["model"]["bits"] == 16
    assert TrainConfig.from_dict(state["train"]) == CONFIG
    assert not list(run.glob("*.part"))


def test_a_folder_without_a_checkpoint(tmp_path):
    sentence = "holds no checkpoint to resume from; train without resuming first$"
    refused(tmp_path, f"^{re.escape(str(tmp_path))} {sentence}")
    refused(None, f"^None {sentence}")


def test_a_checkpoint_of_another_model(run):
    for other, differences in (
        (new_model(bits=32), "bits 16, not 32"),
        (new_model("plain"), "model binary, not plain"),
        (new_model(trunk="conv", noise="none"), "trunk dense, not conv, noise rising, not none"),
    ):
        refused(run, rf"run holds another model \({differences}\); start a new run folder$", other)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 1, "step": "six"}',
        b'{"format": 1, "step": 6, "steps": 12, "seconds": 1}',
        b'{"format": 1, "step": 6, "steps": 12, "seconds": 1, "model": {"depth": 3}}',
        b'{"format": 1, "step": 6, "steps": 12, "seconds": 1, "model": {"bits": "many"}}',
        b'{"format": 1, "step": 6, "steps": 12, "seconds": 1, "model": 5}',
        b'{"format": 1, "step": 6, "steps": 12, "seconds": 1, "model": null}',
    ],
)
def test_a_damaged_state(run, text):
    (run / "state.json").write_bytes(text)
    refused(run, r"/state\.json is damaged \(.*\); start a new run folder$")


def test_a_state_without_the_number_of_steps(run):
    state = json.loads((run / "state.json").read_text("utf-8"))
    del state["steps"]
    (run / "state.json").write_text(json.dumps(state), "utf-8")
    refused(run, r"/state\.json is damaged \('steps'\); start a new run folder$")


def test_a_state_of_another_format(run):
    state = json.loads((run / "state.json").read_text("utf-8"))
    (run / "state.json").write_text(json.dumps({**state, "format": 2}), "utf-8")
    refused(run, "run has checkpoint format 2; this version reads 1$")


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
def test_damaged_tensors(run, name, damage):
    path = run / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "garbage": bytes(range(256)) * 10}[damage])
    refused(run, rf"/{re.escape(name)} is missing or damaged \((.|\n)*\); start a new run folder$")


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors"])
def test_files_of_two_steps_are_not_mixed(run, tmp_path, name):
    stopped(new_model(), tmp_path / "other", at=4)
    (run / name).write_bytes((tmp_path / "other" / name).read_bytes())
    refused(
        run,
        rf"/{re.escape(name)} is of step 3, state\.json of step 6: the run was killed while saving; "
        "start a new run folder$",
    )


def test_tensors_that_do_not_fit_the_model(run, tmp_path):
    stopped(new_model(width=4), tmp_path / "other")
    for name in ("model.safetensors", "optimiser.safetensors"):
        kept = (run / name).read_bytes()
        (run / name).write_bytes((tmp_path / "other" / name).read_bytes())
        if name == "model.safetensors":
            refused(run, r"run does not fit this model \((.|\n)*\); start a new run folder$")
        (run / name).write_bytes(kept)


def test_moments_of_weights_that_do_not_exist(run):
    (run / "optimiser.safetensors").unlink()
    from safetensors.torch import save_file

    save_file(
        {"99.exp_avg": torch.zeros(3), "torch_rng": torch.get_rng_state()}, run / "optimiser.safetensors", {"step": "6"}
    )
    refused(run, r"run does not fit this model \(.*\); start a new run folder$")


def test_a_checkpoint_without_random_state(run):
    from safetensors.torch import save_file

    save_file({"0.exp_avg": torch.zeros(3)}, run / "optimiser.safetensors", {"step": "6"})
    refused(run, r"run does not fit this model \('torch_rng'\); start a new run folder$")
