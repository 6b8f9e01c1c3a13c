"""The contract that every model keeps, on all its trunks and three image shapes; then the binary model and settings.

What is special about the siblings stands in ``tests/unit/test_siblings.py``.
"""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hashae.codes import KEY_BITS, unpack
from hashae.config import NOISE_KINDS, TRUNKS, ModelConfig, TrainConfig
from hashae.encoder import Encoder
from hashae.errors import ConfigError, UnknownName
from hashae.images.canonical import CanonicalForm
from hashae.models import MODELS, Losses, LossWeights, Views, create_model, list_models
from hashae.models.binary import agreement, balance, decorrelation
from hashae.training import train
from hashae.training.export import export_encoder
from hashae.training.radius import Radii

SHAPES = [(1, 16, 16), (3, 16, 16), (1, 12, 19)]
TERMS = ("reconstruction", "agreement", "balance", "decorrelation")
PENALTIES = ("sparsity", "contraction", "divergence")
LEARNED = 0.985
"""Of the first loss: what the loss of eight pictures has to fall below."""

AT_ZERO = ("binary", "threshold", "pca", "itq", "lsh")
"""Models whose bits are signs; all others take the median."""

SAME_LAYERS = {"denoising", "threshold", "itq", "lsh"}
"""Models with the layers of another one (plain, pca): exporting takes seconds, so these are not exported again."""

SETTINGS = [
    ("plain", {"activation": "relu", "loss": "mse"}),
    ("plain", {"activation": "linear", "loss": "mse", "output": "linear"}),
    ("sparse", {"k": 4}),
    ("denoising", {"corruption": "masking"}),
    ("denoising", {"corruption": "views"}),
    ("denoising", {"gate": True, "loss": "mse"}),
    ("contractive", {"samples": 2}),
    ("convolutional", {"upsampling": "transposed", "kernel": 3}),
    ("convolutional", {"upsampling": "subpixel"}),
    ("convolutional", {"upsampling": "pooling"}),
    ("variational", {"likelihood": "gaussian"}),
    ("variational", {"likelihood": "predicted"}),
    ("stacked", {"training": "joint", "depth": 1}),
    ("overcomplete", {"activation": "linear"}),
    ("binary", {"dropout": 0.2, "scaling": "standard"}),
    ("plain", {"batch_norm": False, "scaling": "robust"}),
    ("stacked", {"batch_norm": False, "dropout": 0.1, "scaling": "minmax"}),
]
"""Settings that choose other layers or another loss; each keeps the contract on its first trunk."""


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def cases():
    """Each model on each of its trunks, on its first trunk with other shapes, and with its settings."""
    for name in list_models():
        first = MODELS[name].trunks[0]
        for trunk in MODELS[name].trunks:
            yield pytest.param((name, {}), trunk, SHAPES[0], id=f"{name}-{trunk}")
        for shape in SHAPES[1:]:
            yield pytest.param((name, {}), first, shape, id=f"{name}-{first}-{'x'.join(map(str, shape))}")
    for name, settings in SETTINGS:
        words = "-".join(map(str, settings.values()))
        yield pytest.param((name, settings), MODELS[name].trunks[0], SHAPES[0], id=f"{name}-{words}")


every_model = pytest.mark.parametrize(("variant", "trunk", "shape"), list(cases()))


def build(variant="binary", trunk="dense", shape=(1, 16, 16), bits=16, **settings):
    name, chosen = variant if isinstance(variant, tuple) else (variant, {})
    return create_model(name, bits=bits, image_shape=shape, trunk=trunk, width=4, **chosen, **settings)


def pictures(n=8, shape=(1, 16, 16), seed=1):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
    return F.interpolate(coarse, size=shape[1:], mode="bilinear").clamp(0, 1)


def views(n=8, shape=(1, 16, 16)):
    clean = pictures(n, shape)
    generator = torch.Generator().manual_seed(2)
    noisy = [(clean + 0.05 * torch.randn(clean.shape, generator=generator)).clamp(0, 1) for _ in range(2)]
    return Views(clean, *noisy)


# The contract


@every_model
def test_shapes_and_ranges(variant, trunk, shape):
    model = build(variant, trunk, shape)
    x = pictures(5, shape)
    logits = model.encode(x)
    assert logits.shape == (5, 16)
    assert torch.isfinite(logits).all()
    latent = model.latent(logits, 1.0)
    assert latent.shape == (5, model.latent_size)
    assert torch.isfinite(latent).all()
    for z in (latent, torch.zeros(5, model.latent_size), torch.ones(5, model.latent_size)):
        images = model.decode(z)
        assert images.shape == (5, *shape)
        assert images.min() >= 0
        assert images.max() <= 1
    code = model.code(logits)
    assert code.shape == (5, 16)
    assert code.dtype == torch.bool
    for images in (model(x), model.reconstruct(x), model.decode_code(torch.ones(5, 16))):
        assert images.shape == x.shape
        assert images.min() >= 0
        assert images.max() <= 1


