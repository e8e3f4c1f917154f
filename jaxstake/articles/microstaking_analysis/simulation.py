"""Chapter III of the micro-staking analysis: the simulation that returns nothing, and the findings printed after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Simulation:
    """What the printed simulation computes, and what it returns.

    `results` is what the document's function returns: three empty lists, here arrays of shape (0,). It assigns the
    scores to local variables and drops them; `centralization_risk` it never computes.
    """

    stake_distribution: jax.Array = leaf(meaning="[N] stakes of the one population that is drawn")
    security_score: Any = leaf(meaning="what `calculate_security` returned for it")
    liquidity_score: Any = leaf(meaning="what `calculate_liquidity` returned for it")
    results: Mapping[str, jax.Array] = leaf(meaning="the printed return value: three empty results")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A change that the document claims, as a fraction of the value before: 3.00 is an increase by 300 %.

    Attributes:
        name: what changes, by the name of its function in this package.
        change: the change, a fraction.
        printed: the claim in the document's words.
        section: where it is printed.
    """

    name: str
    change: float
    printed: str
    section: str


MAJORITY = 0.51
"""Section 3.2: the share of an attack, "51% attack cost"."""

KEY_FINDINGS = (
    Finding("attack_cost", 3.00, "51% attack cost increased by ~300%", "3.2"),
    Finding("entropy", 0.45, "Validator diversity improvement: entropy increased by 45%", "3.2"),
    Finding("depth", 2.00, "Market depth improvement: ~200%", "3.2"),
    Finding("slippage", -0.60, "Slippage reduction: average 60% decrease", "3.2"),
)
"""The key findings of section 3.2, which no printed calculation yields: the simulation before them returns nothing.

They do not fit together either. By the document's own `C ∝ n`, +300 % is four times the validators, which adds two
bits to the entropy of equal shares; that is +45 % only from 22 validators (`2 / log2(n) = 0.45`), and +10 % from a
million. By its own `S ∝ 1/L`, three times the depth is -67 % of slippage, not -60 %.
"""


def simulate_stakes(*, draws: jax.Array, mu: Scalar, sigma: Scalar) -> jax.Array:
    """Stakes that follow a lognormal law, from standard normal draws.

    Printed: `stake_distribution = np.random.lognormal(mean=mu, sigma=sigma, size=n_simulations)`, which is
        `exp(mu + sigma z)`.

    Args:
        draws: [N] independent standard normal draws `z`.
        mu: mean of the logarithm of a stake; the document names neither unit nor value.
        sigma: standard deviation of the logarithm of a stake, >= 0.

    Returns:
        [N] stakes; the median is `exp(mu)`.

    Outside: All stakes are `exp(mu)` for a sigma of 0; NaN for a negative one, where NumPy raises an error.

    Protocol: Stakes of validators are not lognormal: an active effective balance is a whole number of ETH between the
        ejection balance and 32 or 2,048 ETH (`jaxstake.protocol.forks.max_effective_balance_eth`), and most are 32. A
        lognormal law may describe what operators hold in all.

    Source: Micro-staking analysis, section 3.1, `simulate_security_liquidity`.

    Example:
        >>> [f"{stake:.1f}" for stake in simulate_stakes(draws=jnp.array([-1.0, 0.0, 1.0]), mu=0.0, sigma=2.0)]
        ['0.1', '1.0', '7.4']
    """
    sigma = as_float(sigma)
    return keep_where(sigma >= 0, jnp.exp(as_float(mu) + sigma * draws), otherwise=jnp.nan)


