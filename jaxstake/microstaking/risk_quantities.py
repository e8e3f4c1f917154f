"""Quantities that risk warnings watch, each against its threshold: readings and margins, pure and to be batched.

Source: Micro-staking analysis, section 5.2 ("establish risk warning mechanisms"), which leaves all of it open.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxstake.core.checks import in_domains, poison
from jaxstake.core.domain import POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import liquidity, pools, stable_curve
from jaxstake.microstaking.assessment import assess
from jaxstake.microstaking.concentration import nakamoto_interpolated, shares
from jaxstake.microstaking.pool_interface import sound
from jaxstake.microstaking.risk_scenario import WarningScenario, stakes
from jaxstake.protocol.forks import Fork, epochs_per_day
from jaxstake.protocol.queues import entry_wait, exit_queue_epochs

DAYS_PER_YEAR = 365.0


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a warning watches: the side of the threshold that is safe, the unit, and one line."""

    safe: Literal["below", "above"]
    unit: str
    meaning: str


RULES = MappingProxyType(
    {
        "corrupt_finality": Rule("below", "1", "corrupt share against what stops finality"),
        "corrupt_fork_choice": Rule("below", "1", "corrupt share against what wins the fork choice"),
        "corrupt_finalises": Rule("below", "1", "corrupt share against what finalises alone"),
        "client_finality": Rule("below", "1", "most used client against what stops finality"),
        "client_fork_choice": Rule("below", "1", "most used client against what wins the fork choice"),
        "client_finalises": Rule("below", "1", "most used client against what finalises alone"),
        "operator_finality": Rule("below", "1", "largest operator against what stops finality"),
        "operator_fork_choice": Rule("below", "1", "largest operator against what wins the fork choice"),
        "operator_finalises": Rule("below", "1", "largest operator against what finalises alone"),
        "nakamoto_finality": Rule("above", "operators", "operators who stop finality together"),
        "nakamoto_fork_choice": Rule("above", "operators", "operators who win the fork choice together"),
        "security_level": Rule("above", "decimals", "decimal places of the daily chance of no attack"),
        "economic_security": Rule("above", "1", "cost of an attack over its expected reward"),
        "exit_queue": Rule("below", "days", "wait to exit"),
        "entry_queue": Rule("below", "days", "wait to enter"),
        "depeg": Rule("below", "1", "discount of the token to its redemption price"),
        "depeg_depth": Rule("above", "tokens", "sales until the discount is critical, against those of the queue"),
        "withdrawal_impact": Rule("below", "1", "fall of the token's price if the queue is sold"),
        "pool_share": Rule("below", "1", "share of the token in its pool"),
        "volatility": Rule("below", "1/sqrt(year)", "volatility of ETH"),
    }
)
"""Every warning by name, in the order of the report."""


@pytree
class Reading:
    """One quantity against its threshold, in its own unit."""

    value: Scalar = leaf(meaning="the quantity now")
    threshold: Scalar = leaf(meaning="where it turns critical")
    margin: Scalar = leaf(meaning="distance to the threshold, positive on the safe side")
    relative: Scalar = leaf(meaning="margin over the size of the threshold; infinite at a threshold of 0")


def selling_to_price(pool: pools.StableSwap, *, price: Scalar) -> Scalar:
    """How much of x is sold to a pool until its spot price, after the fee, is `price`; negative if it is lower already.

    Equation: `x(p) - x` along the invariant, the point of marginal price `p / (1 - fee)` found by a bracketed root.

    Args:
        pool: the pool.
        price: units of y per x, > 0.

    Returns:
        Units of x.

    Raises:
        ValueError: a concrete value is out of its domain.

    Example:
        >>> pool = pools.StableSwap(reserve_x=1e5, reserve_y=1e5, amplification=0.0, fee=0.0)
        >>> print(f"{selling_to_price(pool, price=0.25):.0f}")
        100000
    """
    ok = sound(pool, price=(price, POSITIVE))
    now = stable_curve.point(reserve_x=pool.reserve_x, reserve_y=pool.reserve_y, amplification=pool.amplification)
    then = stable_curve.at_price(now, price=as_float(price) / (1.0 - as_float(pool.fee)))
    return poison(ok, then.size * then.x - pool.reserve_x)


def readings(scenario: WarningScenario, *, fork: Fork) -> dict[str, Reading]:
    """Value, threshold and margin of every warning in `RULES`, in its order.

    Equation: margin `threshold - value` where the safe side is below, `value - threshold` where it is above. The waits
    are those of `exit_queue_epochs` and `entry_wait`; what the queue sells is `sold_share * exit_eth`.

    Args:
        scenario: the system.
        fork: constants, which set the churn limits.

    Returns:
        `Reading` by name.

    Raises:
        ValueError: a concrete leaf is out of its domain, or the leaders' shares add up to more than 1.

    Example:
        >>> from jaxstake.protocol import forks
        >>> found = readings(WarningScenario(), fork=forks.get("fulu"))
        >>> print(f"{found['nakamoto_finality'].value:.2f} {found['client_finality'].margin:.3f}")
        2.02 -0.117
    """
    ok = sound_scenario(scenario)
    pairs: _Pairs = {}
    for function in (_consensus, _security, _waits, _market, _prices):
        pairs |= function(scenario, fork)
    return {name: reading(RULES[name], *pairs[name], ok) for name in RULES}


