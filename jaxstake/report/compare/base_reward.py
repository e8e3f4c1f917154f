"""Section 2.1 of the APR guide: the base reward in its printed versions."""

from __future__ import annotations

from jaxstake.articles.apr_guide import rewards
from jaxstake.protocol.forks import epochs_per_day
from jaxstake.protocol.issuance import perfect_apr
from jaxstake.protocol.rewards import get_base_reward
from jaxstake.report.compare.row import Basis, Row

BALANCE, STAKE = 32.0, 10e6
BASE_REWARD = "jaxstake.protocol.rewards.get_base_reward"


def rows(basis: Basis) -> list[Row]:
    """The claims of the section and of appendix A.1."""
    return [*_versions(basis), *_law(basis), *_table(basis)]


def _versions(basis: Basis) -> list[Row]:
    real = get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=STAKE)
    definition = rewards.base_reward_definition(total_participation=STAKE)
    simplified = rewards.base_reward_simplified(total_effective_stake=STAKE)
    further = rewards.base_reward_further_simplified(total_effective_stake=STAKE)
    coincidence = "Equal to `B F (F/S)` only because a validator has 32 ETH and an epoch 32 slots."
    versions = (
        ("definition", "2.1", '"Yellow Paper": `B F (F/S)`', definition, "The factor enters twice, the stake whole."),
        ("simplified", "2.1", "`B F (S F) / B / (T/B)`", simplified, "No simplification: it grows with the stake."),
        ("further-simplified", "2.1", "`B^2 F^2 / (S T)`", further, coincidence),
        ("appendix", "A.1", "`B F (BaseRewardsPerEpoch / S)`", definition, "As in section 2.1; no code computes it."),
    )
    return [
        Row(
            key="base-reward-function",
            section="2.1",
            claim="Base reward per epoch at 10 million ETH, `base_reward_calculation`",
            printed=rewards.base_reward_calculation(total_effective_stake=STAKE).reward_eth,
            protocol=real,
            unit="ETH",
            why="`B F / S` in place of `B F / sqrt(S)` in Gwei, and divided by 1e9 twice.",
            module=BASE_REWARD,
        ),
        *(
            Row(
                key=f"base-reward-{key}",
                section=section,
                claim=f"Base reward per epoch at 10 million ETH, {formula}",
                printed=value,
                protocol=real,
                unit="ETH",
                why=why,
                module=BASE_REWARD,
            )
            for key, section, formula, value, why in versions
        ),
    ]


def _law(basis: Basis) -> list[Row]:
    real, doubled = (
        get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=stake)
        for stake in (STAKE, 2 * STAKE)
    )
    printed, twice = (
        rewards.base_reward_calculation(total_effective_stake=stake).reward_eth for stake in (STAKE, 2 * STAKE)
    )
    return [
        Row(
            key="base-reward-law",
            section="2.1",
            claim="Base reward when the stake doubles, relative to before",
            printed=twice / printed,
            protocol=doubled / real,
            why="It falls with the square root of the stake, not with the stake.",
            module=BASE_REWARD,
        ),
    ]


def _table(basis: Basis) -> list[Row]:
    real = get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=STAKE)
    annual = rewards.annual_base_reward(total_effective_stake=STAKE)
    return [
        Row(
            key="table-rate",
            section="2.1",
            claim="APR at 10 million ETH in the table of base rewards, printed 0.00 %",
            printed=annual.apr,
            protocol=100 * perfect_apr(basis.fork, total_stake_eth=STAKE),
            unit="%",
            why="The base reward of section 2.1 is too small by 1e8; section 2.2 makes it 1e9 times larger.",
            module="jaxstake.protocol.issuance.perfect_apr",
        ),
        Row(
            key="income-per-day",
            section="2.1",
            claim='Column "income per day" at 10 million ETH',
            printed=annual.reward_per_year,
            protocol=real * epochs_per_day(basis.fork),
            unit="ETH/day",
            why=(
                f"The column holds the income of a year, {float(annual.reward_per_year / annual.reward_per_day):g} "
                "times that of a day, of a base reward that is too small."
            ),
            module=BASE_REWARD,
        ),
    ]