@every_model
def test_encoding_is_deterministic_and_blind_to_the_rest_of_the_batch(variant, trunk, shape):
    model = build(variant, trunk, shape)
    model.loss(views(8, shape), LossWeights(sigma=1.0))  # moves the batch statistics
    model.eval()
    x = pictures(7, shape)
    with torch.no_grad():
        together = model.encode(x)
        assert torch.equal(model.encode(x), together)
        alone = torch.cat([model.encode(x[i : i + 1]) for i in range(7)])
        backwards = model.encode(x.flip(0)).flip(0)
    assert torch.allclose(alone, together, atol=1e-4)
    assert torch.allclose(backwards, together, atol=1e-4)


@every_model
def test_a_bit_is_a_logit_above_its_threshold(variant, trunk, shape):
    model = build(variant, trunk, shape)
    assert not model.threshold.any()
    logits = torch.tensor([[-1.0, 0.0, 1.0, 0.2] * 4])
    assert torch.equal(model.code(logits), logits > 0)
    model.threshold.fill_(0.5)
    assert torch.equal(model.code(logits), logits > 0.5)


@every_model
def test_the_loss_is_the_weighted_sum_of_its_terms(variant, trunk, shape):
    model = build(variant, trunk, shape)
    weights = LossWeights(0.5, 2.0, 3.0, 0.25, temperature=0.3, sigma=0.0)
    losses = model.loss(views(8, shape), weights)
    assert isinstance(losses, Losses)
    assert set(losses.terms) <= {*TERMS, *PENALTIES}
    assert all(term.ndim == 0 and torch.isfinite(term) for term in losses.terms.values())
    expected = sum(getattr(weights, term, 1.0) * value for term, value in losses.terms.items())
    assert torch.allclose(losses.total, expected)


@every_model
def test_every_parameter_learns(variant, trunk, shape):
    model = build(variant, trunk, shape)
    if model.closed_form:
        assert not list(model.parameters())
        return
    model.loss(views(8, shape), LossWeights(sigma=0.5)).total.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        centred = parameter_name.endswith("bias")  # a bias in front of a batch normalisation changes nothing
        assert centred or parameter.grad.abs().max() > 0, parameter_name


