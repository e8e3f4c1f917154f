"""Tables of chapters 4 to 6 of the APR guide: MEV, tips, risk, availability, strategies, the exit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.articles.apr_guide import mev, risk, strategy
from jaxstake.articles.apr_guide import tips as fees
from jaxstake.articles.apr_guide.mev import MevModel
from jaxstake.articles.apr_guide.strategy import ADVICE, STRATEGIES, Optimizer
from jaxstake.articles.tables.layout import Column, Line, Table, Value, numbers, over
from jaxstake.core.typing import Scalar

VALIDATOR_COUNTS = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
SEED, DRAWS = 42, 10_000
CAPITAL = 1000.0
NOMINAL_APR, SLASH_PENALTY = 4.5, 0.5
SCENARIOS = {"conservative": 0.001, "standard": 0.01, "aggressive": 0.05}


def numpy_draws(count: int = DRAWS, *, seed: int = SEED) -> jax.Array:
    """[count] standard normal draws of NumPy's legacy generator, those behind the document's numbers."""
    return jnp.asarray(np.random.RandomState(seed).standard_normal(count), float)


def mev_distribution() -> Table:
    """Statistics of the document's own 10,000 draws."""
    found = numbers(mev.mev_distribution(MevModel(), draws=numpy_draws()))
    names = {"mean": "Mean", "median": "Median", "std": "Standard deviation"}
    names |= {"p5": "5% percentile", "p95": "95% percentile", "p99": "99% percentile"}
    return Table(
        name="mev-distribution",
        section="4.1",
        title="MEV model",
        double_rule=70,
        subtitle="1. Statistics of the MEV distribution",
        lines=[Line(key, f"   {name}: {{:.6f}} ETH/block", found[key]) for key, name in names.items()],
    )


def annual_mev() -> Table:
    """Expected MEV of a year by number of validators; the proposals beside it count 32 slots an epoch."""

    def row(validators: float) -> dict[str, Value]:
        found = mev.annual_mev_expectation(MevModel(), validator_count=validators)
        return {**vars(found), "proposals_per_year": found.blocks_per_year / validators * 32}  # type: ignore[dict-item]

    return Table(
        name="annual-mev",
        section="4.1",
        title="2. Expected annual MEV by number of validators",
        columns=[
            Column("validators", "Validators", 15, ">15,"),
            Column("mev_per_block", "MEV/Block", 12, ">12.6f"),
            Column("proposals_per_year", "Proposals", 12, ">12.2f"),
            Column("annual_mev", "MEV/year", 12, ">12.6f", " ETH"),
        ],
        rule=60,
        rows=over(row, validators=VALIDATOR_COUNTS),
    )


def tips() -> Table:
    """Tips of a block and of a year."""
    found = numbers(fees.tips_reward_model(mean_gas_price=30))
    return Table(
        name="tips",
        section="4.2",
        title="Tips",
        double_rule=70,
        lines=[
            Line("average_gas_price_gwei", "Average gas price: {} Gwei", found["average_gas_price_gwei"]),
            Line("tips_per_block", "Tips per block: {:.6f} ETH", found["tips_per_block"]),
            Line("blocks_per_year", "Blocks per year: {:,}", found["blocks_per_year"]),
            Line("annual_tips", "Tips per year: {:.2f} ETH", found["annual_tips"]),
        ],
    )


def tips_by_validators() -> Table:
    """Tips of a validator by number of validators."""
    per_block = numbers(fees.tips_reward_model())["tips_per_block"]

    def row(validators: float) -> fees.ValidatorTips:
        return fees.validator_tips(validator_count=validators, tips_per_block=per_block)  # type: ignore[arg-type]

    return Table(
        name="tips-by-validators",
        section="4.2",
        title="Tips of a validator (by size):",
        columns=[
            Column("validators", "Validators", 15, ">15,"),
            Column("proposals_per_year", "Proposals", 12, ">12.2f"),
            Column("annual_tips", "Tips/year", 12, ">12.6f", " ETH"),
        ],
        rule=50,
        rows=over(row, validators=VALIDATOR_COUNTS),
    )


def risk_scenario(*, slash_probability: Scalar) -> risk.RiskAdjusted:
    """One scenario of section 5.1; only the chance of a slashing differs between them."""
    return risk.risk_adjusted_apr(
        nominal_apr=NOMINAL_APR,
        slash_probability=slash_probability,
        expected_slash_penalty=SLASH_PENALTY,
        downtime_probability=0.1,
        expected_downtime_penalty=0.1,
    )


