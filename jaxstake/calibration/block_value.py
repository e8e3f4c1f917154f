"""Fit the families of block values to payments by maximum likelihood, and choose among them.

A large sample is fitted twice: many starts on a subsample, then one descent on all payments from the best.
Payments of zero become a point mass, unknown ones are counted and left out; both are reported.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.analysis.calibrate import ConvergenceWarning, Fit, fit
from jaxstake.calibration import block_value_families as families
from jaxstake.calibration.block_value_families import FAMILIES, Family
from jaxstake.calibration.block_value_sample import Payments, prepare
from jaxstake.core import leaves
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.block_value import WithZeros

AT_ONCE, SUBSAMPLE = 60_000, 20_000
"""Payments up to which all are fitted at once, and the size of the subsample on which starts are tried beyond that."""
THRESHOLD_LEVELS = (0.8, 0.85, 0.9, 0.95, 0.98)
"""Levels whose quantiles are tried as the threshold of a Pareto tail."""
KNOTS = 256
"""Quantiles of the empirical family."""


@pytree
class BlockValueFit:
    """One family fitted to payments.

    The log likelihood, AIC and BIC are of the positive payments; with weights, of as many as the weights add up to.
    """

    distribution: Any = branch()
    standard_errors: Any = leaf(meaning="by parameter; NaN where it is fixed, chosen, not identified or at a bound")
    log_likelihood: Scalar = leaf(meaning="of the payments used")
    parameters: Scalar = leaf(meaning="number of them, chosen ones included")
    aic: Scalar = leaf(meaning="2 parameters - 2 log likelihood")
    bic: Scalar = leaf(meaning="parameters ln(payments) - 2 log likelihood")
    ks_distance: Scalar = leaf(meaning="largest gap to the distribution of the payments; exact ones only")
    converged: Scalar = leaf(meaning="whether the descent met its tolerance; true of a closed form")
    sample: Any = branch()
    fit: Fit | None = leaf(meaning="of the last descent; None for a closed form")


@pytree
class Judgement:
    """A distribution held against payments that it was not fitted to."""

    log_likelihood_per_block: Scalar = leaf(meaning="mean over the positive payments; minus infinity outside the range")
    ks_distance: Scalar = leaf(meaning="largest gap to their distribution")
    paid: Scalar = leaf(meaning="positive payments, or their weight")


@pytree
class Choice:
    """The chosen family, and why."""

    name: Any = leaf()
    reason: Any = leaf()


def fit_family(
    name: str,
    payments_eth: Any,
    *,
    key: jax.Array,
    weights: Any = None,
    censoring: Any = None,
    threshold_eth: float | None = None,
    restarts: int = 6,
) -> BlockValueFit:
    """Fit one family by maximum likelihood.

    Args:
        name: a key of `FAMILIES`.
        payments_eth: [B] payments, ETH, at least 0; NaN for an unknown one. A censored entry is its bound.
        key: random key of the subsample and the restarts, new style.
        weights: [B] how often each counts, >= 0; 1 if not given.
        censoring: [B] integers of `block_value.Censoring`; all exact if not given. "empirical" takes none.
        threshold_eth: where a Pareto tail begins; the best of several quantiles if not given.
        restarts: starts on the subsample.

    Returns:
        `BlockValueFit`.

    Raises:
        ValueError: the name is unknown, an argument has a wrong shape or range, or fewer than 10 payments are positive
            and exact.

    Warns:
        ConvergenceWarning: the last descent did not meet its tolerance.

    Example:
        >>> payments = jnp.exp(jnp.linspace(-4.0, -2.0, 101))
        >>> found = fit_family("lognormal", payments, key=jax.random.key(0))
        >>> print(f"{found.distribution.log_mean:.2f} {found.standard_errors['log_mean']:.4f}")
        -3.00 0.0580
    """
    if name not in FAMILIES:
        raise ValueError(leaves.unknown_name("family", name, list(FAMILIES)))
    sample = prepare(payments_eth, weights=weights, censoring=censoring)
    family = FAMILIES[name]
    if name == "empirical":
        return _empirical(sample)
    if name == "lognormal" and sample.censoring is None:
        return _closed_log_normal(sample)
    part_key, start_key, last_key = jax.random.split(key, 3)
    part = sample if sample.payment_eth.size <= AT_ONCE else sample.subsample(SUBSAMPLE, key=part_key)
    starts = _starts(family, sample, threshold_eth)
    tried = [_descend(family, start, part, start_key, restarts if len(starts) == 1 else 2) for start in starts]
    best = min(range(len(tried)), key=lambda place: _rank(tried[place].loss))
    found = tried[best]
    if part is not sample or not bool(found.converged):
        found = _descend(family, leaves.replace(starts[best], found.parameters), sample, last_key, 1)
    if not bool(found.converged):
        words = f"{name} did not converge: largest derivative {float(found.gradient_norm):.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    chosen = 1 if family.threshold and threshold_eth is None else 0
    return _summary(family, leaves.replace(starts[best], found.parameters), sample, found, chosen)


def fit_families(
    payments_eth: Any,
    *,
    key: jax.Array,
    names: tuple[str, ...] = tuple(FAMILIES),
    weights: Any = None,
    censoring: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, BlockValueFit]:
    """Fit several families to the same payments; arguments as `fit_family`, `progress` is told (done, total).

    Fits that do not converge are returned with `converged` false, and without a warning. With censored payments the
    empirical family is left out.
    """
    found = {}
    if censoring is not None:
        names = tuple(name for name in names if name != "empirical")
    for place, name in enumerate(names):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            inner = jax.random.fold_in(key, place)
            found[name] = fit_family(name, payments_eth, key=inner, weights=weights, censoring=censoring)
        if progress is not None:
            progress(place + 1, len(names))
    return found


def choose(fits: Mapping[str, BlockValueFit], *, criterion: str = "bic") -> Choice:
    """The fitted family of the least AIC or BIC among the parametric ones that converged, in words too.

    Raises:
        ValueError: the criterion is neither, or no family converged.
    """
    if criterion not in ("aic", "bic"):
        raise ValueError(f"criterion must be 'aic' or 'bic', got '{criterion}'")
    scores = {name: float(getattr(fit, criterion)) for name, fit in fits.items() if FAMILIES[name].parametric}
    able = {name: score for name, score in scores.items() if bool(fits[name].converged) and math.isfinite(score)}
    if not able:
        raise ValueError("no parametric family converged")
    order = sorted(able, key=able.__getitem__)
    words = f"least {criterion.upper()} of {len(able)} families, {able[order[0]]:.1f}"
    if len(order) > 1:
        words += f", {able[order[1]] - able[order[0]]:.1f} below {order[1]}"
    failed = sorted(set(scores) - set(able))
    words += f"; not converged: {', '.join(failed)}" if failed else ""
    return Choice(name=order[0], reason=words)


def judge(distribution: Any, payments_eth: Any, *, weights: Any = None) -> Judgement:
    """Hold a distribution against other payments: those above 0 count, the rest is ignored."""
    sample = prepare(payments_eth, weights=weights, censoring=None)
    per_block = -_loss_at(distribution, sample)
    return Judgement(
        log_likelihood_per_block=per_block,
        ks_distance=_ks(distribution, sample),
        paid=sample.total,
    )


def with_zeros(found: BlockValueFit, *, missing: str = "ignore") -> Any:
    """The fitted distribution with its point mass at zero.

    Args:
        found: a fit.
        missing: "ignore" takes the unknown payments to be like the known ones, "zero" takes them to be nothing.

    Raises:
        ValueError: missing is neither.
    """
    if missing not in ("ignore", "zero"):
        raise ValueError(f"missing must be 'ignore' or 'zero', got '{missing}'")
    sample = found.sample
    nothing = sample.zero + (sample.missing if missing == "zero" else 0.0)
    if nothing == 0:
        return found.distribution
    return WithZeros(paid_share=sample.total / (sample.total + nothing), paid=found.distribution)


def loss(parameters: Any, template: Any, payments: Any, weights: Any, censoring: Any) -> jax.Array:
    """Mean negative log likelihood of the template with the parameters, by dotted name, put in."""
    distribution = leaves.replace(template, parameters)
    return block_value.negative_log_likelihood(distribution, payments, weights, censoring)


def _starts(family: Family, sample: Payments, threshold_eth: float | None) -> list[Any]:
    """Distributions to begin at: one, or one per threshold."""
    if not family.threshold:
        return [family.start(sample, None)]
    if threshold_eth is not None:
        return [family.start(sample, float(threshold_eth))]
    exact = sample.exact()
    return [family.start(sample, float(u)) for u in np.quantile(exact, THRESHOLD_LEVELS)]


def _descend(family: Family, start: Any, sample: Payments, key: jax.Array, restarts: int) -> Fit:
    values = leaves.as_dict(start)
    initial = {name: values[name] for name in family.free}
    domains = leaves.domains(start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(
            loss,
            initial,
            jax.tree.map(lambda x: jnp.asarray(x, float), start),
            *sample.arrays(),
            key=key,
            optimizer="newton",
            bounds={name: domains[name] for name in family.free},
            restarts=restarts,
            spread=0.5 if restarts > 1 else 0.0,
            observations=sample.total,
        )


def _rank(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else math.inf


@jax.jit
def _loss_of(distribution: Any, payments: Any, weights: Any, censoring: Any) -> jax.Array:
    return block_value.negative_log_likelihood(distribution, payments, weights, censoring)


_ks_of = jax.jit(block_value.ks_distance)


def _loss_at(distribution: Any, sample: Payments) -> jax.Array:
    return _loss_of(distribution, *sample.arrays())


def _ks(distribution: Any, sample: Payments) -> jax.Array:
    payments, weights, censoring = sample.arrays()
    if censoring is not None:
        weights = jnp.where(censoring == 0, jnp.ones_like(payments) if weights is None else weights, 0.0)
    return _ks_of(distribution, payments, weights)


def _summary(family: Family, distribution: Any, sample: Payments, found: Fit, chosen: int) -> BlockValueFit:
    errors = dict.fromkeys(leaves.names(distribution), jnp.nan) | dict(found.standard_errors)
    distribution, errors = families.ordered(distribution, errors)
    return _scored(distribution, errors, sample, len(family.free) + chosen, -found.loss, found)


def _scored(
    distribution: Any, errors: Any, sample: Payments, parameters: int, per_block: Any, found: Fit | None
) -> BlockValueFit:
    total = per_block * sample.total
    return BlockValueFit(
        distribution=distribution,
        standard_errors=errors,
        log_likelihood=total,
        parameters=parameters,
        aic=2.0 * parameters - 2.0 * total,
        bic=parameters * math.log(sample.total) - 2.0 * total,
        ks_distance=_ks(distribution, sample),
        converged=jnp.asarray(True) if found is None else found.converged,
        sample=sample.counts(),
        fit=found,
    )


def _closed_log_normal(sample: Payments) -> BlockValueFit:
    payments, weights, _ = sample.arrays()
    found = block_value.fit_log_normal(payments, weights=weights)
    errors = {"log_mean": found.log_mean_error, "log_std": found.log_std_error}
    return _scored(found.distribution, errors, sample, 2, found.log_likelihood / sample.total, None)


def _empirical(sample: Payments) -> BlockValueFit:
    if sample.censoring is not None:
        raise ValueError("the empirical family takes no censored payments")
    payments, weights, _ = sample.arrays()
    distribution = block_value.empirical_of(payments, weights=weights, knots=KNOTS)
    errors = {name: jnp.full(jnp.shape(value), jnp.nan) for name, value in leaves.as_dict(distribution).items()}
    pieces = distribution.value_eth.size - 1
    return _scored(distribution, errors, sample, pieces, -_loss_at(distribution, sample), None)
