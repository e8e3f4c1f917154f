"""The containers of the dynamics: what a network is made of, its state, and what happens in a period."""

from __future__ import annotations

import jax

from jaxstake.core.checks import every, in_domains
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import population as people
from jaxstake.microstaking.liquidity import DynamicLayer
from jaxstake.microstaking.population import Population


@pytree
class Behaviour:
    """How fast stakers move. All are judgements; what they do to a result is what a sweep is for."""

    adjustment: Scalar = leaf(default=1.0, unit="1/year", domain=NON_NEGATIVE, meaning="pace towards the wished share")
    exit_hazard: Scalar = leaf(
        default=0.1, unit="1/year", domain=NON_NEGATIVE, meaning="exits of stakes of 32 ETH at normal volatility"
    )
    volatility_response: Scalar = leaf(
        default=1.0, unit="sqrt(year)", domain=FINITE, meaning="relative change of exits per unit of volatility"
    )
    size_response: Scalar = leaf(default=0.3, domain=NON_NEGATIVE, meaning="decline of exits per e-fold of stake")
    gate_temperature: Scalar = leaf(
        default=0.05, domain=POSITIVE, meaning="width of the minimum stake in the logarithm of wealth"
    )


@pytree
class DynamicsScenario:
    """Everything but the policy and the path."""

    population: Population = branch(default_factory=Population)
    behaviour: Behaviour = branch(default_factory=Behaviour)
    layer: DynamicLayer = branch(default_factory=lambda: DynamicLayer(capacity=50_000.0))
    # Judgement: some hundredths of a percent of liquid staking tokens change hands on a quiet day.
    turnover: Scalar = leaf(default=0.003, unit="1/day", domain=POSITIVE, meaning="part of delegated stake that trades")
    # Judgement: a solo stake can only be sold by leaving.
    solo_turnover: Scalar = leaf(default=0.1, domain=NON_NEGATIVE, meaning="turnover of solo stake over that of pools")
    quality_at_32: Scalar = leaf(default=2.326, domain=FINITE, meaning="quality of a staker with 32 ETH")
    kappa_quality: Scalar = leaf(
        default=0.25, domain=NON_NEGATIVE, meaning="quality lost per e-fold of a smaller stake"
    )
    initial_minimum_eth: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="minimum stake before")
    days: Scalar = leaf(default=7.0, unit="days", domain=POSITIVE, meaning="length of a period")


@pytree
class State:
    """The network at the start of a period."""

    solo: jax.Array = leaf(meaning="[C] share of the class that runs validators, over its mean number")
    pooled: jax.Array = leaf(meaning="[C] share of the class that delegates")
    entering_eth: Scalar = leaf(unit="ETH", meaning="stake that waits to become active")
    leaving_eth: Scalar = leaf(unit="ETH", meaning="active stake that has asked to leave")
    active_eth: Scalar = leaf(unit="ETH", meaning="active stake")
    validators: Scalar = leaf(meaning="active stake over the last minimum")
    reserve_eth: Scalar = leaf(unit="ETH", meaning="reserve of the dynamic layer")


@pytree
class Period:
    """What happened in a period; stacked to [T] by `simulate`."""

    minimum_stake_eth: Scalar = leaf(unit="ETH")
    yield_per_year: Scalar = leaf(unit="1/year")
    active_eth: Scalar = leaf(unit="ETH", meaning="active stake at the start")
    solo_eth: Scalar = leaf(unit="ETH", meaning="stake of solo stakers at the end, entering included, leaving not")
    pooled_eth: Scalar = leaf(unit="ETH", meaning="delegated stake, likewise")
    solo_stakers: Scalar = leaf(meaning="number of solo stakers at the end")
    herfindahl: Scalar = leaf(meaning="index of concentration over operators")
    entropy_nats: Scalar = leaf(meaning="entropy of the stake over operators")
    normalised_entropy: Scalar = leaf(meaning="entropy over the logarithm of the number of operators")
    corruption: Scalar = leaf(meaning="stake-weighted chance that an operator fails")
    validators: Scalar = leaf(meaning="active stake at the start over the minimum")
    entering_eth: Scalar = leaf(unit="ETH", meaning="entry queue at the end")
    leaving_eth: Scalar = leaf(unit="ETH", meaning="exit queue at the end")
    entries_eth: Scalar = leaf(unit="ETH", meaning="asked to enter")
    exits_eth: Scalar = leaf(unit="ETH", meaning="asked to leave")
    admitted_eth: Scalar = leaf(unit="ETH", meaning="became active")
    released_eth: Scalar = leaf(unit="ETH", meaning="left")
    wait_days: Scalar = leaf(unit="days", meaning="wait of the last who asked to leave")
    liquidity_eth: Scalar = leaf(unit="ETH/day", meaning="volume over volatility, both layers")


def validate(scenario: DynamicsScenario) -> jax.Array | bool:
    """Check every leaf against its domain, and the population.

    Raises:
        ValueError: a concrete value breaks a rule.
    """
    return every(in_domains(scenario), people.validate(scenario.population))