def risk_adjusted() -> Table:
    """Rate less expected losses in three scenarios."""
    found = over(risk_scenario, slash_probability=list(SCENARIOS.values()))
    return Table(
        name="risk-adjusted",
        section="5.1",
        title="Risk-adjusted returns",
        double_rule=70,
        subtitle="1. Expected losses",
        columns=[
            Column("scenario", "Scenario", 15),
            Column("slash_probability", "P(slash)", 12, ">12.1%"),
            Column("expected_loss", "Expected loss", 15, ">15.4f", "%"),
            Column("risk_adjusted_apr", "Adjusted APR", 12, ">12.4f", "%"),
        ],
        rule=60,
        rows=[{**row, "scenario": name} for name, row in zip(SCENARIOS, found, strict=True)],
    )


def availability() -> Table:
    """Rate by uptime."""

    def row(uptime: float) -> risk.Availability:
        return risk.validator_availability(uptime=uptime)

    return Table(
        name="availability",
        section="5.2",
        title="Availability of the validator and APR",
        double_rule=70,
        columns=[
            Column("uptime", "Uptime", 12, ">12.1%"),
            Column("apr", "APR", 10, ">10.3f", "%"),
            Column("loss", "Loss", 10, ">10.3f", "%"),
            Column("relative_loss", "Relative", 12, ">11.2f", "%"),
        ],
        rule=50,
        rows=over(row, uptime=[1.0, 0.999, 0.99, 0.98, 0.95, 0.90, 0.80]),
        notes=[
            "",
            "Observations:",
            "  - 99% uptime loses about 1% of the income",
            "  - 95% uptime loses about 5% of the income",
            "  - every 1% of uptime less is about 1% of APR less",
        ],
    )


def allocations() -> Table:
    """What the optimiser returns for 1,000 ETH; the document computes it and prints nothing."""
    most = int(strategy.optimal_validator_count(Optimizer(), total_capital=CAPITAL))
    found = {
        name: np.asarray(v).tolist() for name, v in vars(strategy.allocations(Optimizer(), max_validators=most)).items()
    }
    return Table(
        name="allocations",
        section="6.1",
        title="Allocations of 1,000 ETH",
        columns=[
            Column("n", "n", 4, ">4.0f"),
            Column("stake", "Stake", 8, ">8.0f"),
            Column("apr", "APR", 7, ">7.2f", "%"),
            Column("net_apr", "Net APR", 9, ">9.5f", "%"),
            Column("annual_return", "Return/year", 12, ">12.5f", " ETH"),
            Column("risk_adjusted_return", "Adjusted", 12, ">12.5f", " ETH"),
        ],
        rule=70,
        rows=[{name: column[row] for name, column in found.items()} for row in range(most)],
    )


def strategies() -> Table:
    """The four strategies for 100 ETH."""

    def row(stake_fraction: float, management_fee: float) -> strategy.StrategyReturn:
        return strategy.strategy_return(Optimizer(), stake_fraction=stake_fraction, management_fee=management_fee)

    fractions, fees = zip(*STRATEGIES.values(), strict=True)
    found = over(row, stake_fraction=fractions, management_fee=fees)
    return Table(
        name="strategies",
        section="6.1",
        title="Optimal staking strategy",
        double_rule=80,
        columns=[
            Column("strategy", "Strategy", 20),
            Column("stake", "Stake", 10, ">10.1f"),
            Column("net_apr", "APR", 8, ">8.2f", "%"),
            Column("annual_return", "Return/year", 12, ">11.3f", " ETH"),
            Column("net_apr", "Actual APY", 12, ">11.2f", "%"),
        ],
        rule=80,
        rows=[{**row, "strategy": name} for name, row in zip(STRATEGIES, found, strict=True)],
    )


def exit_delay() -> Table:
    """Delay and opportunity cost of leaving."""
    found = numbers(strategy.exit_analysis())
    return Table(
        name="exit",
        section="6.2",
        title="Exit strategy",
        double_rule=70,
        lines=[
            Line("exit_delay_epochs", "Exit delay:\n  Exit delay: {:,} epochs", found["exit_delay_epochs"]),
            Line("hours", "  About: {:.1f} hours", found["hours"]),
            Line("delay_days", "\nOpportunity cost:\n  Delay: {:.1f} days", found["delay_days"]),
            Line("opportunity_cost", "  Opportunity cost: {:.4f} ETH", found["opportunity_cost"]),
        ],
    )


def advice() -> Table:
    """What to do by rate and outlook; derived from nothing."""
    return Table(
        name="advice",
        section="6.2",
        title="When to leave:",
        columns=[
            Column("apr", "Current APR", 12, ">12.1f", "%"),
            Column("outlook", "Outlook", 15),
            Column("advice", "Advice", 26),
        ],
        rule=59,
        rows=[{"apr": row.apr, "outlook": row.outlook, "advice": row.advice} for row in ADVICE],
    )
