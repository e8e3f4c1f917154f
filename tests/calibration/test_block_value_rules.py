"""Rules of the fits of block values: standard errors, thresholds, order of a mixture, weights, and what is refused."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from jaxstake.analysis.calibrate import ConvergenceWarning
from jaxstake.calibration import block_value as fits
from jaxstake.calibration.block_value_families import FAMILIES, ordered
from jaxstake.calibration.block_value_sample import prepare
from jaxstake.core import leaves
from jaxstake.economy import block_value
from jaxstake.economy.block_value import Censoring, LogNormalMixture, LogNormalPareto, SkewLogNormal

KEY = jax.random.key(3)
COUNT = 1_500
TRUTHS = {
    "lognormal_mixture": LogNormalMixture(
        first_log_mean=-3.3, first_log_std=0.5, second_log_mean=-1.0, second_log_std=0.8, second_share=0.25
    ),
    "skew_lognormal": SkewLogNormal(log_location=-3.6, log_scale=1.2, log_shape=2.5),
    "lognormal_pareto": LogNormalPareto(
        log_mean=-3.0, log_std=0.7, threshold_eth=0.12, tail_share=0.1, tail_scale_eth=0.1, tail_shape=0.4
    ),
}


def drawn(name: str) -> np.ndarray:
    return np.asarray(block_value.sample(TRUTHS[name], key=jax.random.key(1), shape=(COUNT,)), float)


def scipy_log_likelihood(name: str, at: np.ndarray, payments: np.ndarray) -> float:
    """Of parameters in the order of `FAMILIES`."""
    logs = np.log(payments)
    if name == "lognormal_mixture":
        first, second = stats.norm(at[0], at[1]), stats.norm(at[2], at[3])
        return float(np.sum(np.log((1 - at[4]) * first.pdf(logs) + at[4] * second.pdf(logs)) - logs))
    if name == "skew_lognormal":
        return float(np.sum(stats.skewnorm.logpdf(logs, at[2], at[0], at[1]) - logs))
    body, tail = stats.norm(at[0], at[1]), stats.genpareto(at[4], loc=0.12, scale=at[3])
    low = payments <= 0.12
    below = body.logpdf(logs[low]) - logs[low] - body.logcdf(math.log(0.12)) + math.log(1 - at[2])
    return float(np.sum(below) + np.sum(tail.logpdf(payments[~low]) + math.log(at[2])))


def information(name: str, at: np.ndarray, payments: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Negative second derivatives by central differences."""
    cost = lambda x: -scipy_log_likelihood(name, x, payments)  # noqa: E731
    found = np.empty((at.size, at.size))
    for i, one in enumerate(np.diag(steps)):
        for j, two in enumerate(np.diag(steps)):
            corners = cost(at + one + two) - cost(at + one - two) - cost(at - one + two) + cost(at - one - two)
            found[i, j] = corners / (4 * steps[i] * steps[j])
    return found


@pytest.mark.parametrize("name", TRUTHS)
def test_standard_errors_are_the_observed_information(name: str, only_x64: None) -> None:
    payments, family = drawn(name), FAMILIES[name]
    threshold = 0.12 if family.threshold else None
    fit = fits.fit_family(name, payments, key=KEY, threshold_eth=threshold, restarts=2)
    at = np.array([float(leaves.get(fit.distribution, parameter)) for parameter in family.free])
    errors = np.array([float(fit.standard_errors[parameter]) for parameter in family.free])
    assert float(fit.log_likelihood) == pytest.approx(scipy_log_likelihood(name, at, payments), rel=1e-10)
    wanted = np.sqrt(np.diag(np.linalg.inv(information(name, at, payments, 0.02 * errors))))
    np.testing.assert_allclose(errors, wanted, rtol=2e-3)
    for parameter, truth in ((parameter, getattr(TRUTHS[name], parameter)) for parameter in family.free):
        gap = abs(float(leaves.get(fit.distribution, parameter)) - truth)
        assert gap < 4 * float(fit.standard_errors[parameter]), parameter


