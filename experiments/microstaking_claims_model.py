"""What section 3.2 of the micro-staking analysis speaks of, computed over what nobody knows.

Attack cost, entropy, depth and slippage, each read economically (what an attack, an operator, a market is) and by
counting (the document's own laws: `C ~ n`, `p = 1/n`, `L ~ n`, `S ~ 1/L`, at three counts n). The pools of the market
hold a share of the stake that can be sold, or some days of its trade; the trade that slips is the same at every
minimum. `microstaking_claims.py` holds the changes against the claims.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from scipy.stats import qmc

from jaxstake.analysis.sweep import sweep
from jaxstake.articles import microstaking_analysis as micro
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import pools
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.attack_cost import attack_cost
from jaxstake.microstaking.concentration import entropy_bits
from jaxstake.microstaking.population import Equilibrium, Population, equilibrium, operator_rows
from jaxstake.microstaking.security import corruption_probability, operator_quality
from jaxstake.microstaking.wealth import partial_moment

MINIMA = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0)
COUNTS = ("at_minimum", "at_32", "consolidated")
MAJORITY = 0.51
"""Share of the stake that the attack buys."""
BAND = 0.01
"""Half the width of the band of prices in which depth is measured, over the price."""
ETHER = 121.2e6
"""All ether, which every law of wealth is scaled to."""

RANGES: dict[str, tuple[float, float, str]] = {
    "population.wealth.log_std": (4.8, 6.0, "linear"),
    "population.wealth.log_mean": (-18.0, -14.5, "linear"),
    "population.preferences.solo_share_small": (0.05, 1.0, "linear"),
    "population.preferences.solo_decline": (0.2, 1.0, "linear"),
    "population.preferences.median_required_yield": (0.02, 0.06, "log"),
    "population.preferences.log_std_required_yield": (0.4, 2.0, "log"),
    "population.preferences.fee": (0.02, 0.30, "linear"),
    "population.operators.first_share": (0.15, 0.35, "linear"),
    "population.operators.second_share": (0.04, 0.15, "linear"),
    "population.operators.third_share": (0.02, 0.12, "linear"),
    "population.operators.zipf_exponent": (0.6, 1.2, "linear"),
    "population.market.execution_income_eth": (1e4, 1.5e5, "log"),
    "security.kappa_quality": (0.0, 0.5, "linear"),
    "security.loss_fraction": (0.1, 1.0, "linear"),
    "security.impact": (0.3, 3.0, "log"),
    "security.daily_volatility": (0.02, 0.06, "linear"),
    "security.daily_volume_eth": (1e6, 2e7, "log"),
    "price_response": (0.0, 2.0, "linear"),
    "venue.solo_tradability": (0.0, 1.0, "linear"),
    "venue.size_response": (0.0, 1.0, "linear"),
    "venue.turnover": (0.001, 0.01, "log"),
    "venue.pool_days": (1.0, 30.0, "log"),
    "venue.pool_share": (0.002, 0.05, "log"),
    "venue.imbalance": (0.3, 0.7, "linear"),
    "venue.amplification": (10.0, 500.0, "log"),
    "venue.trade_eth": (100.0, 10_000.0, "log"),
}
"""What is uncertain: leaf, least and largest value, and the scale that is sampled evenly. Judgement, and wide."""


@pytree
class Venue:
    """Where stake is sold; see `jaxstake.microstaking.network` for turnover, tradability and response to size."""

    solo_tradability: Scalar = leaf(default=0.1, domain=FRACTION, meaning="turnover of solo stake over that of pools")
    size_response: Scalar = leaf(default=0.3, domain=NON_NEGATIVE, meaning="decline of trade per e-fold of solo stake")
    turnover: Scalar = leaf(default=0.003, unit="1/day", domain=POSITIVE, meaning="part of delegated stake that trades")
    pool_days: Scalar = leaf(default=5.0, unit="days", domain=POSITIVE, meaning="pool over the trade of a day")
    pool_share: Scalar = leaf(default=0.01, domain=POSITIVE, meaning="pool over the stake that can be sold")
    imbalance: Scalar = leaf(default=0.5, domain=PROPER_FRACTION, meaning="staked ether over all in the pool")
    amplification: Scalar = leaf(default=50.0, domain=NON_NEGATIVE, meaning="A of the StableSwap pool")
    trade_eth: Scalar = leaf(default=1_000.0, unit="ETH", domain=POSITIVE, meaning="trade that slips")


@pytree
class Scenario:
    """Holders, attacker and market at a minimum stake."""

    population: Population = branch(default_factory=Population)
    security: SecurityScenario = branch(default_factory=SecurityScenario)
    venue: Venue = branch(default_factory=Venue)
    price_response: Scalar = leaf(default=0.0, domain=NON_NEGATIVE, meaning="d ln(price of ETH) / d ln(stake)")
    minimum_stake_eth: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="smallest solo stake")


def readings(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Every quantity of which section 3.2 claims a change, in every reading, and the state that it belongs to."""
    wealth, v = scenario.population.wealth, scenario.minimum_stake_eth
    ether = partial_moment(wealth, order=1.0, low=wealth.smallest_eth, high=wealth.largest_eth)
    wealth = dataclasses.replace(wealth, holders=wealth.holders * ETHER / ether)
    population = dataclasses.replace(scenario.population, wealth=wealth)
    found = equilibrium(population, minimum_stake_eth=v)
    stakes, counts = operator_rows(population, found, minimum_stake_eth=v)
    number = population.operators.number
    solo, size = stakes[number:], stakes[number:] / counts[number:]
    numbers = (found.validators_at_minimum, found.validators_at_32, found.validators_consolidated)
    n = dict(zip(COUNTS, numbers, strict=True))
    corrupt = _corrupt_share(scenario.security, found, solo, size)
    cost = {"bought": MAJORITY, "bought_less_corrupt": MAJORITY - corrupt}
    state = {
        "total_stake_eth": found.supply.total_eth,
        "solo_share": found.solo_share,
        "corrupt_share": corrupt,
        "cost_of_all_ether": _cost(dataclasses.replace(scenario, price_response=0.0), ETHER, MAJORITY),
        "cost_at_fixed_price": _cost(
            dataclasses.replace(scenario, price_response=0.0), found.supply.total_eth, MAJORITY
        ),
        "small_ether_share": partial_moment(wealth, order=1.0, low=1.0, high=32.0) / ETHER,
    }
    return {
        "attack_cost": {name: _cost(scenario, found.supply.total_eth, share) for name, share in cost.items()}
        | {name: micro.attack_cost(validators=x, cost_per_validator=1.0) for name, x in n.items()},
        "entropy": {"operators": entropy_bits(stakes, counts)}
        | {name: entropy_bits(jnp.ones(1), jnp.reshape(x, 1)) for name, x in n.items()},
        **_market(scenario.venue, found, solo, size, n),
        "state": state,
    }


