"""Fits of block values against SciPy's, on synthetic and on real payments."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxstake.calibration import block_value as fits
from jaxstake.calibration.block_value_families import FAMILIES
from jaxstake.core import leaves
from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormalMixture, LogNormalPareto, SkewLogNormal, WithZeros

pytestmark = pytest.mark.usefixtures("only_x64")
KEY = jax.random.key(3)


def drawn(truth: Any, count: int = 6_000, seed: int = 1) -> np.ndarray:
    return np.asarray(block_value.sample(truth, key=jax.random.key(seed), shape=(count,)))


def within(fit: Any, wanted: dict[str, float], share: float = 0.02) -> None:
    """Parameters within a small part of their standard errors."""
    for name, value in wanted.items():
        gap = abs(float(leaves.get(fit.distribution, name)) - value)
        assert gap < share * float(fit.standard_errors[name]), name


def test_skew_is_that_of_scipy() -> None:
    payments = drawn(SkewLogNormal(log_location=-3.6, log_scale=1.2, log_shape=2.5))
    fit = fits.fit_family("skew_lognormal", payments, key=KEY)
    logs = np.log(payments)
    cost = lambda at: -stats.skewnorm.logpdf(logs, at[2], at[0], math.exp(at[1])).sum()  # noqa: E731
    best = optimize.minimize(cost, [-3.6, math.log(1.2), 2.5], method="BFGS")
    assert float(fit.log_likelihood) == pytest.approx(-best.fun - logs.sum(), rel=1e-8)
    within(fit, {"log_location": best.x[0], "log_scale": math.exp(best.x[1]), "log_shape": best.x[2]})


def test_pareto_falls_into_its_parts() -> None:
    truth = LogNormalPareto(
        log_mean=-3.0, log_std=0.7, threshold_eth=0.12, tail_share=0.1, tail_scale_eth=0.1, tail_shape=0.4
    )
    payments = drawn(truth)
    fit = fits.fit_family("lognormal_pareto", payments, key=KEY, threshold_eth=0.12)
    beyond = payments[payments > 0.12]
    shape, _, scale = stats.genpareto.fit(beyond - 0.12, 0.4, floc=0, scale=0.1)
    within(fit, {"tail_share": beyond.size / payments.size, "tail_shape": shape, "tail_scale_eth": scale}, share=0.05)
    share = beyond.size / payments.size
    assert float(fit.standard_errors["tail_share"]) == pytest.approx(
        math.sqrt(share * (1 - share) / payments.size), rel=1e-4
    )
    assert math.isnan(float(fit.standard_errors["threshold_eth"]))
    assert int(fit.parameters) == 5
    assert int(fits.fit_family("lognormal_pareto", payments, key=KEY).parameters) == 6  # a chosen threshold counts


def test_mixture_is_that_of_expectation_maximisation() -> None:
    truth = LogNormalMixture(
        first_log_mean=-3.3, first_log_std=0.5, second_log_mean=-1.0, second_log_std=0.8, second_share=0.25
    )
    payments = drawn(truth)
    fit = fits.fit_family("lognormal_mixture", payments, key=KEY)
    logs, mean, std, share = np.log(payments), np.array([-3.3, -1.0]), np.array([0.5, 0.8]), np.array([0.75, 0.25])
    for _ in range(3_000):
        each = share * stats.norm.pdf(logs[:, None], mean, std)
        part = each / each.sum(axis=1, keepdims=True)
        share = part.mean(axis=0)
        mean = (part * logs[:, None]).sum(axis=0) / part.sum(axis=0)
        std = np.sqrt((part * (logs[:, None] - mean) ** 2).sum(axis=0) / part.sum(axis=0))
    assert float(fit.log_likelihood) == pytest.approx(np.log(each.sum(axis=1)).sum() - logs.sum(), rel=1e-8)
    within(fit, {"first_log_mean": mean[0], "second_log_std": std[1], "second_share": share[1]})
    assert float(fit.distribution.first_log_mean) < float(fit.distribution.second_log_mean)


def test_scores_weights_and_what_is_left_out() -> None:
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 500)
    mixed = np.concatenate([payments, np.zeros(25), np.full(40, np.nan)])
    fit = fits.fit_family("lognormal", mixed, key=KEY)
    assert (fit.sample.paid, fit.sample.zero, fit.sample.missing) == (500, 25, 40)
    total = float(fit.log_likelihood)
    assert float(fit.aic) == pytest.approx(4 - 2 * total)
    assert float(fit.bic) == pytest.approx(2 * math.log(500) - 2 * total)
    law = stats.lognorm(s=float(fit.distribution.log_std), scale=math.exp(float(fit.distribution.log_mean)))
    assert float(fit.ks_distance) == pytest.approx(stats.kstest(payments, law.cdf).statistic, rel=1e-9)
    whole = fits.with_zeros(fit)
    assert isinstance(whole, WithZeros)
    assert float(whole.paid_share) == pytest.approx(500 / 525)
    assert float(fits.with_zeros(fit, missing="zero").paid_share) == pytest.approx(500 / 565)
    assert fits.with_zeros(fits.fit_family("lognormal", payments, key=KEY)) is not None
    counts = np.random.default_rng(1).integers(0, 3, 500)
    repeated = fits.fit_family("lognormal", np.repeat(payments, counts), key=KEY)
    weighted = fits.fit_family("lognormal", payments, key=KEY, weights=counts)
    assert float(weighted.bic) == pytest.approx(float(repeated.bic), rel=1e-10)
    assert float(weighted.standard_errors["log_mean"]) == pytest.approx(
        float(repeated.standard_errors["log_mean"]), rel=1e-9
    )


def test_censored_payments_recover_the_truth() -> None:
    payments = np.random.default_rng(2).lognormal(-3.0, 0.9, 4_000)
    bound = 0.08
    kinds = np.where(payments > bound, 1, 0)
    fit = fits.fit_family("lognormal", np.minimum(payments, bound), key=KEY, censoring=kinds)
    data = stats.CensoredData(uncensored=payments[kinds == 0], right=np.full(int(kinds.sum()), bound))
    shape, _, scale = stats.lognorm.fit(data, floc=0)
    within(fit, {"log_mean": math.log(scale), "log_std": shape}, share=0.05)
    assert fit.sample.censored == kinds.sum()
    assert abs(float(fit.distribution.log_mean) + 3.0) < 4 * float(fit.standard_errors["log_mean"])


def test_choice_has_a_reason() -> None:
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 800)
    found = fits.fit_families(payments, key=KEY, names=("lognormal", "skew_lognormal", "empirical"))
    choice = fits.choose(found)
    assert choice.name == "lognormal"
    assert choice.reason.startswith("least BIC of 2 families")
    assert "below skew_lognormal" in choice.reason
    with pytest.raises(ValueError, match="criterion must be 'aic' or 'bic', got 'cv'"):
        fits.choose(found, criterion="cv")
    with pytest.raises(ValueError, match="no parametric family converged"):
        fits.choose({"empirical": found["empirical"]})


@pytest.mark.parametrize(
    ("payments", "more", "message"),
    [
        (np.ones((3, 3)), {}, r"payments_eth must be a vector \[B\], got shape \(3, 3\)"),
        (np.r_[np.ones(20), -1.0], {}, "payments_eth must be at least 0 and finite, or NaN, got -1.0"),
        (np.ones(5), {}, "at least 10 exact payments above 0, got 5"),
        (np.ones(20), {"weights": np.ones(3)}, "weights must have the shape of payments_eth"),
        (np.ones(20), {"weights": -np.ones(20)}, "weights must be at least 0 and finite, got -1.0"),
        (np.ones(20), {"censoring": np.full(20, 7)}, "censoring must be one of"),
        (np.r_[np.ones(20), 0.0], {"censoring": np.r_[np.zeros(20), 1]}, "a bound must be above 0, got 0.0"),
    ],
)
def test_bad_input(payments: np.ndarray, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fits.fit_family("lognormal", payments, key=KEY, **more)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="unknown family 'lognorml'; did you mean lognormal"):
        fits.fit_family("lognorml", np.ones(20), key=KEY)
    fit = fits.fit_family("lognormal", np.random.default_rng(0).lognormal(size=20), key=KEY)
    with pytest.raises(ValueError, match="missing must be 'ignore' or 'zero', got 'drop'"):
        fits.with_zeros(fit, missing="drop")


def test_real_payments_are_heavier_than_lognormal(shared: Path) -> None:
    """Fitted without 2024-01-10 and 2024-01-11, tested on every block of those two days."""

    def read(name: str, *, without: tuple[str, ...] = ()) -> np.ndarray:
        with (shared / "data" / name).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["time_utc"][:10] not in without]
        return np.array([float(row["payment_eth"] or "nan") for row in rows])

    payments = read("mev_blocks_sample.csv", without=("2024-01-10", "2024-01-11"))
    test = read("mev_blocks_contiguous.csv")
    found = fits.fit_families(payments, key=KEY)
    choice = fits.choose(found)
    assert all(bool(fit.converged) for fit in found.values())
    scores = {name: float(fits.judge(fit.distribution, test).log_likelihood_per_block) for name, fit in found.items()}
    assert scores[choice.name] > scores["lognormal"] + 0.05
    plain, heavy = found["lognormal"].distribution, found[choice.name].distribution
    law = stats.lognorm(s=float(plain.log_std), scale=math.exp(float(plain.log_mean)))
    paid = test[test > 0]
    assert scores["lognormal"] == pytest.approx(law.logpdf(paid).mean(), rel=1e-9)
    known = payments[payments > 0]
    high = np.quantile(known, 0.999)
    assert float(block_value.quantile(plain, level=0.999)) < 0.25 * high
    assert 0.7 * high < float(block_value.quantile(heavy, level=0.999)) < 1.3 * high
    assert float(block_value.mean(plain)) < 0.7 * known.mean() < float(block_value.mean(heavy))
    assert set(found) == set(FAMILIES)


def test_a_fit_repeats_with_its_key() -> None:
    payments = jnp.asarray(np.random.default_rng(4).lognormal(-3.0, 0.9, 900))
    one, two = (fits.fit_family("skew_lognormal", payments, key=jax.random.key(9)) for _ in range(2))
    assert float(one.log_likelihood) == float(two.log_likelihood)