def test_weights_are_repetitions_in_a_descent_too(only_x64: None) -> None:
    payments = drawn("skew_lognormal")[:600]
    counts = np.random.default_rng(4).integers(0, 4, payments.size)
    dirty = np.concatenate([payments, [0.0, math.nan, 0.0]])
    weighted = fits.fit_family("skew_lognormal", dirty, key=KEY, weights=np.r_[counts, 2.0, 3.0, 0.5], restarts=2)
    repeated = fits.fit_family("skew_lognormal", np.repeat(payments, counts), key=KEY, restarts=2)
    for parameter in FAMILIES["skew_lognormal"].free:
        one, two = (float(leaves.get(fit.distribution, parameter)) for fit in (weighted, repeated))
        assert one == pytest.approx(two, abs=1e-3 * float(repeated.standard_errors[parameter]))
        errors = [float(fit.standard_errors[parameter]) for fit in (weighted, repeated)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    assert float(weighted.bic) == pytest.approx(float(repeated.bic), rel=1e-9)
    assert float(weighted.ks_distance) == pytest.approx(float(repeated.ks_distance), rel=1e-5)
    assert (weighted.sample.paid, weighted.sample.zero, weighted.sample.missing) == (counts.sum(), 2.5, 3.0)


def test_the_threshold_is_the_quantile_of_most_likelihood(only_x64: None) -> None:
    payments = drawn("lognormal_pareto")
    chosen = fits.fit_family("lognormal_pareto", payments, key=KEY)
    tried = {}
    for threshold in np.quantile(payments, fits.THRESHOLD_LEVELS):
        fit = fits.fit_family("lognormal_pareto", payments, key=KEY, threshold_eth=threshold)
        tried[float(threshold)] = float(fit.log_likelihood)
    best = max(tried, key=tried.__getitem__)
    assert float(chosen.distribution.threshold_eth) == best
    assert float(chosen.log_likelihood) == pytest.approx(tried[best], rel=1e-9)
    assert float(chosen.aic) == pytest.approx(12 - 2 * tried[best], rel=1e-9)


def test_bounds_from_below_recover_the_truth(only_x64: None) -> None:
    """Payments below a bound are known to be at most it; SciPy calls that left censoring."""
    payments = np.random.default_rng(2).lognormal(-3.0, 0.9, 3_000)
    kinds = np.where(payments < 0.03, Censoring.AT_MOST, Censoring.EXACT)
    fit = fits.fit_family("lognormal", np.maximum(payments, 0.03), key=KEY, censoring=kinds)
    data = stats.CensoredData(uncensored=payments[payments >= 0.03], left=np.full(int((kinds != 0).sum()), 0.03))
    shape, _, scale = stats.lognorm.fit(data, floc=0)
    found = fit.distribution
    for value, wanted, name in ((found.log_mean, math.log(scale), "log_mean"), (found.log_std, shape, "log_std")):
        assert float(value) == pytest.approx(wanted, abs=0.02 * float(fit.standard_errors[name]))
    law = stats.lognorm(s=float(found.log_std), scale=math.exp(float(found.log_mean)))
    total = law.logpdf(payments[kinds == 0]).sum() + law.logcdf(0.03) * (kinds != 0).sum()
    assert float(fit.log_likelihood) == pytest.approx(total, rel=1e-9)


def test_a_mixture_is_put_in_order() -> None:
    names = ("first_log_mean", "first_log_std", "second_log_mean", "second_log_std", "second_share")
    backwards = LogNormalMixture(**dict(zip(names, (-1.0, 0.8, -3.3, 0.5, 0.75), strict=True)))
    found, errors = ordered(backwards, dict(zip(names, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True)))
    assert [getattr(found, name) for name in names] == [-3.3, 0.5, -1.0, 0.8, 0.25]
    assert [errors[name] for name in names] == [3.0, 4.0, 1.0, 2.0, 5.0]
    assert ordered(found, errors) == (found, errors)


def test_what_has_no_maximum_is_said_to_be_so(only_x64: None) -> None:
    """One kind of a mixture shrinks on to equal payments, and the likelihood has no bound."""
    payments = np.r_[np.full(30, 0.05), np.random.default_rng(0).lognormal(-3.0, 1.0, 30)]
    with pytest.warns(ConvergenceWarning, match="lognormal_mixture did not converge: largest derivative"):
        fits.fit_family("lognormal_mixture", payments, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told: list[tuple[int, int]] = []
        both = fits.fit_families(
            payments, key=KEY, names=("lognormal", "lognormal_mixture"), progress=lambda *at: told.append(at)
        )
    assert told == [(1, 2), (2, 2)]
    assert not bool(both["lognormal_mixture"].converged)
    choice = fits.choose(both, criterion="aic")
    assert choice.name == "lognormal"
    assert choice.reason == f"least AIC of 1 families, {float(both['lognormal'].aic):.1f}; not converged: " + (
        "lognormal_mixture"
    )


def test_judgement_of_other_payments(x64: bool) -> None:
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 300)
    other = np.random.default_rng(1).lognormal(-3.0, 0.9, 200)
    found = {name: fits.fit_family(name, payments, key=KEY) for name in ("lognormal", "empirical")}
    plain = found["lognormal"].distribution
    law = stats.lognorm(s=float(plain.log_std), scale=math.exp(float(plain.log_mean)))
    judged = fits.judge(plain, np.r_[other, 0.0, math.nan])
    rel = 1e-9 if x64 else 1e-4
    assert float(judged.log_likelihood_per_block) == pytest.approx(law.logpdf(other).mean(), rel=rel)
    assert float(judged.ks_distance) == pytest.approx(stats.kstest(other, law.cdf).statistic, rel=10 * rel)
    assert judged.paid == 200
    outside = fits.judge(found["empirical"].distribution, np.r_[other, 50.0])
    assert float(outside.log_likelihood_per_block) == -math.inf
    assert math.isnan(float(found["empirical"].standard_errors["level"][0]))


def test_censored_payments_have_no_empirical_family() -> None:
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 60)
    kinds = np.where(payments > 0.1, Censoring.MORE_THAN, Censoring.EXACT)
    with pytest.raises(ValueError, match="the empirical family takes no censored payments"):
        fits.fit_family("empirical", payments, key=KEY, censoring=kinds)
    assert fits.fit_families(payments, key=KEY, names=("empirical",), censoring=kinds) == {}


