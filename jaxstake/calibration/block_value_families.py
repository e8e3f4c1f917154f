"""The families that are fitted: where each begins, and which of its parameters are free."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxstake.calibration.block_value_sample import Payments
from jaxstake.economy.block_value import LogNormal, LogNormalMixture, LogNormalPareto, SkewLogNormal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family.

    Attributes:
        title: name for people.
        start: distribution to begin at, of the payments and a threshold.
        free: parameters that are fitted.
        threshold: whether it has a threshold, which is chosen and not fitted.
        parametric: whether it is a candidate of the choice.
    """

    title: str
    start: Callable[[Payments, float | None], Any]
    free: tuple[str, ...] = ()
    threshold: bool = False
    parametric: bool = True


def _log_normal(sample: Payments, _: float | None) -> LogNormal:
    mean, spread, _lean = sample.moments()
    return LogNormal(log_mean=mean, log_std=spread)


def _mixture(sample: Payments, _: float | None) -> LogNormalMixture:
    mean, spread, _lean = sample.moments()
    return LogNormalMixture(
        first_log_mean=mean - 0.3 * spread,
        first_log_std=0.6 * spread,
        second_log_mean=mean + 1.0 * spread,
        second_log_std=1.2 * spread,
        second_share=0.25,
    )


def _skew(sample: Payments, _: float | None) -> SkewLogNormal:
    """By moments, with a lean of the logarithm that a skew-normal can have and that is not 0."""
    mean, spread, lean = sample.moments()
    bounded = math.copysign(min(max(abs(lean), 0.1), 0.9), lean)
    ratio = abs(bounded) ** (2 / 3)
    part = math.sqrt(0.5 * math.pi * ratio / (ratio + ((4 - math.pi) / 2) ** (2 / 3)))
    delta = math.copysign(min(part, 0.98), bounded)
    scale = spread / math.sqrt(1 - 2 * delta**2 / math.pi)
    return SkewLogNormal(
        log_location=mean - scale * delta * math.sqrt(2 / math.pi),
        log_scale=scale,
        log_shape=delta / math.sqrt(1 - delta**2),
    )


def _pareto(sample: Payments, threshold: float | None) -> LogNormalPareto:
    """Body by moments; tail by its share and its mean excess at a shape of 0.3."""
    mean, spread, _lean = sample.moments()
    u = float(threshold if threshold is not None else np.quantile(sample.exact(), 0.9))
    beyond = sample.payment_eth > u
    weights = np.ones_like(sample.payment_eth) if sample.weights is None else sample.weights
    share = float(np.sum(weights[beyond]) / np.sum(weights))
    if not 0 < share < 1:
        raise ValueError(f"threshold_eth must have payments on either side, got {u}")
    excess = float(np.average(sample.payment_eth[beyond] - u, weights=weights[beyond]))
    return LogNormalPareto(
        log_mean=mean,
        log_std=spread,
        threshold_eth=u,
        tail_share=share,
        tail_scale_eth=0.7 * excess,
        tail_shape=0.3,
    )


def _none(sample: Payments, _: float | None) -> None:
    del sample


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "lognormal": Family(title="lognormal", start=_log_normal, free=("log_mean", "log_std")),
        "lognormal_mixture": Family(
            title="mixture of two lognormals",
            start=_mixture,
            free=("first_log_mean", "first_log_std", "second_log_mean", "second_log_std", "second_share"),
        ),
        "skew_lognormal": Family(
            title="skew-normal logarithm", start=_skew, free=("log_location", "log_scale", "log_shape")
        ),
        "lognormal_pareto": Family(
            title="lognormal with Pareto tail",
            start=_pareto,
            free=("log_mean", "log_std", "tail_share", "tail_scale_eth", "tail_shape"),
            threshold=True,
        ),
        "empirical": Family(title="empirical", start=_none, parametric=False),
    }
)
"""Families by name."""


def ordered(distribution: Any, errors: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A mixture with its kinds in the order of their `log_mean`, and its standard errors; others as they are."""
    errors = dict(errors)
    if not isinstance(distribution, LogNormalMixture):
        return distribution, errors
    if float(distribution.first_log_mean) <= float(distribution.second_log_mean):
        return distribution, errors
    swapped = LogNormalMixture(
        first_log_mean=distribution.second_log_mean,
        first_log_std=distribution.second_log_std,
        second_log_mean=distribution.first_log_mean,
        second_log_std=distribution.first_log_std,
        second_share=1.0 - distribution.second_share,
    )
    for name in ("log_mean", "log_std"):
        first, second = f"first_{name}", f"second_{name}"
        errors[first], errors[second] = errors[second], errors[first]
    return swapped, errors