def _cost(scenario: Scenario, stake: Any, share: Any) -> Any:
    """Cost of buying a share of the stake, at a price of ETH that follows the stake: `P (T / T_0)^response`."""
    s = scenario.security
    return attack_cost(
        total_stake_eth=stake,
        price_usd=s.price_usd * (stake / s.total_stake_eth) ** scenario.price_response,
        daily_volume_eth=s.daily_volume_eth,
        threshold=share,
        loss_fraction=s.loss_fraction,
        impact=s.impact,
        daily_volatility=s.daily_volatility,
    )


def _corrupt_share(security: SecurityScenario, found: Equilibrium, solo: Any, size: Any) -> Any:
    """Stake that need not be bought: that of operators who fail, solo stakers the more so the smaller they are."""
    numbers = {"kappa": security.kappa_quality, "quality_at_32": security.quality_at_32}
    small = corruption_probability(quality=operator_quality(stake_eth=jnp.minimum(size, 32.0), **numbers))
    pool = corruption_probability(quality=security.quality_at_32)
    return (jnp.sum(solo * small) + found.supply.pooled_eth * pool) / found.supply.total_eth


def _market(venue: Venue, found: Equilibrium, solo: Any, size: Any, n: dict[str, Any]) -> dict[str, Any]:
    """Depth and slippage, of pools that hold a share of the stake that can be sold, or days of its trade."""
    pooled = found.supply.pooled_eth
    lively = jnp.sum(solo * (size / 32.0) ** -venue.size_response)
    traded = venue.turnover * (pooled + venue.solo_tradability * lively)
    held = {
        "stake": venue.pool_share * (pooled + venue.solo_tradability * found.supply.solo_eth),
        "volume": venue.pool_days * traded,
    }

    def measure(size_eth: Any) -> dict[str, dict[str, Any]]:
        reserves = {"reserve_x": size_eth * venue.imbalance, "reserve_y": size_eth * (1.0 - venue.imbalance)}
        stable = pools.StableSwap(**reserves, amplification=venue.amplification)
        kinds = {"constant_product": pools.ConstantProduct(**reserves), "stable_swap": stable}
        depth = {kind: pools.depth(pool, half_width=BAND * pools.spot_price(pool)) for kind, pool in kinds.items()}
        slippage = {kind: pools.slippage(pool, amount_in=venue.trade_eth) for kind, pool in kinds.items()}
        return {"depth": depth, "slippage": slippage}

    both = jax.vmap(measure)(jnp.stack(list(held.values())))  # together, which compiles once
    by_pool = {
        quantity: {f"{kind}_{basis}": values[at] for kind, values in kinds.items() for at, basis in enumerate(held)}
        for quantity, kinds in both.items()
    }
    by_count = {name: micro.slippage_from_liquidity(liquidity=x, scale=1.0) for name, x in n.items()}
    return {"depth": by_pool["depth"] | n, "slippage": by_pool["slippage"] | by_count}


def design(scenarios: int, seed: int) -> dict[str, np.ndarray]:
    """Values of every uncertain leaf [scenarios]: the first points of a scrambled Sobol sequence."""
    unit = qmc.Sobol(len(RANGES), seed=seed).random_base2(max(1, math.ceil(math.log2(scenarios))))[:scenarios]
    found = {}
    for (name, (low, high, scale)), u in zip(RANGES.items(), unit.T, strict=True):
        found[name] = low + (high - low) * u if scale == "linear" else low * (high / low) ** u
    return found


def compute(scenarios: int, seed: int) -> xarray.Dataset:
    """All scenarios [scenario] at all minima [minimum], and their parameters; `invalid` is one that is NaN anywhere."""
    drawn = design(scenarios, seed)
    axes = {name: np.repeat(values, len(MINIMA)) for name, values in drawn.items()}
    axes["minimum_stake_eth"] = np.tile(MINIMA, scenarios)
    lanes = sweep(readings, Scenario(), axes, mode="zip", chunk=min(1024, scenarios * len(MINIMA)))
    found = {name: values.to_numpy().reshape(scenarios, -1) for name, values in lanes.data_vars.items()}
    invalid = np.any([~np.isfinite(values).all(axis=1) for values in found.values()], axis=0)
    return xarray.Dataset(
        {name: (("scenario", "minimum"), values) for name, values in found.items()}
        | {name: ("scenario", values) for name, values in drawn.items()},
        {"minimum": list(MINIMA)},
        {"invalid_lanes": lanes.attrs["invalid_lanes"], "seed": seed},
    ).assign(invalid=("scenario", invalid.astype(np.int8)))
