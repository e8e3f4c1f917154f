"""What a minimum stake is good for: security, decentralisation, liquidity, and what the network pays for them.

Five terms, each a mean over the periods of a run. Their sum needs weights and scales, which are arguments: the weights
decide where the optimum lies, so that an optimum without its weights says nothing.

Decentralisation is the entropy, not the entropy over its largest value: that one falls when small independent stakers
join, because the logarithm of their number grows faster than the entropy.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import every, in_domains, poison, require
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import network
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.dynamics import simulate
from jaxstake.microstaking.market_paths import MarketPath
from jaxstake.microstaking.network import DynamicsScenario, Period
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.run_security import FaultSurface, security_levels
from jaxstake.microstaking.wealth import SizeClasses

ENOUGH = 40.0
"""Decimal places of security beyond which more is worth nothing."""


@pytree
class Terms:
    """What welfare adds up; more is better in every one."""

    security: Scalar = leaf(meaning="softmin(s, 40)/40, s the decimal places of security")
    decentralisation: Scalar = leaf(unit="bits", meaning="entropy of the stake over operators")
    liquidity: Scalar = leaf(meaning="ln of volume over volatility, over the reference")
    load: Scalar = leaf(meaning="less the validators at the minimum stake, millions")
    wait: Scalar = leaf(meaning="less the wait for an exit, days")


@pytree
class Weights:
    """How much each term counts, after division by its range. A judgement, not data."""

    security: Scalar = leaf(default=1.0, domain=NON_NEGATIVE)
    decentralisation: Scalar = leaf(default=1.0, domain=NON_NEGATIVE)
    liquidity: Scalar = leaf(default=1.0, domain=NON_NEGATIVE)
    load: Scalar = leaf(default=1.0, domain=NON_NEGATIVE)
    wait: Scalar = leaf(default=1.0, domain=NON_NEGATIVE)


@pytree
class Scale:
    """In what each term is measured."""

    origin: Terms = branch()
    ranges: Terms = branch()


@pytree
class WelfareScenario:
    """The network, what an attack on it takes, and the weights.

    Of `security`, the total stake, the price, the volatility and the stakers' quality are those of the run.
    """

    dynamics: DynamicsScenario = branch(default_factory=DynamicsScenario)
    security: SecurityScenario = branch(default_factory=SecurityScenario)
    weights: Weights = branch(default_factory=Weights)
    # Of the network at rest with a minimum of 32 ETH; it shifts welfare by a constant.
    reference_liquidity_eth: Scalar = leaf(
        default=175_000.0, unit="ETH/day", domain=POSITIVE, meaning="volume over volatility at which ln is 0"
    )


def validate(scenario: WelfareScenario) -> jax.Array | bool:
    """Check every leaf against its domain, and that some weight is positive.

    Raises:
        ValueError: a concrete value breaks a rule.
    """
    return every(in_domains(scenario), network.validate(scenario.dynamics))


def soft_enough(level: jax.Array) -> jax.Array:
    """`softmin(s, 40) / 40`: -ln(exp(-s) + exp(-40)) / 40.

    Example:
        >>> print(f"{soft_enough(jnp.asarray(4.0)):.3f} {soft_enough(jnp.asarray(400.0)):.3f}")
        0.100 1.000
    """
    return -jnp.logaddexp(-level, jnp.asarray(-ENOUGH, level.dtype)) / ENOUGH


def terms(
    scenario: WelfareScenario, periods: Period, path: MarketPath, *, surface: FaultSurface | None = None
) -> Terms:
    """The five terms of a run, means over its periods.

    Args:
        scenario: references.
        periods: a run [T].
        path: its market [T].
        surface: of `run_security.fault_surface`, over what the run visits; default one of its own.

    Raises:
        ValueError: a concrete value is out of range.
    """
    ok = validate(scenario)
    found = Terms(
        security=jnp.mean(soft_enough(security_levels(scenario.security, periods, path, surface=surface))),
        decentralisation=jnp.mean(periods.entropy_nats) / jnp.log(2.0),
        liquidity=jnp.mean(jnp.log(periods.liquidity_eth / scenario.reference_liquidity_eth)),
        load=-jnp.mean(periods.validators) / 1e6,
        wait=-jnp.mean(periods.wait_days),
    )
    return jax.tree.map(lambda value: poison(ok, value), found)


def terms_by_path(
    policy: MinimumStakePolicy,
    scenario: WelfareScenario,
    *,
    classes: SizeClasses,
    paths: MarketPath,
    surface: FaultSurface | None = None,
) -> Terms:
    """The five terms under a policy, path by path.

    Args:
        policy: the rule.
        scenario: the network.
        classes: sizes and numbers of holders [C].
        paths: markets, leaves [S, T].
        surface: of `run_security.fault_surface`, over what all runs visit; default one for each.

    Returns:
        `Terms`, leaves [S].

    Raises:
        ValueError: a concrete value is out of range.
    """

    def one(path: MarketPath) -> Terms:
        _, periods = simulate(policy, scenario.dynamics, classes=classes, path=path)
        return terms(scenario, periods, path, surface=surface)

    return jax.vmap(one)(paths)


def welfare(found: Terms, *, weights: Weights, scale: Scale) -> Scalar:
    """Weighted sum of the terms, each from its origin and over its range.

    Equation: `W = sum(weight_k (term_k - origin_k) / range_k)`.

    Args:
        found: terms.
        weights: at least one is positive.
        scale: the terms of some rule, which has welfare 0; and by how much each moves between the smallest and the
            largest minimum, >= 0. A term that does not move has range 0 and does not count.

    Raises:
        ValueError: a concrete weight is negative, or none is positive.

    Example:
        >>> one = Terms(security=0.2, decentralisation=7.5, liquidity=0.0, load=-1.0, wait=-2.0)
        >>> scale = Scale(
        ...     origin=Terms(security=0.1, decentralisation=7.0, liquidity=0.0, load=-2.0, wait=-2.0),
        ...     ranges=Terms(security=0.1, decentralisation=0.5, liquidity=1.0, load=1.0, wait=2.0))
        >>> print(f"{welfare(one, weights=Weights(load=0.5), scale=scale):.1f}")
        2.5
    """
    ok = in_domains(weights)
    values = [as_float(weight) for weight in jax.tree.leaves(weights)]
    total = sum(values[1:], start=values[0])
    known = require(total > 0, "weights must have a positive sum, got {total}", total=total)
    parts = [
        weight * safe_divide(as_float(term) - start, unit)
        for weight, term, start, unit in zip(
            values, *(jax.tree.leaves(part) for part in (found, scale.origin, scale.ranges)), strict=True
        )
    ]
    return poison(ok, sum(parts[1:], start=parts[0])) * known


def negative_welfare(
    policy: MinimumStakePolicy,
    scenario: WelfareScenario,
    *,
    classes: SizeClasses,
    paths: MarketPath,
    scale: Scale,
    surface: FaultSurface | None = None,
) -> Scalar:
    """The loss of a calibration: less the welfare expected over paths. Arguments and errors as the functions above."""
    found = jax.tree.map(jnp.mean, terms_by_path(policy, scenario, classes=classes, paths=paths, surface=surface))
    return -welfare(found, weights=scenario.weights, scale=scale)
