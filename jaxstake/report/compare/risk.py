"""Chapter 5 and the third finding of the APR guide: risk-adjusted rates and availability."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.articles.apr_guide import risk, statements
from jaxstake.articles.tables.income import NOMINAL_APR, SCENARIOS, SLASH_PENALTY, risk_scenario
from jaxstake.core import leaves
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.apr import apr
from jaxstake.protocol import rewards
from jaxstake.protocol.duties import Moments, standard_deviation, yearly_income_moments
from jaxstake.protocol.slashing import slashing_loss
from jaxstake.report.compare.row import Basis, Row

APR = "jaxstake.economy.apr.apr"
SLASHING = "jaxstake.protocol.slashing.slashing_loss"


def rows(basis: Basis) -> list[Row]:
    """The claims of the chapter."""
    return [*_losses(basis), *_discount(basis), *_sharpe(basis), *_availability(basis)]


def _losses(basis: Basis) -> list[Row]:
    scenario = basis.scenario
    balance, stake = scenario.validator.effective_balance_eth, scenario.network.total_stake_eth
    together = balance + scenario.hazards.other_slashed_stake_eth
    loss = slashing_loss(
        basis.fork,
        effective_balance_eth=balance,
        total_stake_eth=stake,
        slashed_stake_eth=together,
        exit_queue_eth=scenario.network.exit_queue_eth,
    ).total
    chance = scenario.hazards.slashing_probability
    return [
        Row(
            key="expected-slash-loss",
            section="5.1",
            claim="Loss of a validator that loses half its stake with a chance of 0.1 % a year",
            printed=SCENARIOS["conservative"] * SLASH_PENALTY,
            protocol=100 * SCENARIOS["conservative"] * SLASH_PENALTY,
            unit="%/year",
            why="A fraction of the stake is subtracted from a rate in percent. A hundred times too small.",
            module=APR,
        ),
        Row(
            key="slash-penalty",
            section="5.1",
            claim="Share of the stake that a slashing takes, with 39 others slashed beside it",
            printed=100 * SLASH_PENALTY,
            protocol=100 * loss / balance,
            unit="%",
            why="Half the stake takes a sixth of the whole network slashed within the same 36 days.",
            module=SLASHING,
        ),
        Row(
            key="slash-chance",
            section="5.1",
            claim='Chance to be slashed in a year, "conservative"',
            printed=100 * SCENARIOS["conservative"],
            protocol=100 * chance,
            unit="%/year",
            why="87 slashings in a year among 1.06 million validators (to 2025-09-11).",
            module="jaxstake.economy.scenario.Hazards",
        ),
        Row(
            key="slash-loss",
            section="5.1",
            claim='Expected loss by slashing, "conservative", as subtracted',
            printed=SCENARIOS["conservative"] * SLASH_PENALTY,
            protocol=-100 * apr(scenario).slashing,
            unit="%/year",
            why="Three errors, two of them in the other direction.",
            module=APR,
        ),
    ]


def _discount(basis: Basis) -> list[Row]:
    low, high = (100 * share for share in statements.RISK_DISCOUNT)
    claim = "How much lower the rate is for slashing and downtime, relative to the nominal one"
    worst = risk_scenario(slash_probability=SCENARIOS["aggressive"])
    rate = apr(basis.scenario)
    perfect = apr(leaves.replace(basis.scenario, {"validator.uptime": 1.0, "hazards.slashing_probability": 0.0}))
    return [
        Row(
            key="discount-own",
            section="conclusion",
            claim=f"{claim}, beside the document's own most aggressive scenario",
            printed=low,
            printed_high=high,
            protocol=100 * worst.expected_loss / worst.nominal_apr,
            unit="%",
            why="No row of its own table reaches the range.",
            module=APR,
        ),
        Row(
            key="discount-network",
            section="conclusion",
            claim=f"{claim}, the average validator now",
            printed=low,
            printed_high=high,
            protocol=100 * (1 - rate.net / perfect.net),
            unit="%",
            why=f"Nearly all of it is downtime: an uptime of {float(basis.scenario.validator.uptime):.2%}.",
            module=APR,
        ),
    ]


def _sharpe(basis: Basis) -> list[Row]:
    volatility, aversion = 0.15, 2.0
    docstring = risk.variance_adjusted_apr(
        nominal_apr=NOMINAL_APR, risk_aversion=aversion, reward_variance=volatility**2
    )
    return [
        Row(
            key="sharpe-units",
            section="5.1",
            claim='Rate adjusted "in the style of the Sharpe ratio" at a volatility of 15 %',
            printed=risk_scenario(slash_probability=SCENARIOS["standard"]).sharpe_adjusted_apr,
            protocol=NOMINAL_APR - 100 * 0.5 * aversion * volatility**2,
            unit="%/year",
            why="0.0225 is a fraction, 2.25 percentage points, and is subtracted from 4.5 percent as it is.",
            module="jaxstake.protocol.duties.yearly_income_moments",
        ),
        Row(
            key="variance-coefficient",
            section="5.1",
            claim="Price of variance in the docstring over that in the code",
            printed=(NOMINAL_APR - docstring) / (0.5 * aversion * volatility**2),
            protocol=1.0,
            why="The certainty equivalent has half the coefficient of risk aversion, as in the code.",
            module="jaxstake.protocol.duties.yearly_income_moments",
        ),
        Row(
            key="volatility",
            section="5.1",
            claim="Standard deviation of a year's rate, one validator of 32 ETH",
            printed=100 * volatility,
            protocol=100 * _deviation(basis),
            unit="%/year",
            why="Luck in proposals, sync committees and block values. 15 % is nearer to what a price does.",
            module="jaxstake.protocol.duties.yearly_income_moments",
        ),
    ]


def _deviation(basis: Basis) -> Scalar:
    """Standard deviation of the yearly rate of one validator that fulfils every duty."""
    fork, scenario = basis.fork, basis.scenario
    balance, stake = scenario.validator.effective_balance_eth, scenario.network.total_stake_eth
    network = rewards.get_base_reward(fork, effective_balance_eth=stake, total_stake_eth=stake)
    share = rewards.Participation()
    consensus = rewards.proposer_reward(fork, base_reward_eth=network, own=1.0, participation=share, block_rate=1.0)
    value = scenario.block_value
    proposal = Moments(
        mean=consensus / fork.slots_per_epoch + block_value.mean(value), variance=block_value.variance(value)
    )
    slots = fork.slots_per_epoch * fork.epochs_per_sync_committee_period
    income = yearly_income_moments(
        fork,
        validators=1.0,
        effective_balance_eth=balance,
        total_stake_eth=stake,
        steady_eth=0.0,
        proposal=proposal,
        sync_period_eth=slots * rewards.get_sync_participant_reward(fork, total_stake_eth=stake),
    )
    return standard_deviation(income) / balance


def _availability(basis: Basis) -> list[Row]:
    def consensus(uptime: Scalar) -> Scalar:
        return apr(leaves.replace(basis.scenario, {"validator.uptime": uptime})).consensus

    full, slope = jax.value_and_grad(lambda uptime: jnp.asarray(consensus(uptime)))(1.0)
    found = [
        Row(
            key=f"availability-{uptime:g}",
            section="5.2",
            claim=f"Consensus income lost at {uptime:.1%} uptime",
            printed=risk.validator_availability(uptime=uptime).relative_loss,
            protocol=100 * (1 - consensus(uptime) / full),
            unit="%",
            why="What is missed is also penalised: 40/64 for attestations, 2/64 for the sync committee.",
            module=APR,
        )
        for uptime in (0.999, 0.99, 0.98, 0.95, 0.9, 0.8)
    ]
    return [
        *found,
        Row(
            key="availability-break-even",
            section="5.2",
            claim="Uptime at which the consensus rate is zero",
            printed=0.0,
            protocol=100 * (1 - full / slope),
            unit="%",
            why="Below it penalties exceed rewards; as printed a validator never loses.",
            module=APR,
        ),
    ]
