"""Fits of memory: on simulated series with gaps, and on real payments block by block and far apart."""

from __future__ import annotations

import csv
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxstake.analysis.calibrate import ConvergenceWarning
from jaxstake.calibration import memory as calibration
from jaxstake.calibration.memory import KINDS, fit_memory
from jaxstake.economy import memory
from jaxstake.economy.block_value import LogNormal, LogNormalPareto
from jaxstake.economy.memory import Memory, ar1

KEY = jax.random.key(11)
PAYMENT = LogNormal(log_mean=-3.0, log_std=0.9)
REAL = LogNormalPareto(
    log_mean=-3.0631, log_std=0.6778, threshold_eth=0.1215, tail_share=0.2, tail_scale_eth=0.0933, tail_shape=0.7674
)
"""The fit of this family to the real payments, block by block."""
SMALL = 1_500
"""Payments of a simulated series; one number, so that every kind compiles once."""


def simulated(rng, parameters, *, known=SMALL, spacing=1):
    """Payments of a series in NumPy with a fifth of the blocks unknown, and their slots."""
    parameters = {
        "level_share": 0.0,
        "level_persistence": 0.0,
        "short_share": 0.0,
        "short_persistence": 0.0,
    } | parameters
    count = known * 5 // 4
    noise = rng.normal(size=(3, count))
    parts = []
    for name, draws in zip(("level", "short"), noise[:2], strict=True):
        keep = parameters[f"{name}_persistence"] ** spacing
        draws[1:] *= math.sqrt(1 - keep**2)
        parts.append(signal.lfilter([1.0], [1.0, -keep], draws))
    level = parameters["level_share"]
    short = (1 - level) * parameters["short_share"]
    z = math.sqrt(level) * parts[0] + math.sqrt(short) * parts[1] + math.sqrt(1 - level - short) * noise[2]
    payments = np.exp(-3.0 + 0.9 * z)
    payments[rng.permutation(count)[: count - known]] = np.nan
    return payments, 1_000 + spacing * np.arange(count)


def fitted(series, kind):
    payments, slots = series
    return fit_memory(PAYMENT, payments_eth=payments, slots=slots, key=KEY, kind=kind, restarts=1)


def bics(series, kinds=KINDS):
    return {kind: float(fitted(series, kind).bic) for kind in kinds}


# --- Simulated series -----------------------------------------------------------------------------------------------


def coverage(rng, kind, truth, *, repeats, names):
    scores = {name: [] for name in names}
    for _ in range(repeats):
        found = fitted(simulated(rng, truth), kind)
        for name in names:
            error = float(found.standard_errors[name])
            scores[name].append((float(getattr(found.memory, name)) - truth[name]) / error)
    return {name: np.array(values) for name, values in scores.items()}


@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        ("ar1", {"short_share": 1.0, "short_persistence": 0.4}),
        ("ar1_noise", {"short_share": 0.4, "short_persistence": 0.9}),
    ],
)
def test_errors_cover_in_repeated_series(kind, truth, rng):
    names = [name for name in ("short_share", "short_persistence") if truth[name] < 1]
    repeats = 60
    for name, z in coverage(rng, kind, truth, repeats=repeats, names=names).items():
        assert np.isfinite(z).all(), name
        assert abs(np.mean(np.abs(z) < 1.96) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / repeats), name
        assert abs(z.mean()) < 4 / math.sqrt(repeats) + 0.2, name  # the scores are standardised on the series itself


def test_level_and_short_memory_are_recovered(rng):
    truth = {"level_share": 0.3, "level_persistence": 0.98, "short_share": 0.5, "short_persistence": 0.5}
    found = fitted(simulated(rng, truth), "level")
    assert bool(found.converged)
    for name, value in truth.items():
        assert abs(float(getattr(found.memory, name)) - value) < 4 * float(found.standard_errors[name]), name


@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        ("none", {}),
        ("ar1", {"short_share": 1.0, "short_persistence": 0.4}),
        ("ar1_noise", {"short_share": 0.5, "short_persistence": 0.9}),
        ("level", {"level_share": 0.4, "level_persistence": 0.99, "short_share": 0.7, "short_persistence": 0.5}),
    ],
)
def test_the_criterion_finds_the_kind(kind, truth, rng):
    scores = bics(simulated(rng, truth))
    assert min(scores, key=scores.__getitem__) == kind, scores


