"""The law of an operator's yearly income: what is steady, what each proposal pays, and what each sync seat pays."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxstake.core.checks import confirm, established, every, in_domains, poison, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, Domain
from jaxstake.core.numerics import as_float, safe_divide, safe_sqrt
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.scenario import Scenario, validate
from jaxstake.protocol import duties, forks, rewards
from jaxstake.protocol.duties import Moments
from jaxstake.protocol.rewards import Participation, Performance


@pytree
class IncomeLaw:
    """Income of an operator over a horizon, ETH: `steady + sum of N payments + seats * seat_eth`.

    `N` is Binomial(slots, proposal_chance), a payment is `fixed_eth` plus an independent block value, and the seats are
    Binomial(seat_trials, seat_chance). The return is the income over `capital_eth_years`.
    """

    steady_eth: Scalar = leaf(unit="ETH", meaning="income that does not depend on luck")
    slots: Scalar = leaf(domain=NON_NEGATIVE, meaning="slots in the horizon")
    proposal_chance: Scalar = leaf(domain=FRACTION, meaning="chance to propose in a slot")
    fixed_eth: Scalar = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="what every block pays")
    block_value: Any = branch()
    seat_trials: Scalar = leaf(domain=NON_NEGATIVE, meaning="sync periods in the horizon times validators")
    seat_chance: Scalar = leaf(domain=FRACTION, meaning="chance of a seat in each of them")
    seat_eth: Scalar = leaf(unit="ETH", meaning="income of one seat over its period; negative below half uptime")
    capital_eth_years: Scalar = leaf(unit="ETH year", domain=POSITIVE, meaning="effective balance times the horizon")


def income_law(scenario: Scenario, *, validators: Scalar = 1.0, years: Scalar = 1.0) -> IncomeLaw:
    """The law of the gross income of an operator with equal validators; its mean is that of `apr`, to rounding.

    Equation, with k validators of effective balance EB, total stake T and uptime u: proposals are
    Binomial(slots, k EB/T u), each pays the proposer's consensus reward plus tips plus a block value; seats are
    Binomial(k periods, 512 EB/T), each pays `slots per period * rho * reward * (2 u - 1)`; attestations pay what is
    expected of them, penalties included.

    Attestations have luck too, which is left out: if misses are independent between epochs, their variance is at most
    `epochs u (1-u) (94/64 b m)^2`, a standard deviation of 8e-6 of the return of one validator by default, where
    proposals bring 3.7e-3. Outages that last are not independent; neither are the seats of different validators of one
    operator, which overstates the variance by a share of the order of `k EB/T`. Slashing, leaks, costs and commission
    are not in it: see `net_of_costs`.

    Args:
        scenario: scalars; vmap over a scenario whose leaves are arrays for many.
        validators: number of validators k, >= 1; need not be whole.
        years: length of the horizon, > 0.

    Returns:
        `IncomeLaw`; NaN where a traced value is out of range.

    Raises:
        ValueError: a concrete value is out of range, the operator has more than the total stake, or a validator more
            than one seat of each sync committee in expectation.

    Example:
        >>> law = income_law(Scenario())
        >>> print(f"{law.slots * law.proposal_chance:.3f} proposals of {law.fixed_eth:.4f} ETH and the block's value")
        1.986 proposals of 0.0515 ETH and the block's value
    """
    fork, network, balance = scenario.fork, scenario.network, scenario.validator.effective_balance_eth
    validators = require_domain("validators", validators, Domain(1.0))
    years = require_domain("years", years, POSITIVE)
    stake, uptime = network.total_stake_eth, scenario.validator.uptime
    ok = every(validate(scenario), *_relations(scenario, validators))
    with established():
        steady, fixed = _steady_eth(scenario), _fixed_eth(scenario)
        seats = duties.expected_sync_seats(fork, effective_balance_eth=balance, total_stake_eth=stake)
        signed = rewards.get_sync_participant_reward(fork, total_stake_eth=stake) * network.block_rate
    slots_per_period = fork.epochs_per_sync_committee_period * fork.slots_per_epoch
    return IncomeLaw(
        steady_eth=poison(ok, validators * years * steady),
        slots=years * forks.slots_per_year(fork),
        proposal_chance=poison(ok, validators * balance / stake * uptime),
        fixed_eth=poison(ok, fixed),
        block_value=scenario.block_value,
        seat_trials=validators * years * duties.sync_committee_periods_per_year(fork),
        seat_chance=poison(ok, seats),
        seat_eth=poison(ok, slots_per_period * signed * (2.0 * uptime - 1.0)),
        capital_eth_years=validators * years * balance,
    )


def execution_only(law: IncomeLaw, *, tips_eth: Scalar = 0.0) -> IncomeLaw:
    """The same operator's execution income alone: block values, and `tips_eth` in each block beside them."""
    return dataclasses.replace(
        law, steady_eth=0.0 * law.steady_eth, fixed_eth=tips_eth + 0.0 * law.fixed_eth, seat_eth=0.0 * law.seat_eth
    )


def moments(law: IncomeLaw) -> Moments:
    """Mean, variance and third central moment of the return, in closed form.

    Infinite where the block value's are. `duties.standard_deviation` and `skewness` derive from them.

    Raises:
        ValueError: a concrete leaf of the law is out of range.
    """
    ok = in_domains(law)
    value = law.block_value
    with established():
        spread = block_value.variance(value), block_value.third_central_moment(value)
        payment = Moments(mean=law.fixed_eth + block_value.mean(value), variance=spread[0], third_central=spread[1])
        proposals = duties.binomial_income(trials=law.slots, probability=law.proposal_chance, amount=payment)
        seat = Moments(mean=law.seat_eth, variance=0.0)
        seats = duties.binomial_income(trials=law.seat_trials, probability=law.seat_chance, amount=seat)
        steady = Moments(mean=law.steady_eth, variance=0.0, third_central=0.0)
        total = duties.scale_moments(duties.add_moments(steady, proposals, seats), factor=1.0 / law.capital_eth_years)
    return Moments(**{name: poison(ok, getattr(total, name)) for name in ("mean", "variance", "third_central")})


