"""Fit the memory of payments: how much of one payment the next ones tell, at uneven times and with blocks missing."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.analysis.calibrate import ConvergenceWarning, Fit, fit
from jaxstake.core import leaves
from jaxstake.core.domain import Domain
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import memory as model
from jaxstake.economy.memory import Memory

Kind: TypeAlias = Literal["none", "ar1", "ar1_noise", "level"]

_INSIDE = Domain(0.0, 1.0, open_low=True, open_high=True)
_STARTS: dict[str, dict[str, float]] = {
    "none": {},
    "ar1": {"short_persistence": 0.4},
    "ar1_noise": {"short_persistence": 0.95, "short_share": 0.4},
    "level": {"level_share": 0.25, "level_persistence": 0.998, "short_share": 0.25, "short_persistence": 0.5},
}
"""Where a descent begins; persistences are those over the usual gap."""
_UNKNOWN = 12**-0.5
"""Standard error of a number of which only is known that it lies between 0 and 1."""
KINDS: tuple[Kind, ...] = ("none", "ar1", "ar1_noise", "level")
"""Models by the number of their parameters: independent, AR(1), AR(1) with noise, and with a slow level as well."""


@pytree
class MemoryFit:
    """One model of memory fitted to payments."""

    memory: Memory = branch()
    standard_errors: Any = leaf(meaning="by parameter that was fitted; NaN where not identified or at a bound")
    log_likelihood: Scalar = leaf(meaning="of the normal scores")
    aic: Scalar = leaf(meaning="2 parameters - 2 log likelihood")
    bic: Scalar = leaf(meaning="parameters ln(payments) - 2 log likelihood")
    converged: Scalar = leaf(meaning="whether the descent met its tolerance")
    used: Scalar = leaf(meaning="payments used")
    fit: Fit | None = leaf(meaning="of the descent; None for no memory")


def loss(parameters: Any, template: Memory, scores: Any, gaps: Any) -> jax.Array:
    """Mean negative log likelihood of the template with the parameters put in."""
    return model.negative_log_likelihood(leaves.replace(template, parameters), scores, gaps)


def fit_memory(
    distribution: Any, *, payments_eth: Any, slots: Any, key: jax.Array, kind: Kind = "level", restarts: int = 2
) -> MemoryFit:
    """Fit a model of memory by maximum likelihood of the normal scores.

    Blocks without a known payment are gaps in time, not zeros. The scores are standardised first, so that a family
    that fits the payments badly does not show as memory. Nothing is known of a part that is gone between two known
    payments: a share or persistence whose standard error is above that of any number in [0, 1], 0.29, has NaN in its
    place, and so has the other one of the pair.

    Args:
        distribution: family of block values fitted to the payments.
        payments_eth: [B] payments, ETH; what is not above 0 is left out.
        slots: [B] their slots, increasing.
        key: random key of the restarts, new style.
        kind: "ar1" (one parameter), "ar1_noise" (two), "level" (four) or "none".
        restarts: starts of the descent.

    Returns:
        `MemoryFit`.

    Raises:
        ValueError: the kind is unknown, the vectors differ in shape, slots do not increase, or fewer than 100 payments
            are known.

    Warns:
        ConvergenceWarning: the descent did not meet its tolerance.
    """
    if kind not in _STARTS:
        raise ValueError(leaves.unknown_name("kind of memory", kind, list(_STARTS)))
    scores, gaps = _series(distribution, payments_eth, slots)
    start = _start(kind, gaps)
    template = leaves.replace(Memory(), start | ({"short_share": 1.0} if kind == "ar1" else {}))
    template = jax.tree.map(lambda x: jnp.asarray(x, float), template)
    count = float(scores.size)
    if not start:
        total = -count * float(loss({}, template, scores, gaps))
        return _summary(template, {}, total, count, True, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = fit(
            loss,
            start,
            template,
            scores,
            gaps,
            key=key,
            bounds=dict.fromkeys(start, _INSIDE),
            optimizer="newton",
            restarts=restarts,
            spread=0.5,
            steps=100,
            tolerance=1e-6 if scores.dtype == jnp.float64 else 1e-4,  # a slow level bends by 1e-3
            observations=count,
        )
    if not bool(found.converged):
        words = f"memory '{kind}' did not converge: largest derivative {float(found.gradient_norm):.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    memory = leaves.replace(template, dict(found.parameters))
    return _summary(memory, _errors(found), -count * float(found.loss), count, found.converged, found)


def _start(kind: str, gaps: jax.Array) -> dict[str, float]:
    """Parameters to begin at: a persistence that is gone over the usual gap would have no slope."""
    usual = float(jnp.median(gaps))
    return {
        name: value ** (1.0 / usual) if name.endswith("persistence") else value for name, value in _STARTS[kind].items()
    }


def _errors(found: Fit) -> dict[str, Any]:
    """Standard errors, NaN for both of a share and its persistence where either is not identified."""
    errors = dict(found.standard_errors)
    unknown = {
        name.partition("_")[0]
        for name, error in errors.items()
        if not bool(found.at_bound[name]) and not float(error) <= _UNKNOWN
    }
    return {name: jnp.full_like(e, jnp.nan) if name.partition("_")[0] in unknown else e for name, e in errors.items()}


def _series(distribution: Any, payments_eth: Any, slots: Any) -> tuple[jax.Array, jax.Array]:
    """Standardised normal scores of the known payments, and the slots between them."""
    payments, times = np.asarray(payments_eth, float), np.asarray(slots, float)
    if payments.ndim != 1 or payments.shape != times.shape:
        raise ValueError(f"payments_eth and slots must be vectors alike, got {payments.shape} and {times.shape}")
    wrong = np.flatnonzero(~(np.diff(times) > 0))
    if wrong.size:
        raise ValueError(f"slots must increase, got {times[wrong[0] + 1]:.12g} after {times[wrong[0]]:.12g}")
    known = payments > 0
    if known.sum() < 100:
        raise ValueError(f"payments_eth must hold at least 100 known payments above 0, got {int(known.sum())}")
    scores = np.asarray(model.normal_scores(distribution, jnp.asarray(payments[known])))
    scores = (scores - scores.mean()) / scores.std()
    gaps = np.diff(times[known], prepend=times[known][0] - 1)
    return jnp.asarray(scores, float), jnp.asarray(gaps, float)


def _summary(
    memory: Memory, errors: dict[str, Any], total: float, count: float, converged: Any, found: Fit | None
) -> MemoryFit:
    parameters = len(errors)
    return MemoryFit(
        memory=memory,
        standard_errors=errors,
        log_likelihood=total,
        aic=2.0 * parameters - 2.0 * total,
        bic=parameters * math.log(count) - 2.0 * total,
        converged=converged,
        used=count,
        fit=found,
    )
