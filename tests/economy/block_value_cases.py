"""Families of block values at one point each, and their functions compiled once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.economy import block_value
from jaxstake.economy.block_value import Empirical, LogNormal, LogNormalMixture, LogNormalPareto, SkewLogNormal


def arrays(distribution: Any) -> Any:
    """Parameters as arrays, so that one compilation serves them all."""
    return jax.tree.map(lambda x: jnp.asarray(x, float), distribution)


def pareto(**changes: float) -> Any:
    known = {"log_mean": -3.0, "log_std": 0.7, "threshold_eth": 0.12, "tail_share": 0.1, "tail_scale_eth": 0.1}
    return arrays(LogNormalPareto(**({**known, "tail_shape": 0.25} | changes)))


def mixture(share: float) -> Any:
    return arrays(
        LogNormalMixture(
            first_log_mean=-3.3, first_log_std=0.5, second_log_mean=-1.0, second_log_std=0.8, second_share=share
        )
    )


def of_values(distribution: Any, value: Any) -> dict[str, Any]:
    return {
        "cdf": block_value.cdf(distribution, value=value),
        "survival": block_value.survival(distribution, value=value),
        "log_cdf": block_value.log_cdf(distribution, value=value),
        "log_survival": block_value.log_survival(distribution, value=value),
        "log_density": block_value.log_density(distribution, value=value),
        "limited_mean": block_value.limited_mean(distribution, value=value),
    }


def of_levels(distribution: Any, level: Any) -> dict[str, Any]:
    return {
        "quantile": block_value.quantile(distribution, level=level),
        "tail_mean": block_value.tail_mean(distribution, level=level),
    }


at_values, at_levels = jax.jit(of_values), jax.jit(of_levels)
slopes_at_values = jax.jit(jax.vmap(jax.jacrev(of_values, argnums=(0, 1)), in_axes=(None, 0)))
slopes_at_levels = jax.jit(jax.vmap(jax.jacrev(of_levels, argnums=(0, 1)), in_axes=(None, 0)))

WITH_TIES = Empirical(
    value_eth=jnp.asarray([0.01, 0.02, 0.02, 0.05, 0.12, 0.3, 0.3]),
    level=jnp.asarray([0, 0.1, 0.3, 0.35, 0.7, 0.95, 1]),
)
PAID = {
    "log_normal": arrays(LogNormal(log_mean=-2.8, log_std=0.9)),
    "mixture": mixture(0.2),
    "skew": arrays(SkewLogNormal(log_location=-3.6, log_scale=1.2, log_shape=2.5)),
    "pareto": pareto(),
    "empirical": WITH_TIES,
}
