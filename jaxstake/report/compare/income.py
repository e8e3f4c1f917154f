"""Chapter 4 and the second finding of the APR guide: MEV, tips, and their share of all income."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxstake.articles.apr_guide import calculator, mev, statements, tips
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.articles.apr_guide.mev import MevModel
from jaxstake.articles.tables.income import numpy_draws
from jaxstake.data import block_values, mainnet
from jaxstake.economy import block_value
from jaxstake.economy.apr import apr
from jaxstake.economy.block_value import LogNormal
from jaxstake.protocol.forks import slots_per_year
from jaxstake.report.compare.row import Basis, Row

PRINTED = MevModel()
MEASURED = ("2023-2024", "2026")
BLOCK_VALUE = "jaxstake.economy.block_value"


def rows(basis: Basis) -> list[Row]:
    """The claims of the chapter."""
    return [*_mean(), *_tail(), *_fit(), *_annual(basis), *_tips(basis), *_share()]


def _mean() -> list[Row]:
    own = mev.expected_mev_per_block(PRINTED)
    found = [
        Row(
            key="mev-stated-mean",
            section="4.1",
            claim='"Average MEV per block about 0.05 ETH", beside the parameters on the same page',
            printed=statements.MEV_PER_BLOCK_ETH,
            protocol=own,
            unit="ETH",
            why=(
                "The right column is the document's own lognormal (-2.5, 1.2). For 0.05 its first parameter would be "
                f"{float(jnp.log(statements.MEV_PER_BLOCK_ETH) - PRINTED.std_log_return**2 / 2):.3f}."
            ),
            module=f"{BLOCK_VALUE}.log_normal_from_median",
        ),
        Row(
            key="mev-sample-mean",
            section="4.1",
            claim="Mean of the 10,000 draws, beside the exact mean",
            printed=mev.mev_distribution(PRINTED, draws=numpy_draws()).mean,
            protocol=own,
            unit="ETH",
            why="Right within its standard error of 0.003; no simulation is needed for it.",
            module=f"{BLOCK_VALUE}.mean",
        ),
    ]
    for period in MEASURED:
        found.append(
            Row(
                key=f"mev-mean-{period}",
                section="4.1",
                claim=f"Mean value of a block, measured {period}",
                printed=own,
                protocol=block_value.mean(block_values.get(period).distribution()),
                unit="ETH",
                why=f"{block_values.get(period).source}.",
                module="jaxstake.data.block_values.get",
            )
        )
    return found


def _tail() -> list[Row]:
    measured = block_values.get("2023-2024").distribution()
    return [
        Row(
            key="mev-median",
            section="4.1",
            claim="Median value of a block, measured 2023-2024",
            printed=mev.mev_quantile(PRINTED, level=0.5),
            protocol=block_value.quantile(measured, level=0.5),
            unit="ETH",
            why="The printed parameters come near the block values of that period in the middle.",
            module=f"{BLOCK_VALUE}.quantile",
        ),
        Row(
            key="mev-p99",
            section="4.1",
            claim="99 % quantile, measured 2023-2024",
            printed=mev.mev_quantile(PRINTED, level=0.99),
            protocol=block_value.quantile(measured, level=0.99),
            unit="ETH",
            why=(
                "The printed spread is wider than that of a lognormal fitted to payments, whose real tail is heavier "
                "still."
            ),
            module=f"{BLOCK_VALUE}.quantile",
        ),
    ]


def _fit() -> list[Row]:
    levels = (jnp.arange(99.0) + 0.5) / 99.0
    true = LogNormal(log_mean=PRINTED.mean_log_return, log_std=PRINTED.std_log_return)
    payments = jnp.concatenate([jnp.asarray([block_value.quantile(true, level=x) for x in levels]), jnp.zeros(1)])
    fitted = mev.fit_mev_model(payments=payments)
    right = block_value.fit_log_normal(payments).distribution
    history: Any = [0.01, 0.04]
    try:
        outcome = str(history + mev.SHIFT)
    except TypeError as error:
        outcome = type(error).__name__
    return [
        Row(
            key="mev-fit-zero",
            section="4.1",
            claim="Mean of the fitted lognormal when one payment in a hundred is zero",
            printed=mev.expected_mev_per_block(fitted),
            protocol=block_value.mean(right),
            unit="ETH",
            why="A zero counts as 1e-10 ETH and stretches the fit. Zeros are another kind of block, counted apart.",
            module=f"{BLOCK_VALUE}.fit_log_normal",
        ),
        Row(
            key="mev-fit-runs",
            section="4.1",
            claim="Fit to a list of two payments",
            printed=float("nan"),
            protocol=block_value.mean(block_value.fit_log_normal(jnp.asarray([0.01, 0.04])).distribution),
            unit="ETH",
            printed_text=outcome,
            why="A list cannot be added to a number, and `if historical_data` has no truth value for an array.",
            module=f"{BLOCK_VALUE}.fit_log_normal",
        ),
    ]


def _annual(basis: Basis) -> list[Row]:
    own, year = mev.expected_mev_per_block(PRINTED), slots_per_year(basis.fork)
    found = [
        Row(
            key=f"mev-year-{count}",
            section="4.1",
            claim=f"MEV of a validator in a year among {count:,}",
            printed=mev.annual_mev_expectation(PRINTED, validator_count=count).annual_mev,
            protocol=own * year / count,
            unit="ETH/year",
            why="Epochs are counted as blocks; an epoch has 32.",
            module="jaxstake.protocol.forks.slots_per_year",
        )
        for count in (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
    ]
    return [
        *found,
        Row(
            key="mev-year-formula",
            section="4.1",
            claim="The same among 500,000 by the formula of the docstring",
            printed=mev.annual_mev_formula(PRINTED, validator_count=500_000),
            protocol=own * year / 500_000,
            unit="ETH/year",
            why="The proposals of a day times the blocks of a year.",
            module="jaxstake.protocol.duties.proposal_probability",
        ),
    ]


def _tips(basis: Basis) -> list[Row]:
    printed = tips.tips_reward_model()
    real = block_value.mean(block_values.get(MEASURED[-1]).distribution())
    year = slots_per_year(basis.fork)
    return [
        Row(
            key="tips-per-block",
            section="4.2",
            claim="Tips per block, beside all that a block paid its proposer in 2026",
            printed=printed.tips_per_block,
            protocol=real,
            unit="ETH",
            why=(
                "A gas price of 30 Gwei, a fifth of it a tip, is assumed. Relay payments contain the tips; adding "
                "both counts them twice."
            ),
            module="jaxstake.data.block_values.get",
        ),
        Row(
            key="tips-per-year",
            section="4.2",
            claim="Tips of all validators in a year, beside all block payments at the level of 2026",
            printed=printed.annual_tips,
            protocol=real * year,
            unit="ETH/year",
            why="The same.",
            module="jaxstake.data.block_values.get",
        ),
        Row(
            key="tips-formula",
            section="4.2",
            claim="Share of the gas price that is the proposer's, by the formula of the docstring",
            printed=tips.tips_formula(gas_prices=jnp.asarray([30.0]), gas_used=jnp.asarray([1.0])) / 30.0,
            protocol=printed.tips_per_block / tips.tips_reward_model(tips_fraction=1.0).tips_per_block,
            why=(
                "It sums whole gas prices; the base fee in them is burnt. The right column is the document's own fifth."
            ),
            module="jaxstake.economy.scenario.Network",
        ),
        Row(
            key="tips-of-a-validator",
            section="4.2",
            claim="Tips of one of 500,000 validators in a year, given the tips of a block",
            printed=tips.validator_tips(validator_count=500_000, tips_per_block=printed.tips_per_block).annual_tips,
            protocol=printed.tips_per_block * year / 500_000,
            unit="ETH/year",
            why="Right, with the 32 slots of an epoch that the MEV of section 4.1 lacks.",
            module="jaxstake.protocol.forks.slots_per_year",
        ),
    ]


def _share() -> list[Row]:
    low, high = (100 * share for share in statements.VARIABLE_SHARE)
    printed = calculator.annual_apr(Calculator(), total_stake=25e6)
    module = "jaxstake.economy.apr.apr"
    claim = "Share of MEV and tips in all income"
    found = [
        Row(
            key="variable-share-own",
            section="conclusion",
            claim=f"{claim}, beside the document's own table at 25 million ETH",
            printed=low,
            printed_high=high,
            protocol=100 * (printed.mev_apr + printed.tips_apr) / printed.total_apr,
            unit="%",
            why="Its own table contradicts it at every stake.",
            module=module,
        )
    ]
    for day in mainnet.snapshots():
        rate = apr(mainnet.scenario(day))
        found.append(
            Row(
                key=f"variable-share-{day.date.isoformat()}",
                section="conclusion",
                claim=f"{claim}, {day.date.isoformat()}",
                printed=low,
                printed_high=high,
                protocol=100 * rate.execution / rate.gross,
                unit="%",
                why="It depends on the year: block values have fallen and the stake has grown.",
                module=module,
            )
        )
    return found