def return_moments(scenario: Scenario, *, validators: Scalar = 1.0, years: Scalar = 1.0) -> Moments:
    """Moments of the gross return per year; arguments and errors as `income_law`, equation in `duties.binomial_income`.

    The mean is `apr(scenario).gross`, to rounding, whatever the number of validators; the variance falls as 1/k.

    Example:
        >>> one, many = return_moments(Scenario()), return_moments(Scenario(), validators=100.0)
        >>> print(f"{one.mean:.4%} +- {duties.standard_deviation(one):.4%}, {duties.standard_deviation(many):.4%}")
        2.6201% +- 0.3732%, 0.0373%
    """
    return moments(income_law(scenario, validators=validators, years=years))


def sharpe_ratio(moments: Moments, *, risk_free: Scalar) -> Scalar:
    """`(mean - risk_free) / standard deviation`; 0 where the deviation is 0 or infinite.

    Args:
        moments: of the return per year.
        risk_free: rate to compare with, per year, a fraction.

    Example:
        >>> print(f"{sharpe_ratio(Moments(mean=0.03, variance=0.0001), risk_free=0.02):.2f}")
        1.00
    """
    return safe_divide(moments.mean - risk_free, safe_sqrt(moments.variance))


def risk_adjusted_rate(moments: Moments, *, expected_loss: Scalar = 0.0, risk_aversion: Scalar = 2.0) -> Scalar:
    """Mean return less expected losses and a price for its variance: the certainty equivalent of mean and variance.

    Equation: `mean - expected_loss - risk_aversion / 2 * variance`, with all of them per year and as fractions.

    Args:
        moments: of the return per year.
        expected_loss: what `apr` has as slashing, leak, costs and commission, its sign turned, per year, a fraction.
        risk_aversion: coefficient of relative risk aversion, >= 0.

    Raises:
        ValueError: risk_aversion is concrete and negative.

    Source: the APR guide's section 5.1 has half a coefficient of 2 and a volatility of 15 %, which no staking reward
    has, and subtracts a fraction from percent.

    Example:
        >>> print(f"{risk_adjusted_rate(return_moments(Scenario())):.4%}")
        2.6187%
    """
    risk_aversion = require_domain("risk_aversion", risk_aversion, NON_NEGATIVE)
    return moments.mean - expected_loss - 0.5 * risk_aversion * as_float(moments.variance)


def mean_less_deviations(moments: Moments, *, deviations: Scalar = 1.0) -> Scalar:
    """`mean - deviations * standard deviation`, the rate adjusted in units of the return itself."""
    return moments.mean - deviations * safe_sqrt(moments.variance)


def _relations(scenario: Scenario, validators: Scalar) -> list[Any]:
    """The operator within the total stake, and at most one expected seat a validator."""
    forks.require_defined(scenario.fork, "sync_committee_size")
    balance, stake = scenario.validator.effective_balance_eth, scenario.network.total_stake_eth
    held = validators * balance
    within = confirm(
        held <= stake,
        "network.total_stake_eth must be at least validators * effective_balance_eth = {held}, got {stake}",
        held=held,
        stake=stake,
    )
    needed = scenario.fork.sync_committee_size * balance
    seated = confirm(
        needed <= stake,
        "network.total_stake_eth must be at least sync_committee_size * effective_balance_eth = {needed}, got {stake}",
        needed=needed,
        stake=stake,
    )
    return [within, seated]


def _participation(scenario: Scenario) -> Participation:
    p = scenario.network.participation
    return Participation(source=p, target=p, head=p * scenario.network.block_rate, sync=p)


def _steady_eth(scenario: Scenario) -> Scalar:
    """Attestations of one validator in a year, with the penalties for missed ones."""
    network, uptime = scenario.network, scenario.validator.uptime
    own = Performance(source=uptime, target=uptime, head=uptime * network.block_rate, sync=uptime, proposer=uptime)
    epoch = rewards.expected_epoch_rewards(
        scenario.fork,
        effective_balance_eth=scenario.validator.effective_balance_eth,
        total_stake_eth=network.total_stake_eth,
        performance=own,
        participation=_participation(scenario),
        block_rate=network.block_rate,
    )
    base = rewards.get_base_reward(
        scenario.fork,
        effective_balance_eth=scenario.validator.effective_balance_eth,
        total_stake_eth=network.total_stake_eth,
    )
    lost = rewards.missed_attestation_penalty(scenario.fork, base_reward_eth=base, performance=own)
    return (epoch.source + epoch.target + epoch.head - lost) * forks.epochs_per_year(scenario.fork)


def _fixed_eth(scenario: Scenario) -> Scalar:
    """Consensus reward of the proposer of a slot that has a block, and the tips outside the block value."""
    network = scenario.network
    base = rewards.get_base_reward(
        scenario.fork, effective_balance_eth=network.total_stake_eth, total_stake_eth=network.total_stake_eth
    )
    epoch = rewards.proposer_reward(
        scenario.fork,
        base_reward_eth=base,
        own=1.0,
        participation=_participation(scenario),
        block_rate=network.block_rate,
    )
    return epoch / scenario.fork.slots_per_epoch + network.tips_per_block_eth