def margins(scenario: WarningScenario, *, fork: Fork) -> dict[str, Scalar]:
    """Distance of every warning to its threshold, in the warning's unit, positive on the safe side: see `readings`."""
    return {name: found.margin for name, found in readings(scenario, fork=fork).items()}


# --- Groups of quantities, each as (value, threshold) -----------------------------------------------------------------

_Pairs = dict[str, tuple[Scalar, Scalar]]


def _consensus(scenario: WarningScenario, _: Fork) -> _Pairs:
    rows, counts = stakes(scenario.operators)
    limits = scenario.thresholds
    largest = jnp.max(shares(rows) / counts)
    watched = {"corrupt": scenario.corrupt_share, "client": scenario.client_share, "operator": largest}
    steps = {"finality": limits.finality, "fork_choice": limits.fork_choice, "finalises": limits.finalises}
    pairs: _Pairs = {f"{who}_{what}": (share, step) for who, share in watched.items() for what, step in steps.items()}
    for what, floor in (("finality", limits.nakamoto_finality), ("fork_choice", limits.nakamoto_fork_choice)):
        pairs[f"nakamoto_{what}"] = (nakamoto_interpolated(rows, counts, theta=steps[what]), floor)
    return pairs


def _security(scenario: WarningScenario, _: Fork) -> _Pairs:
    rows, counts = stakes(scenario.operators)
    found = assess(scenario.security, stakes=rows, counts=counts)
    limits = scenario.thresholds
    return {
        "security_level": (found.level, limits.level),
        "economic_security": (found.economic_security, limits.economic_security),
    }


def _waits(scenario: WarningScenario, fork: Fork) -> _Pairs:
    total, queues, limits = scenario.security.total_stake_eth, scenario.queues, scenario.thresholds
    epochs = exit_queue_epochs(fork, queue_eth=queues.exit_eth, total_stake_eth=total)
    entry = entry_wait(fork, queue_eth=queues.entry_eth, total_stake_eth=total)
    return {
        "exit_queue": (epochs / epochs_per_day(fork), limits.exit_days),
        "entry_queue": (entry.total, limits.entry_days),
    }


def _market(scenario: WarningScenario, _: Fork) -> _Pairs:
    market, limits = scenario.market, scenario.thresholds
    pool, sold = market.pool, as_float(market.sold_share) * scenario.queues.exit_eth
    critical = (1.0 - as_float(limits.discount)) * market.redemption_price
    return {
        "depeg": (-liquidity.depeg(pool, redemption_price=market.redemption_price), limits.discount),
        "depeg_depth": (selling_to_price(pool, price=critical), sold),
        "withdrawal_impact": (liquidity.withdrawal_price_impact(pool, queue=sold), limits.impact),
        "pool_share": (pool.reserve_x / (as_float(pool.reserve_x) + pool.reserve_y), limits.pool_share),
    }


def _prices(scenario: WarningScenario, _: Fork) -> _Pairs:
    return {
        "volatility": (scenario.security.daily_volatility * math.sqrt(DAYS_PER_YEAR), scenario.thresholds.volatility)
    }


def sound_scenario(scenario: WarningScenario) -> Any:
    """Condition that every leaf lies in its domain; the rows of listed operators are checked where they are used."""
    return in_domains(scenario)


def reading(rule: Rule, value: Scalar, threshold: Scalar, ok: Any) -> Reading:
    """A value against its threshold, NaN where the condition `ok` fails."""
    value, threshold = as_float(value), as_float(threshold)
    margin = threshold - value if rule.safe == "below" else value - threshold
    found = Reading(value=value, threshold=threshold, margin=margin, relative=margin / jnp.abs(threshold))
    return jax.tree.map(lambda number: poison(ok, number), found)


Group = tuple[Callable[[WarningScenario, Fork], _Pairs], tuple[str, ...], tuple[str, ...]]

_OPERATOR_RULES = tuple(name for name in RULES if name.split("_")[0] in {"corrupt", "client", "operator", "nakamoto"})
GROUPS: tuple[Group, ...] = (
    (_consensus, _OPERATOR_RULES, ("operators.", "corrupt_share", "client_share")),
    (_security, ("security_level",), ("operators.", "security.")),
    (_security, ("economic_security",), ("security.",)),
    (_waits, ("exit_queue", "entry_queue"), ("queues.", "security.total_stake_eth")),
    (_market, ("depeg", "depeg_depth", "withdrawal_impact", "pool_share"), ("market.", "queues.exit_eth")),
    (_prices, ("volatility",), ("security.daily_volatility",)),
)
"""Functions, the warnings of each that are differentiated together, and the leaves, beside thresholds, that move them.

One pass over everything at once would carry the security level through each of twenty directions.
"""
