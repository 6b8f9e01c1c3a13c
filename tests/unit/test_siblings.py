"""What is special about each sibling of the binary model: penalty, noise and layers, against slower methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from torch.nn import functional as F

from hashae.codes import unpack
from hashae.config import TrainConfig
from hashae.evaluation import create_baseline
from hashae.models import LossWeights, Views, create_model, list_models
from hashae.models.contractive import estimated_norm
from hashae.models.convolutional import checkerboard, doubling
from hashae.models.scaling import SMALLEST, InputScaling
from hashae.models.sibling import median
from hashae.models.sparse import sparsity
from hashae.models.variational import divergence
from hashae.training import train

SIDE = 8


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def build(name, bits=8, trunk="linear", **settings):
    return create_model(name, **{"bits": bits, "image_shape": (1, SIDE, SIDE), "trunk": trunk, "width": 2, **settings})


def pictures(n=24, seed=1):
    """Return smooth pictures ``float (n, 1, 8, 8)`` in [0, 1]."""
    coarse = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").clamp(0, 1)


def same(clean):
    return Views(clean, clean, clean)


def learn(model, clean, steps, lr=0.01, **weights):
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        loss = model.loss(same(clean), LossWeights(**weights)).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


# Codes of models that do not make their units binary


def test_the_median_lies_between_values():
    assert median(torch.tensor([[4.0, 1.0], [1.0, 1.0], [3.0, 9.0], [2.0, 9.0]])).tolist() == [2.5, 5.0]
    assert median(torch.tensor([[4.0], [1.0], [2.0]])).tolist() == [3.0]  # no value owes its bit to a rounding error
    assert median(torch.tensor([[4.0]])).tolist() == [4.0]


def test_a_code_is_decoded_from_the_mean_latents_of_its_bits():
    model = build("plain")
    logits = torch.randn(41, 8)
    model.fit_threshold(logits)
    z, ones = torch.sigmoid(logits), logits > model.threshold
    for bit in range(8):
        assert float(model.low[bit]) == pytest.approx(float(z[~ones[:, bit], bit].mean()), rel=1e-5)
        assert float(model.high[bit]) == pytest.approx(float(z[ones[:, bit], bit].mean()), rel=1e-5)
    bits = ones[:3].float()
    levels = torch.where(ones[:3], model.high, model.low)
    assert torch.allclose(model.decode_code(bits), model.decode(levels), atol=1e-6)


def test_plain_thresholding_rounds_the_activation():
    model = build("threshold")
    logits = torch.randn(20, 8) + 1
    model.fit_threshold(logits)
    assert torch.equal(model.code(logits), torch.sigmoid(logits) > 0.5)
    assert torch.equal(model.decode_code(torch.ones(2, 8)), model.decode(torch.ones(2, 8)))


# Plain


@pytest.mark.parametrize(
    ("activation", "function"), [("sigmoid", torch.sigmoid), ("relu", torch.relu), ("linear", lambda x: x)]
)
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_the_plain_model_has_one_term(activation, function, loss):
    model, clean = build("plain", activation=activation, loss=loss), pictures()
    logits = model.encode(clean)
    assert torch.equal(model.latent(logits, 5.0), function(logits))
    terms = model.loss(same(clean), LossWeights()).terms
    assert set(terms) == {"reconstruction"}
    expected = (F.binary_cross_entropy if loss == "bce" else F.mse_loss)(model.reconstruct(clean), clean)
    assert torch.allclose(terms["reconstruction"], expected, atol=1e-6)


def test_the_linear_model_spans_the_principal_components():
    rng = np.random.default_rng(0)
    spread = np.r_[np.linspace(0.2, 0.1, 8), np.full(56, 0.01)]
    axes = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    data = rng.normal(size=(300, 64)) * spread @ axes.T  # centred, as for PCA: a mean would be learned first, slowly
    model = build("plain", activation="linear", output="linear", loss="mse")
    learn(model, torch.from_numpy(data).float().reshape(-1, 1, SIDE, SIDE), 700, lr=0.1)
    decoder = model.decoder[0].weight.detach().numpy()  # (64, 8)
    components = PCA(8).fit(data).components_.T
    assert np.rad2deg(subspace_angles(decoder, components)).max() < 3
    assert np.rad2deg(subspace_angles(decoder, rng.normal(size=(64, 8)))).max() > 60


# Overcomplete


def test_a_latent_wider_than_the_picture_copies_what_has_no_structure():
    noise, unseen = torch.rand(600, 1, SIDE, SIDE), torch.rand(50, 1, SIDE, SIDE)
    settings = {"activation": "linear", "output": "linear", "loss": "mse"}
    errors = {}
    for name in ("overcomplete", "plain"):
        model = learn(build(name, **settings), noise, 300, lr=0.01)
        with torch.no_grad():
            errors[name] = float(F.mse_loss(model.reconstruct(unseen), unseen))
    assert errors["overcomplete"] < 0.002
    assert errors["plain"] > 0.06  # of a variance of 1/12: eight numbers cannot hold 64


@pytest.mark.parametrize("trunk", ["linear", "dense", "conv"])
def test_every_layer_of_the_overcomplete_model_is_wider_than_the_picture(trunk):
    model, sizes = build("overcomplete", trunk=trunk, factor=2.0).eval(), []
    assert model.latent_size == 128
    for part in model.modules():
        part.register_forward_hook(lambda _, __, out: sizes.append(out[0].numel()))
    model.wide(pictures(2))
    assert min(sizes) >= 64


# Stacked


def test_layers_take_turns_and_then_all_learn():
    model = build("stacked", trunk="dense", depth=2, pretraining=0.6)
    assert [model.layer_in_turn(p) for p in (0, 0.19, 0.21, 0.39, 0.41, 0.59, 0.6, 1)] == [0, 0, 1, 1, 2, 2, None, None]
    assert build("stacked", trunk="dense", training="joint").layer_in_turn(0.0) is None


@pytest.mark.parametrize("trunk", ["dense", "conv"])
@pytest.mark.parametrize(("progress", "layer"), [(0.0, 0), (0.21, 1), (0.41, 2), (0.9, None)])
def test_only_the_layer_whose_turn_it_is_learns(trunk, progress, layer):
    model = build("stacked", trunk=trunk, depth=2, pretraining=0.6)
    model.loss(same(pictures()), LossWeights(progress=progress)).total.backward()
    for number, pair in enumerate(zip(model.encoders, reversed(model.decoder), strict=True)):
        for part in pair:
            learns = any(weight.grad is not None for weight in part.parameters())
            assert learns == (layer is None or number == layer)


def test_a_layer_learns_the_codes_of_the_layer_before():
    model = build("stacked", trunk="dense", depth=1, pretraining=0.6, batch_norm=False).eval()
    clean = pictures()
    below = model.encoders[0](clean)
    again = model.decoder[0](torch.sigmoid(model.encoders[1](below)))
    found = model.loss(same(clean), LossWeights(progress=0.5)).terms["reconstruction"]
    assert torch.allclose(found, F.mse_loss(again, below), atol=1e-6)


def test_training_layer_by_layer_gives_another_model_than_training_at_once():
    config = TrainConfig(steps=12, batch=8, precision="float32", threads=1, neighbours=1)
    images = (255 * pictures()[:, 0].numpy()).astype(np.uint8)

    def trained(**settings):
        torch.manual_seed(3)
        model = build("stacked", trunk="dense", **settings)
        train(model, images, config)
        return model.encode(pictures())

    assert not torch.allclose(trained(), trained(training="joint"))
    assert torch.equal(trained(), trained())


# Sparse


def test_naive_sparsity():
    z = torch.rand(30, 5)
    total = 0.0
    for unit in range(5):
        mean = float(z[:, unit].mean())
        total += 0.2 * math.log(0.2 / mean) + 0.8 * math.log(0.8 / (1 - mean))
    assert float(sparsity(z, 0.2)) == pytest.approx(total / 5, rel=1e-5)
    assert float(sparsity(torch.full((9, 4), 0.3), 0.3)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(sparsity(torch.zeros(9, 4), 0.3))


def test_the_penalty_brings_the_activation_to_rho():
    for rho in (0.05, 0.3):
        model = learn(build("sparse", rho=rho, beta=1.0), pictures(), 200, lr=0.05)
        mean = model.latent(model.encode(pictures())).mean(dim=0).detach()
        assert float((mean - rho).abs().max()) < 0.05
    plain = learn(build("sparse", beta=0.0), pictures(), 100, lr=0.05)
    assert float(plain.latent(plain.encode(pictures())).mean().detach()) > 0.2


def test_k_largest_activations_are_kept():
    model = build("sparse", k=3)
    logits = torch.randn(10, 8)
    z = model.latent(logits)
    assert ((z > 0).sum(dim=1) == 3).all()
    for row, given in zip(z, torch.sigmoid(logits), strict=True):
        assert torch.equal(row[row > 0].sort().values, given.sort().values[-3:])
    assert set(model.loss(same(pictures()), LossWeights()).terms) == {"reconstruction"}


# Denoising


def test_gaussian_corruption_has_the_given_deviation_and_no_bias():
    model, clean = build("denoising", amount=0.2), torch.full((400, 1, SIDE, SIDE), 0.9)
    noise = model.corrupt(clean) - clean
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(0.2, abs=0.01)
    assert not torch.equal(model.corrupt(clean), model.corrupt(clean))


def test_masking_removes_the_given_share_of_pixels():
    model, clean = build("denoising", corruption="masking", amount=0.25), 0.5 + torch.rand(300, 3, SIDE, SIDE) / 2
    seen = model.corrupt(clean)
    masked = seen[:, :1] == 0
    assert float(masked.float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(seen, torch.where(masked, 0.0, clean))  # all channels of a pixel go together


def test_the_denoising_model_sees_corrupted_pictures_and_is_judged_by_clean_ones():
    clean = pictures()
    model = build("denoising", corruption="views")
    views = Views(clean, clean.flip(2), clean.flip(3))
    expected = F.binary_cross_entropy(model.reconstruct(clean.flip(2)), clean)
    assert torch.allclose(model.loss(views, LossWeights()).terms["reconstruction"], expected, atol=1e-6)


def test_without_noise_the_denoising_model_is_the_plain_one():
    clean, plain, quiet = pictures(), build("plain"), build("denoising", amount=0.0)
    quiet.load_state_dict(plain.state_dict())
    assert torch.equal(plain.loss(same(clean), LossWeights()).total, quiet.loss(same(clean), LossWeights()).total)


def test_a_gate_keeps_a_share_of_what_was_seen():
    model, x = build("denoising", gate=True, loss="mse", amount=0.0), pictures()
    model.prepare(pictures(50, seed=5))
    mean = pictures(50, seed=5).mean(dim=0)
    gate = model.decode(model.latent(model.encode(x)))
    assert torch.allclose(model.reconstruct(x), mean + (x - mean) * gate, atol=1e-6)
    expected = F.mse_loss(mean + (x - mean) * gate, x)
    assert torch.allclose(model.loss(same(x), LossWeights()).terms["reconstruction"], expected, atol=1e-6)


# Contractive


def jacobian_norms(model, x):
    """The squared norm of the Jacobian of each picture, by autograd, a row at a time."""

    def encode(one):
        return model.latent(model.encode(one[None]))[0]

    return torch.stack([torch.autograd.functional.jacobian(encode, one).square().sum() for one in x])


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_the_norm_of_one_sigmoid_layer_is_exact(scaling):
    model, x = build("contractive", scaling=scaling), pictures(4)
    model.prepare(pictures(50, seed=5))
    norm = model.exact_norm(model.latent(model.encode(x)))
    assert torch.allclose(norm, jacobian_norms(model, x), rtol=1e-4)
    term = model.loss(same(x), LossWeights()).terms["contraction"]
    assert torch.allclose(term, 0.1 * norm.mean() / x[0].numel(), rtol=1e-4)


@pytest.mark.parametrize("trunk", ["dense", "conv"])
def test_the_norm_of_a_deep_encoder_is_estimated_without_bias(trunk):
    model, x = build("contractive", trunk=trunk, batch_norm=False), pictures(3).requires_grad_()
    estimate = estimated_norm(model.latent(model.encode(x)), x, samples=600).detach()
    assert torch.allclose(estimate, jacobian_norms(model, x.detach()), rtol=0.2)


def test_the_penalty_makes_the_code_indifferent_to_small_changes():
    clean = pictures()
    free, bound = (learn(build("contractive", contraction=c), clean, 150, lr=0.02) for c in (0.0, 24.0))
    assert jacobian_norms(bound, clean[:6]).mean() < 0.5 * jacobian_norms(free, clean[:6]).mean()


# Convolutional


@pytest.mark.parametrize("kind", ["transposed", "resize", "subpixel", "pooling"])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7])
def test_doubling_doubles(kind, kernel):
    assert doubling(kind, 3, 5, kernel)(torch.rand(2, 3, 4, 7)).shape == (2, 5, 8, 14)


def test_the_checkerboard_measure_is_the_energy_at_the_frequency_of_the_stride():
    images = torch.rand(3, 2, 16, 16, dtype=torch.float64)
    for stride in (2, 4):
        inner = images[:, :, 2:-2, 2:-2]
        spectrum = torch.fft.fft2(inner).abs().square()
        spectrum[:, :, 0, 0] = 0  # the mean is no pattern
        step = inner.shape[-1] // stride
        expected = spectrum[:, :, ::step, ::step].sum(dim=(1, 2, 3)) / spectrum.sum(dim=(1, 2, 3))
        assert torch.allclose(checkerboard(images, stride), expected)


def test_the_checkerboard_measure_of_known_patterns():
    board = torch.arange(12)[:, None] + torch.arange(12)[None, :]
    assert float(checkerboard((board % 2).float()[None, None])) == pytest.approx(1)
    assert float(checkerboard(torch.full((1, 1, 12, 12), 0.3))) == 0
    assert float(checkerboard(torch.linspace(0, 1, 12).expand(1, 1, 12, 12))) < 0.1


def test_a_kernel_that_is_no_multiple_of_the_stride_leaves_a_checkerboard():
    energy = {}
    for kernel in (3, 4, 5, 6):
        layer = doubling("transposed", 8, 1, kernel)
        torch.nn.init.constant_(layer.weight, 0.1)  # equal weights: what is left is how often a pixel is covered
        with torch.no_grad():
            energy[kernel] = float(checkerboard(layer(torch.ones(1, 8, 10, 10)), margin=4))
    assert energy[4] == energy[6] == 0
    assert energy[3] == pytest.approx(1)
    assert energy[5] == pytest.approx(1)


def test_random_decoders_show_it_too():
    def energy(**settings):
        found = []
        for seed in range(6):
            torch.manual_seed(seed)
            model = build("convolutional", trunk="conv", image_shape=(1, 32, 32), width=8, **settings)
            with torch.no_grad():
                found.append(float(checkerboard(model.decode(torch.rand(16, 8))).mean()))
        return float(np.mean(found))

    assert energy(upsampling="transposed", kernel=3) > 1.2 * energy(upsampling="transposed", kernel=4)
    assert energy(upsampling="resize") < 0.2 * energy(upsampling="transposed", kernel=4)


# Variational


def test_the_divergence_is_what_samples_say():
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    latents = torch.distributions.Normal(mean, (log_variance / 2).exp())
    z = latents.sample((40_000,))
    prior = torch.distributions.Normal(0.0, 1.0)
    estimate = (latents.log_prob(z) - prior.log_prob(z)).sum(dim=2).mean(dim=0)
    assert torch.allclose(divergence(mean, log_variance), estimate, atol=0.08)
    assert float(divergence(torch.zeros(1, 4), torch.zeros(1, 4))) == 0


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "predicted"])
def test_the_loss_of_the_variational_model_is_the_negative_evidence_bound(likelihood):
    model, x = build("variational", trunk="dense", likelihood=likelihood, batch_norm=False), pictures(5)
    mean, log_variance = model.posterior(x)
    torch.manual_seed(8)
    terms = model.loss(same(x), LossWeights()).terms
    torch.manual_seed(8)
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    image, variance = model.decode_distribution(z)
    if likelihood == "bernoulli":
        log_likelihood = x * image.log() + (1 - x) * (1 - image).log()
    else:
        log_likelihood = torch.distributions.Normal(image, variance.sqrt()).log_prob(x)
    assert torch.allclose(terms["reconstruction"], -log_likelihood.mean(), atol=1e-5)
    assert torch.allclose(terms["divergence"], divergence(mean, log_variance).mean() / 64, atol=1e-6)


def test_lambda_weighs_the_divergence():
    losses = {}
    for kl in (0.0, 1.0, 4.0):
        torch.manual_seed(0)
        model = build("variational", kl=kl)
        losses[kl] = float(model.loss(same(pictures()), LossWeights()).terms["divergence"].detach())
    assert losses[0.0] == 0
    assert losses[4.0] == pytest.approx(4 * losses[1.0])


def test_predicted_variances_say_where_pixels_vary():
    spread = torch.full((1, 1, SIDE, SIDE), 0.02)
    spread[..., 4:] = 0.2
    images = (0.5 + spread * torch.randn(400, 1, SIDE, SIDE)).clamp(0, 1)
    model = learn(build("variational", likelihood="predicted"), images, 300, lr=0.02)
    with torch.no_grad():
        variance = model.decode_distribution(model.latent(model.encode(images)))[1].mean(dim=0)[0]
    assert float(variance[:, 4:].sqrt().mean()) == pytest.approx(0.2, abs=0.04)
    assert float(variance[:, :4].sqrt().mean()) == pytest.approx(0.02, abs=0.02)


# Linear references


@pytest.mark.parametrize("name", ["lsh", "pca", "itq"])
def test_linear_references_are_the_hashes_of_the_evaluation(name):
    images = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE), dtype=np.uint8)
    model = build(name, bits=16, seed=4)
    result = train(model, images)
    assert result.steps == 0
    assert result.loss > 0
    x = images[:, None].astype(np.float32) / 255
    expected = unpack(create_baseline(name, 16, 4).fit(x).encode(x))
    with torch.no_grad():
        found = model.code(model.encode(torch.from_numpy(x))).numpy()
    assert (found == expected).mean() > 0.999


def test_pca_reconstructs_best_of_all_linear_maps():
    images = (255 * pictures(60)[:, 0].numpy()).astype(np.uint8)
    x = torch.from_numpy(images[:, None]).float() / 255
    errors = {}
    for name in ("pca", "lsh"):
        model = build(name)
        train(model, images)
        errors[name] = float(F.mse_loss(model.reconstruct(x), x))
    flat = x.flatten(1).numpy()
    pca = PCA(8).fit(flat)
    best = float(((np.clip(pca.inverse_transform(pca.transform(flat)), 0, 1) - flat) ** 2).mean())
    assert errors["pca"] == pytest.approx(best, rel=0.02)
    assert errors["lsh"] > 2 * best


# Layers that all share


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
def test_inputs_are_scaled_as_by_scikit_learn(kind, reference):
    images = torch.rand(80, 1, SIDE, SIDE, dtype=torch.float64) ** 2
    scaling = InputScaling(kind, (1, SIDE, SIDE)).double()
    scaling.fit(images)
    expected = reference.fit_transform(images.flatten(1).numpy())
    assert np.allclose(scaling(images).flatten(1).numpy(), expected, atol=1e-5)


def test_pixels_that_never_change_are_not_blown_up():
    scaling = InputScaling("standard", (1, SIDE, SIDE))
    scaling.fit(torch.zeros(5, 1, SIDE, SIDE))
    assert torch.equal(scaling.scale, torch.full_like(scaling.scale, SMALLEST))
    assert float(scaling(torch.full((1, 1, SIDE, SIDE), 1 / 255)).abs().max()) < 0.2


@pytest.mark.parametrize("name", ["binary", "plain", "pca"])
def test_scaling_is_fitted_to_the_training_images_and_stays(name):
    images = np.random.default_rng(0).integers(50, 100, (40, SIDE, SIDE), dtype=np.uint8)
    model = build(name, scaling="minmax")
    train(model, images, TrainConfig(steps=3, batch=8, precision="float32", threads=1, neighbours=1))
    x = torch.from_numpy(images[:, None]).float() / 255
    assert torch.allclose(model.scaling.shift[0], x.amin(dim=0), atol=1e-6)
    assert float(model.scaled(x).min()) == pytest.approx(0, abs=1e-5)
    assert float(model.scaled(x).max()) == pytest.approx(1, abs=1e-5)
    assert float(model.scaled(2 * x).max()) > 1.5


@pytest.mark.parametrize("trunk", ["dense", "conv"])
def test_dropout_is_for_training_only(trunk):
    model, x = build("plain", trunk=trunk, dropout=0.5, batch_norm=False), pictures(4)
    assert not torch.equal(model.encode(x), model.encode(x))
    model.eval()
    assert torch.equal(model.encode(x), model.encode(x))


@pytest.mark.parametrize("name", list_models())
def test_batch_normalisation_can_be_left_out(name):
    trunk = "conv" if name == "convolutional" else "dense"

    def kinds(**settings):
        return [type(part).__name__ for part in build(name, trunk=trunk, **settings).trunk.modules()]

    if name in {"stacked", "pca", "itq", "lsh"}:
        return
    assert any(kind.startswith("BatchNorm") for kind in kinds())
    assert not any(kind.startswith("BatchNorm") for kind in kinds(batch_norm=False))
