"""The schedules of noise and learning rate, by the values they are documented to pass through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashae.training.schedule import learning_rate, noise_sigma

shares = st.floats(0, 1)


@pytest.mark.parametrize(("progress", "expected"), [(0, 0), (0.2, 0.5), (0.4, 1), (0.8, 2), (0.9, 2), (1, 2)])
def test_rising_noise_is_linear_up_to_four_fifths(progress, expected):
    assert noise_sigma(progress, 2.0) == pytest.approx(expected)
    assert noise_sigma(progress, 2.0, "rising") == pytest.approx(expected)


@given(one=shares, other=shares, sigma=st.floats(0, 10))
def test_rising_noise_never_falls_and_never_passes_its_end(one, other, sigma):
    low, high = sorted((one, other))
    assert 0 <= noise_sigma(low, sigma) <= noise_sigma(high, sigma) <= sigma


@given(progress=shares)
def test_constant_noise_is_constant(progress):
    assert noise_sigma(progress, 1.5, "constant") == 1.5


@given(progress=shares, kind=st.sampled_from(["none", "straight-through"]))
def test_the_other_kinds_have_no_noise(progress, kind):
    assert noise_sigma(progress, 1.5, kind) == 0.0


def test_the_learning_rate_warms_up_peaks_and_falls_to_a_hundredth():
    assert learning_rate(0, 1.0) == pytest.approx(0.05)
    assert learning_rate(0.025, 1.0) == pytest.approx(0.05 + 0.95 / 2)
    assert learning_rate(0.05, 1.0) == pytest.approx(1.0)
    assert learning_rate(0.525, 1.0) == pytest.approx(0.01 + 0.99 / 2)
    assert learning_rate(1, 1.0) == pytest.approx(0.01)


@given(one=shares, other=shares)
def test_the_learning_rate_falls_after_the_warm_up(one, other):
    low, high = sorted((max(one, 0.05), max(other, 0.05)))
    assert learning_rate(high, 3.0) <= learning_rate(low, 3.0) + 1e-12


@given(progress=shares, peak=st.floats(1e-6, 10))
def test_the_learning_rate_stays_between_a_hundredth_and_the_peak(progress, peak):
    rate = learning_rate(progress, peak)
    assert 0.01 * peak <= rate * (1 + 1e-9)
    assert rate <= peak * (1 + 1e-9)


def test_the_learning_rate_has_no_jump_at_the_end_of_the_warm_up():
    assert math.isclose(learning_rate(0.05 - 1e-9, 1.0), learning_rate(0.05, 1.0), rel_tol=1e-6)


def test_a_longer_warm_up_moves_the_peak():
    assert learning_rate(0.2, 1.0, warm_up=0.2) == pytest.approx(1.0)
    assert learning_rate(0.1, 1.0, warm_up=0.2) == pytest.approx(0.525)