@pytest.mark.parametrize("threshold", [1e-9, 1e9])
def test_a_threshold_has_payments_on_either_side(threshold: float) -> None:
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 60)
    with pytest.raises(ValueError, match=f"threshold_eth must have payments on either side, got {threshold}"):
        fits.fit_family("lognormal_pareto", payments, key=KEY, threshold_eth=threshold)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payments": np.r_[np.ones(20), np.inf]}, "payments_eth must be at least 0 and finite, or NaN, got inf"),
        ({"weights": np.r_[np.ones(19), np.nan]}, "weights must be at least 0 and finite, got nan"),
        ({"censoring": np.zeros(3)}, r"censoring must have the shape of payments_eth, \(20,\), got \(3,\)"),
        ({"censoring": np.ones(20)}, "at least 10 exact payments above 0, got 0"),
        ({"weights": np.r_[np.ones(9), np.zeros(11)]}, "at least 10 exact payments above 0, got 9"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"payments": np.ones(20), "weights": None, "censoring": None, **changes}
    with pytest.raises(ValueError, match=message):
        prepare(given["payments"], weights=given["weights"], censoring=given["censoring"])


def test_starts_move_with_the_unit() -> None:
    """Payments a thousand times as large begin at locations and amounts a thousand times as large."""
    payments = np.random.default_rng(0).lognormal(-3.0, 0.9, 400)
    small, large = (prepare(scale * payments, weights=None, censoring=None) for scale in (1.0, 1_000.0))
    for name, family in FAMILIES.items():
        if not family.parametric:
            continue
        one, two = (leaves.as_dict(family.start(sample, None)) for sample in (small, large))
        for parameter, value in one.items():
            moved = value + math.log(1_000.0) if parameter.endswith(("log_mean", "log_location")) else value
            moved = moved * 1_000.0 if parameter.endswith("_eth") else moved
            assert two[parameter] == pytest.approx(moved, rel=1e-6), (name, parameter)
