"""Section 2.3 of the APR guide: how the rate responds to stake, participation and balance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxstake.articles.apr_guide import calculator, sensitivity
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.core import leaves
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.economy.apr import apr
from jaxstake.protocol.issuance import perfect_apr
from jaxstake.report.compare.row import Basis, Row, without_rounding

STAKE = 20e6


def elasticity(function: Callable[[Any], Scalar], at: float) -> Scalar:
    """Relative change of the function per relative change of its argument."""
    value, slope = jax.value_and_grad(lambda x: as_float(function(x)))(at)
    return slope * at / value


def rows(basis: Basis) -> list[Row]:
    """The claims of the section."""
    return [*_stake(basis), *_participation(basis), *_balance(basis)]


def _stake(basis: Basis) -> list[Row]:
    printed = Calculator()

    def gross(stake: Scalar) -> Scalar:
        return apr(leaves.replace(basis.scenario, {"network.total_stake_eth": stake})).gross

    study = sensitivity.stake_sensitivity(printed, total_stake=1.1 * STAKE)
    return [
        Row(
            key="stake-elasticity",
            section="2.3",
            claim="Elasticity of the base APR to the stake at 20 million ETH",
            printed=elasticity(lambda stake: calculator.annual_apr(printed, total_stake=stake).base_apr, STAKE),
            protocol=elasticity(lambda stake: perfect_apr(basis.fork, total_stake_eth=stake), STAKE),
            why="One percent more stake costs half a percent of the rate.",
            module="jaxstake.analysis.sensitivity.elasticity",
        ),
        Row(
            key="stake-change",
            section="2.3",
            claim="Change of the total rate from 20 to 22 million ETH",
            printed=study.change_rate,
            protocol=100 * (gross(1.1 * STAKE) / gross(STAKE) - 1),
            unit="%",
            why="The same; the constant 2.5 % for MEV and tips hides some of it.",
            module="jaxstake.economy.apr.apr",
        ),
    ]


def _participation(basis: Basis) -> list[Row]:
    printed = Calculator()
    left_over = calculator.annual_apr(printed, total_stake=STAKE).total_apr

    def study(rate: Scalar) -> sensitivity.ParticipationSensitivity:
        return sensitivity.participation_sensitivity(printed, participation_rate=rate, reference_apr=left_over)

    def consensus(rate: Scalar) -> Scalar:
        values = {"network.total_stake_eth": STAKE, "network.participation": rate, "validator.uptime": 1.0}
        return apr(leaves.replace(basis.scenario, values)).consensus

    return [
        Row(
            key="participation-elasticity",
            section="2.3",
            claim="Elasticity of the rate to the participation of the others, at 99 %",
            printed=without_rounding(elasticity(lambda rate: study(rate).apr, 0.99), scale=1.0),
            protocol=elasticity(consensus, 0.99),
            why="Participation is divided by itself. What a vote pays is proportional to the share that votes alike.",
            module="jaxstake.protocol.rewards.expected_epoch_rewards",
        ),
        Row(
            key="participation-change",
            section="2.3",
            claim="Change of the rate from 99 to 95 % participation",
            printed=study(0.95).change_rate,
            protocol=100 * (consensus(0.95) / consensus(0.99) - 1),
            unit="%",
            why=(
                "The printed change is against the total rate of the study before it, left over in the same variable; "
                "the printed rate is the same at every participation."
            ),
            module="jaxstake.protocol.rewards.expected_epoch_rewards",
        ),
    ]


def _balance(basis: Basis) -> list[Row]:
    printed = Calculator()

    def study(balance: Scalar) -> sensitivity.BalanceSensitivity:
        return sensitivity.effective_balance_sensitivity(printed, effective_balance=balance)

    def consensus(balance: Scalar) -> Scalar:
        values = {"network.total_stake_eth": STAKE, "validator.effective_balance_eth": balance}
        return apr(leaves.replace(basis.scenario, values)).consensus

    ejection = float(basis.fork.ejection_balance_gwei) / GWEI_PER_ETH
    smallest = 16.0
    return [
        Row(
            key="balance-elasticity",
            section="2.3",
            claim="Elasticity of the rate to the effective balance",
            printed=elasticity(lambda balance: study(balance).apr, 32.0),
            protocol=elasticity(consensus, 32.0),
            why="Right: the rate per ETH is the same for every effective balance.",
            module="jaxstake.protocol.rewards.get_base_reward",
            tolerance=1e-9,
        ),
        Row(
            key="balance-of-16",
            section="2.3",
            claim="Rate of a validator with an effective balance of 16 ETH",
            printed=study(smallest).apr,
            protocol=100 * consensus(smallest) if smallest > ejection else 0.0,
            unit="%",
            why=(
                f"At an effective balance of {ejection:g} ETH a validator is ejected. Section 3.2 counts with 8, 4 "
                "and 2 ETH."
            ),
            module="jaxstake.protocol.penalties.ejection_epochs",
        ),
    ]