def test_likelihood_and_criteria(rng, x64):
    series = simulated(rng, {"short_share": 1.0, "short_persistence": 0.4})
    found = fitted(series, "ar1")
    known = ~np.isnan(series[0])
    z = np.log(series[0][known])
    z = (z - z.mean()) / z.std()
    keep = float(found.memory.short_persistence) ** np.diff(series[1][known])
    spread = 1 - keep**2
    rest = np.log(2 * np.pi * spread) + (z[1:] - keep * z[:-1]) ** 2 / spread
    wanted = -0.5 * (math.log(2 * math.pi) + z[0] ** 2 + rest.sum())
    rel = 1e-8 if x64 else 1e-4
    assert float(found.log_likelihood) == pytest.approx(wanted, rel=rel)
    assert float(found.aic) == pytest.approx(2 - 2 * wanted, rel=rel)
    assert float(found.bic) == pytest.approx(math.log(SMALL) - 2 * wanted, rel=rel)
    assert float(found.used) == SMALL
    nothing = fitted(series, "none")
    assert float(nothing.log_likelihood) == pytest.approx(-0.5 * SMALL * (math.log(2 * math.pi) + 1), rel=rel)
    assert nothing.standard_errors == {}
    assert nothing.fit is None


def test_the_family_does_not_matter_to_the_memory_if_it_only_moves_and_stretches(rng):
    payments, slots = simulated(rng, {"short_share": 1.0, "short_persistence": 0.4})
    one = fitted((payments, slots), "ar1")
    other = fit_memory(
        LogNormal(log_mean=-2.0, log_std=1.5), payments_eth=payments, slots=slots, key=KEY, kind="ar1", restarts=1
    )
    assert float(one.memory.short_persistence) == pytest.approx(float(other.memory.short_persistence), abs=1e-3)
    mixed = np.where(np.isnan(payments), 0.0, payments)
    zeros = fitted((mixed, slots + 7_000_000), "ar1")
    assert float(zeros.memory.short_persistence) == pytest.approx(float(one.memory.short_persistence), abs=1e-3)


# --- What cannot be known -------------------------------------------------------------------------------------------


def test_a_memory_that_is_gone_between_two_payments_has_no_errors(rng, only_x64):
    """Every 20th block: 0.5 to the power of 20 is nothing, so that neither its share nor its persistence shows."""
    truth = {"level_share": 0.4, "level_persistence": 0.999, "short_share": 0.3, "short_persistence": 0.5}
    found = fitted(simulated(rng, truth, spacing=20), "level")
    assert math.isnan(float(found.standard_errors["short_share"]))
    assert math.isnan(float(found.standard_errors["short_persistence"]))
    lags = np.array([20.0, 200.0, 1_000.0])
    known = memory.autocorrelation(found.memory, lag=jnp.asarray(lags))
    np.testing.assert_allclose(known, 0.4 * 0.999**lags, atol=0.15)


def test_a_slow_memory_is_found_far_apart(rng):
    """A descent that began at the same persistence per slot would have no slope to follow."""
    found = fitted(simulated(rng, {"short_share": 1.0, "short_persistence": 0.95}, spacing=20), "ar1")
    error = float(found.standard_errors["short_persistence"])
    assert abs(float(found.memory.short_persistence) - 0.95) < 4 * error
    assert error < 0.01


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payments", "slots", "kind", "words"),
    [
        (np.ones(200), np.arange(200), "arma", r"unknown kind of memory 'arma'"),
        (
            np.ones(200),
            np.arange(199),
            "ar1",
            r"payments_eth and slots must be vectors alike, got \(200,\) and \(199,\)",
        ),
        (np.ones((2, 100)), np.ones((2, 100)), "ar1", "must be vectors alike"),
        (np.ones(200), np.r_[np.arange(199), 198] + 8_000_000, "ar1", "slots must increase, got 8000198 after 8000198"),
        (np.ones(200), np.arange(200, dtype=np.uint64)[::-1], "ar1", "slots must increase, got 198 after 199"),
        (np.ones(200), np.r_[np.arange(199.0), np.nan], "ar1", "slots must increase, got nan after 198"),
        (np.r_[np.ones(99), np.zeros(50), np.full(51, np.nan)], np.arange(200), "ar1", "at least 100 known .* got 99"),
    ],
)
def test_bad_series_are_refused(payments, slots, kind, words):
    with pytest.raises(ValueError, match=words):
        fit_memory(PAYMENT, payments_eth=payments, slots=slots, key=KEY, kind=kind)