@every_model
def test_eight_pictures_can_be_learned_by_heart(variant, trunk, shape):
    model = build(variant, trunk, shape)
    if model.closed_form or shape != SHAPES[0]:
        return
    data = views(8, shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    seen = []
    for _ in range(60):  # at most
        losses = model.loss(data, LossWeights(sigma=0.2, temperature=0.5))
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        seen.append([float(losses.total.detach()), float(losses.terms["reconstruction"].detach())])
        last = np.mean(seen[-3:], axis=0)
        if len(seen) > 5 and (last < LEARNED * np.array(seen[0])).all():
            return
    raise AssertionError(f"total and reconstruction were {seen[0]}, and are {last} after 60 steps")


@every_model
def test_a_seed_decides_the_weights(variant, trunk, shape):
    def weights(seed):
        torch.manual_seed(seed)
        return build(variant, trunk, shape).state_dict()

    one, again, other = weights(7), weights(7), weights(8)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@every_model
def test_a_model_can_be_built_again_from_its_settings(variant, trunk, shape):
    model = build(variant, trunk, shape)
    settings = {key: value for key, value in vars(model.config).items() if key != "model"}
    again = create_model(model.config.model, **settings)
    again.load_state_dict(model.state_dict())
    x = pictures(3, shape)
    with torch.no_grad():
        assert torch.equal(again.eval().encode(x), model.eval().encode(x))


@every_model
def test_thresholds_fitted_to_the_training_logits_leave_bits_balanced_or_at_zero(variant, trunk, shape):
    model = build(variant, trunk, shape)
    logits = torch.randn(40, 16) * 2 + 3
    model.fit_threshold(logits)
    if model.config.model in AT_ZERO:
        assert not model.threshold.any()
    else:
        share = model.code(logits).float().mean(dim=0)
        assert torch.allclose(share, torch.full((16,), 0.5))


@pytest.mark.parametrize("name", sorted(set(list_models()) - SAME_LAYERS))
def test_the_exported_encoder_gives_the_same_codes_and_pictures(name, tmp_path):
    form = CanonicalForm("plain", 8, 8, 1, trim=False, rank=False)
    images = (255 * pictures(20, form.shape)[:, 0].numpy()).astype(np.uint8)
    model = build(name, MODELS[name].trunks[-1], form.shape, scaling="standard")
    config = TrainConfig(steps=3, batch=10, precision="float32", threads=1, neighbours=1)
    train(model, images, config, form=form)
    export_encoder(model, form, name=name, radii=Radii(2, 2), config=config).save(tmp_path / "encoder.onnx")
    encoder = Encoder.load(tmp_path / "encoder.onnx", threads=1)
    assert encoder.info.made["model"]["options"] == model.config.options
    x = torch.from_numpy(form(images[:, None]))
    with torch.no_grad():
        logits = (model.encode(x) - model.threshold).numpy()
        bits = torch.from_numpy(unpack(encoder.encode(images[:, None]))).float()
        expected = model.decode_code(bits).numpy()
    assert np.allclose(encoder.logits(images[:, None]), logits, atol=1e-4)
    sure = np.abs(logits) > 1e-3  # of the others, the last digit of a sum decides
    assert np.array_equal(bits.numpy().astype(bool)[sure], logits[sure] > 0)
    assert np.allclose(encoder.decode(encoder.encode(images[:, None])), expected, atol=1e-5)


def test_the_registry_names_each_class_once():
    assert list_models() == sorted(MODELS)
    assert {"binary", "plain"} <= set(list_models())
    assert len(set(MODELS.values())) == len(MODELS)
    assert create_model().config == ModelConfig()


def test_an_unknown_model_is_named_beside_the_known_ones():
    with pytest.raises(UnknownName, match=f"^no model is called 'vae9'; known ones are {', '.join(list_models())}$"):
        create_model("vae9")


def test_an_unknown_setting_is_named_beside_the_known_ones():
    shared = "batch_norm, bits, dropout, image_shape, model, noise, scaling, trunk, width"
    sentence = f"unknown setting depth of the binary model; it has none of its own, those of every model {shared}"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        create_model("binary", depth=3)
    sentence = (
        f"unknown setting depth, rh of the sparse model; its own are beta, k, loss, output, rho, those of every model "
        f"{shared}"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        create_model("sparse", depth=3, rh=0.1)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("sparse", {"rho": 0}, "rho of the sparse model is 0.0; expected larger than 0 and smaller than 1"),
        ("sparse", {"rho": 1.0}, "rho of the sparse model is 1.0; expected larger than 0 and smaller than 1"),
        ("sparse", {"rho": "low"}, "rho of the sparse model is 'low'; expected a number"),
        ("sparse", {"rho": True}, "rho of the sparse model is True; expected a number"),
        ("sparse", {"k": 2.5}, "k of the sparse model is 2.5; expected a whole number"),
        ("sparse", {"k": -1}, "k of the sparse model is -1; expected at least 0"),
        ("sparse", {"beta": math.nan}, "beta of the sparse model is nan; expected at least 0"),
        ("sparse", {"k": 17}, "k is 17, of 16 units; expected at most as many as bits"),
        (
            "plain",
            {"activation": "tanh"},
            "activation of the plain model is 'tanh'; expected one of sigmoid, relu, linear",
        ),
        (
            "plain",
            {"output": "linear"},
            "output is 'linear' and loss 'bce'; cross-entropy needs output='sigmoid': use loss='mse'",
        ),
        ("denoising", {"gate": True}, "gate is set; expected output='sigmoid' and loss='mse' with it"),
        ("stacked", {"trunk": "linear"}, "trunk is 'linear'; the stacked model can be built with conv or dense"),
        ("convolutional", {"trunk": "dense"}, "trunk is 'dense'; the convolutional model can be built with conv"),
        (
            "stacked",
            {"trunk": "conv", "depth": 4},
            "depth is 4; images (1, 16, 16) can be halved 3 times: use a smaller depth",
        ),
        (
            "pca",
            {"bits": 264},
            "bits is 264; images (1, 16, 16) have 256 values and as many components: use at most 256 bits, or lsh",
        ),
        ("plain", {"options": 5}, "options is 5; expected a dict of settings by name"),
        ("plain", {"dropout": 1.0}, "dropout is 1.0; expected a number from 0 up to, not including, 1"),
        ("plain", {"dropout": "much"}, "dropout is 'much'; expected a number from 0 up to, not including, 1"),
        ("plain", {"batch_norm": 1}, "batch_norm is 1; expected True or False"),
        ("plain", {"scaling": "log"}, "scaling is 'log'; expected one of none, standard, minmax, robust"),
    ],
)
def test_settings_that_cannot_be_used(name, settings, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        create_model(name, **{"bits": 16, "image_shape": (1, 16, 16), "trunk": "dense", **settings})


def test_a_model_carries_all_its_settings():
    model = build("sparse", rho=0.2)
    assert model.config.options == {"beta": 0.1, "k": 0, "loss": "bce", "output": "sigmoid", "rho": 0.2}
    again = ModelConfig.from_dict(json.loads(model.config.to_json()))
    assert again == model.config
    assert MODELS["sparse"](again).settings == model.settings


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"^bits is 10; expected a multiple of 8 from 8 to 512$"):
        create_model("binary", bits=10)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 13), (2, 33, 17)])