def simulate_from_draws(
    *,
    draws: jax.Array,
    mu: Scalar,
    sigma: Scalar,
    calculate_security: Callable[[jax.Array], Any],
    calculate_liquidity: Callable[[jax.Array], Any],
) -> Simulation:
    """The printed simulation with its random draws as an argument.

    Printed: `security_score = calculate_security(stake_distribution)`,
        `liquidity_score = calculate_liquidity(stake_distribution)`, `return results`, with `results` three lists that
        are never filled.

    Args:
        draws: [N] independent standard normal draws.
        mu: mean of the logarithm of a stake.
        sigma: standard deviation of the logarithm of a stake, >= 0.
        calculate_security: from [N] stakes to a score; the document calls it and never defines it.
        calculate_liquidity: from [N] stakes to a score; the document calls it and never defines it.

    Returns:
        `Simulation`: the stakes, both scores as the two functions return them, and the printed empty `results`.

    Outside: As `simulate_stakes`.

    Protocol: As `simulate_security_liquidity` (`jaxstake.protocol.penalties.epochs_to_finality`); draws are what makes
        it repeatable and lets NumPy's own be used.

    Source: Micro-staking analysis, section 3.1, `simulate_security_liquidity`.

    Example:
        >>> simulation = simulate_from_draws(draws=jnp.zeros(4), mu=0.0, sigma=1.0, calculate_security=jnp.sum,
        ...                                  calculate_liquidity=jnp.max)
        >>> float(simulation.security_score), float(simulation.liquidity_score)
        (4.0, 1.0)
    """
    stakes = simulate_stakes(draws=draws, mu=mu, sigma=sigma)
    return Simulation(
        stake_distribution=stakes,
        security_score=calculate_security(stakes),
        liquidity_score=calculate_liquidity(stakes),
        results=dict.fromkeys(("security_score", "liquidity_score", "centralization_risk"), stakes[:0]),
    )


def simulate_security_liquidity(
    *,
    key: jax.Array,
    mu: Scalar,
    sigma: Scalar,
    calculate_security: Callable[[jax.Array], Any],
    calculate_liquidity: Callable[[jax.Array], Any],
    n_simulations: int = 10_000,
) -> Simulation:
    """The printed Monte Carlo simulation: one population of stakes, two scores, and a return value without them.

    Printed: `results = {'security_score': [], 'liquidity_score': [], 'centralization_risk': []}`, one draw of
        `n_simulations = 10000` lognormal stakes, the two scores of it, `return results`. Nothing is appended.

    Args:
        key: random key, new style; the document seeds nothing.
        mu: mean of the logarithm of a stake, printed `params['mu']`.
        sigma: standard deviation of the logarithm of a stake, printed `params['sigma']`, >= 0.
        calculate_security: from [N] stakes to a score; the document calls it and never defines it.
        calculate_liquidity: from [N] stakes to a score; the document calls it and never defines it.
        n_simulations: number of stakes `N`, not of simulations: it is the size of the one population. It sets a
            shape, so it is not traced.

    Returns:
        `Simulation`. Its `results` are what the document's function returns, and are empty.

    Outside: As `simulate_stakes`.

    Protocol: One population gives one score, without a spread and so without an error. A Monte Carlo study draws many:
        `jax.vmap` of this function over keys. No minimum stake appears anywhere, so nothing here can say what
        micro-staking changes. Scores with a meaning in the protocol are
        `jaxstake.protocol.penalties.epochs_to_finality` and `jaxstake.protocol.queues.exit_wait`.

    Source: Micro-staking analysis, section 3.1, `simulate_security_liquidity`.

    Example:
        >>> simulation = simulate_security_liquidity(key=jax.random.key(0), mu=0.0, sigma=0.0,
        ...                                          calculate_security=jnp.mean, calculate_liquidity=jnp.max)
        >>> simulation.stake_distribution.shape, f"{simulation.security_score:.1f}"
        ((10000,), '1.0')
        >>> {name: result.shape for name, result in simulation.results.items()}
        {'security_score': (0,), 'liquidity_score': (0,), 'centralization_risk': (0,)}
    """
    return simulate_from_draws(
        draws=jax.random.normal(key, (n_simulations,), jnp.result_type(as_float(mu), as_float(sigma))),
        mu=mu,
        sigma=sigma,
        calculate_security=calculate_security,
        calculate_liquidity=calculate_liquidity,
    )