def test_a_descent_cut_short_warns(rng, monkeypatch):
    whole = calibration.fit

    def cut(*arguments, **settings):
        return dataclasses.replace(
            whole(*arguments, **settings), converged=jnp.asarray(False), gradient_norm=jnp.asarray(0.25)
        )

    monkeypatch.setattr(calibration, "fit", cut)
    with pytest.warns(ConvergenceWarning, match="^memory 'ar1' did not converge: largest derivative 0.25$"):
        found = fitted(simulated(rng, {"short_share": 1.0, "short_persistence": 0.8}), "ar1")
    assert not bool(found.converged)


# --- Real payments --------------------------------------------------------------------------------------------------


def read(path):
    with path.open(newline="") as file:
        rows = [(row["payment_eth"] or "nan", row["slot"]) for row in csv.DictReader(file)]
    payments, slots = np.array(rows, float).T
    return payments, slots


@pytest.fixture(scope="module")
def contiguous(shared):
    return read(shared / "data" / "mev_blocks_contiguous.csv")


def pairs(payments, slots, lag):
    """Correlation of the log payments of slots so far apart, by their pairs."""
    known = payments > 0
    logs = np.full(int(slots.max() - slots.min()) + 1, np.nan)
    logs[(slots[known] - slots.min()).astype(int)] = np.log(payments[known])
    one, two = logs[:-lag], logs[lag:]
    both = ~np.isnan(one + two)
    return np.corrcoef(one[both], two[both])[0, 1]


def test_real_payments_remember_on_two_scales(contiguous):
    payments, slots = contiguous
    found = {
        kind: fit_memory(REAL, payments_eth=payments, slots=slots, key=KEY, kind=kind, restarts=1) for kind in KINDS
    }
    assert all(bool(each.converged) for each in found.values())
    assert pairs(payments, slots, 1) == pytest.approx(0.376, abs=1e-3)
    assert float(found["ar1"].memory.short_persistence) == pytest.approx(0.37, abs=0.01)
    order = sorted(KINDS, key=lambda kind: float(found[kind].bic))
    assert order == ["level", "ar1_noise", "ar1", "none"]
    assert float(found["level"].bic) < float(found["ar1_noise"].bic) - 100
    errors = {name: float(error) for name, error in found["level"].standard_errors.items()}
    assert all(0 < error < 0.1 for error in errors.values())
    lags = np.array([1, 2, 3, 5, 10, 20, 50, 100, 200, 500])
    wanted = np.array([pairs(payments, slots, int(lag)) for lag in lags])
    gaps = {
        kind: np.abs(np.asarray(memory.autocorrelation(found[kind].memory, lag=jnp.asarray(lags, float))) - wanted)
        for kind in ("ar1", "level")
    }
    assert gaps["level"].max() < 0.08
    assert gaps["level"].mean() < 0.3 * gaps["ar1"].mean()


def test_real_payments_far_apart_remember_as_well(shared):
    """The first payments of every 20th block, as many as a simulated series has."""
    payments, slots = read(shared / "data" / "mev_blocks_sample.csv")
    known = np.flatnonzero(payments > 0)[: 8 * SMALL : 8]
    series = payments[known], slots[known]
    found = {kind: fitted(series, kind) for kind in ("none", "ar1", "ar1_noise")}
    assert float(found["ar1"].bic) < float(found["none"].bic)
    assert float(found["ar1_noise"].bic) < float(found["ar1"].bic)
    assert 0.99 < float(found["ar1_noise"].memory.short_persistence) < 1


def test_loss_is_that_of_the_template_with_the_parameters():
    scores, gaps = jnp.asarray([0.3, -1.0, 0.4]), jnp.ones(3)
    found = calibration.loss({"short_persistence": 0.4}, Memory(short_share=1.0), scores, gaps)
    assert float(found) == pytest.approx(float(memory.negative_log_likelihood(ar1(0.4), scores, gaps)), rel=1e-6)