def test_odd_image_shapes_come_back_whole(trunk, shape):
    assert build("binary", trunk, shape).eval()(torch.rand(2, *shape)).shape == (2, *shape)


def test_pictures_too_small_for_convolutions_are_named():
    assert build("binary", "dense", (1, 7, 9)).eval()(torch.rand(2, 1, 7, 9)).shape == (2, 1, 7, 9)
    sentence = (
        "image_shape is (1, 7, 9); a conv trunk halves images three times and expects at least 8 pixels a side: "
        "use trunk='dense'"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        build("binary", "conv", (1, 7, 9))


def test_pooled_features_are_of_images_of_any_side():
    model = build("binary", "pooled", (3, 16, 16)).eval()
    with torch.no_grad():
        large, small = (model.encode(pictures(4, (3, side, side))) for side in (32, 8))
    assert large.shape == small.shape == (4, 16)


def test_the_encoder_of_a_pooled_trunk_gives_the_codes_of_the_model(tmp_path):
    form = CanonicalForm("colour", 16, 16, 3, trim=False, rank=False)
    images = (255 * pictures(20, form.shape).numpy()).astype(np.uint8)
    model = build("binary", "pooled", form.shape)
    config = TrainConfig(
        steps=3, batch=10, augment="tiny", view_side=12, precision="float32", threads=1, neighbours=1, positives=0.3
    )
    train(model, images, config, form=form)
    export_encoder(model, form, name="pooled", radii=Radii(2, 2), config=config).save(tmp_path / "encoder.onnx")
    encoder = Encoder.load(tmp_path / "encoder.onnx", threads=1)
    with torch.no_grad():
        logits = model.encode(torch.from_numpy(form(images))).numpy()
    assert np.allclose(encoder.logits(images), logits, atol=1e-4)


def test_another_side_of_the_views_needs_a_pooled_trunk():
    images = np.zeros((20, 1, 16, 16), np.uint8)
    config = TrainConfig(steps=1, augment="tiny", view_side=12, neighbours=1)
    for settings in ({"trunk": "conv"}, {"trunk": "pooled", "scaling": "standard"}):
        with pytest.raises(ConfigError, match=r"view_side is 12 .* expected trunk='pooled' and scaling='none' with it"):
            train(build(**settings), images, config)


# The binary model


def test_naive_agreement():
    generator = torch.Generator().manual_seed(3)
    signs = torch.rand(10, 24, generator=generator) * 2 - 1
    temperature = 0.2
    total = 0.0
    for i in range(10):
        partner = (i + 5) % 10
        scores = {
            j: float(signs[i] @ signs[j] / (signs[i].norm() * signs[j].norm())) / temperature
            for j in range(10)
            if j != i
        }
        total += -scores[partner] + math.log(sum(math.exp(score) for score in scores.values()))
    assert float(agreement(signs, temperature)) == pytest.approx(total / 10, rel=1e-5)


def test_agreement_of_equal_and_of_opposite_pictures():
    same = torch.ones(8, 16)
    assert float(agreement(same, 0.1)) == pytest.approx(math.log(7), rel=1e-5)  # nobody can be told from the others
    orthogonal = torch.eye(4).repeat(2, 1)
    expected = -1 / 0.5 + math.log(math.exp(1 / 0.5) + 6)
    assert float(agreement(orthogonal, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_agreement_looks_harder_at_small_temperatures():
    generator = torch.Generator().manual_seed(4)
    code = torch.sign(torch.randn(6, 64, generator=generator))
    pairs = torch.cat([code, code])
    assert agreement(pairs, 0.05) < agreement(pairs, 0.5)


def test_naive_balance():
    generator = torch.Generator().manual_seed(5)
    signs = torch.rand(9, 7, generator=generator) * 2 - 1
    expected = sum((sum(float(v) for v in signs[:, bit]) / 9) ** 2 for bit in range(7)) / 7
    assert float(balance(signs)) == pytest.approx(expected, rel=1e-5)


def test_balance_is_zero_for_halves_and_one_for_stuck_bits():
    halves = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert float(balance(halves)) == 0
    assert float(balance(torch.ones(6, 4))) == 1
    assert float(balance(-torch.ones(6, 4))) == 1


def test_naive_decorrelation():
    generator = torch.Generator().manual_seed(6)
    signs = torch.rand(50, 6, generator=generator) * 2 - 1
    correlation = torch.corrcoef(signs.T)
    expected = sum(float(correlation[i, j]) ** 2 for i in range(6) for j in range(6) if i != j) / 6
    assert float(decorrelation(signs)) == pytest.approx(expected, rel=1e-3)


def test_decorrelation_of_independent_and_of_copied_bits():
    independent = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert float(decorrelation(independent)) == pytest.approx(0, abs=1e-6)
    copied = torch.tensor([[1.0], [-1.0]]).repeat(4, 5)  # five times the same bit
    assert float(decorrelation(copied)) == pytest.approx(4, rel=1e-4)
    assert torch.isfinite(decorrelation(torch.ones(4, 5)))  # stuck bits correlate with nothing


@pytest.mark.parametrize("bits", [16, 64, 72, 128])
def test_the_key_is_trained_beside_the_whole_code(bits):
    model = build(bits=bits, noise="none").eval()
    data = views()
    with torch.no_grad():
        losses = model.loss(data, LossWeights(temperature=0.3))
        signs = 2 * model.latent(model.encode(torch.cat([data.first, data.second]))) - 1
    parts = [signs[:, :KEY_BITS], signs] if bits > KEY_BITS else [signs]
    for name, term in (("balance", balance), ("decorrelation", decorrelation)):
        expected = torch.stack([term(part) for part in parts]).mean()
        assert torch.allclose(losses.terms[name], expected, atol=1e-6), name
    expected = torch.stack([agreement(part, 0.3) for part in parts]).mean()
    assert torch.allclose(losses.terms["agreement"], expected, atol=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_weight_zero_is_not_computed(term):
    losses = build().loss(views(), LossWeights(**{term: 0.0}))
    assert set(losses.terms) == set(TERMS) - {term}


def test_without_any_term_the_loss_is_zero_and_can_still_be_derived():
    losses = build().loss(views(), LossWeights(0, 0, 0, 0))
    assert losses.terms == {}
    assert losses.total.detach() == 0
    losses.total.backward()


@pytest.mark.parametrize("noise", NOISE_KINDS)
def test_noise_is_fresh_in_every_call_where_there_is_noise(noise):
    model = build(noise=noise)
    logits = torch.linspace(-2, 2, 16).repeat(4, 1)
    one, other = model.latent(logits, 1.0), model.latent(logits, 1.0)
    assert torch.equal(one, other) == (noise in {"none", "straight-through"})
    if noise == "none":
        assert torch.equal(one, torch.sigmoid(logits))
    if noise in {"rising", "constant"}:
        assert torch.equal(model.latent(logits, 0.0), torch.sigmoid(logits))


def test_noise_is_normal_with_the_given_deviation():
    model = build(noise="rising")
    logits = torch.full((4000, 16), 0.7)
    noise = torch.logit(model.latent(logits, 0.5).double()) - 0.7
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(0.5, abs=0.02)


def test_straight_through_rounds_forwards_and_not_backwards():
    model = build(noise="straight-through")
    logits = torch.linspace(-2, 2, 16).requires_grad_()
    z = model.latent(logits, 5.0)
    assert torch.allclose(z, (logits > 0).float(), atol=1e-6)
    z.sum().backward()
    soft = torch.sigmoid(logits.detach())
    assert torch.allclose(logits.grad, soft * (1 - soft), atol=1e-6)


def test_reconstruction_is_the_cross_entropy_with_the_clean_pictures():
    model = build(noise="none")
    data = views()
    logits = model.encode(torch.cat([data.first, data.second]))[: len(data.first)]
    expected = F.binary_cross_entropy(model.decode(model.latent(logits)), data.clean)
    assert torch.allclose(model.loss(data, LossWeights()).terms["reconstruction"], expected, atol=1e-5)
