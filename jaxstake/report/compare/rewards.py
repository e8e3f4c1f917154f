"""Section 2.2 of the APR guide: the annual rate and the components behind it."""

from __future__ import annotations

from jaxstake.articles.apr_guide import calculator, statements
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.core import leaves
from jaxstake.core.typing import Scalar
from jaxstake.economy.apr import apr
from jaxstake.protocol.duties import (
    expected_sync_seats,
    proposal_probability,
)
from jaxstake.protocol.forks import epochs_per_year
from jaxstake.protocol.issuance import perfect_apr
from jaxstake.protocol.rewards import (
    EpochRewards,
    Participation,
    Performance,
    expected_epoch_rewards,
    get_base_reward,
    get_sync_participant_reward,
    sync_committee_income,
)
from jaxstake.report.compare.row import Basis, Row, without_rounding

PRINTED = Calculator()
BALANCE, STAKE = 32.0, 10e6
BASE_REWARD = "jaxstake.protocol.rewards.get_base_reward"


def perfect(basis: Basis, stake: Scalar) -> EpochRewards:
    """Rewards per epoch of a validator of 32 ETH when every duty of the network is fulfilled."""
    return expected_epoch_rewards(
        basis.fork,
        effective_balance_eth=BALANCE,
        total_stake_eth=stake,
        performance=Performance(),
        participation=Participation(),
    )


def rows(basis: Basis) -> list[Row]:
    """The claims of section 2.2 and of appendix A.2."""
    return [
        *_annual(basis),
        *_attestations(basis),
        *_proposer(basis),
        *_sync(basis),
        *_sync_income(basis),
        *_market(basis),
        *_sums(basis),
    ]


def _annual(basis: Basis) -> list[Row]:
    found = []
    for million in (10, 15, 20, 25, 30):
        printed = calculator.annual_apr(PRINTED, total_stake=million * 1e6)
        found.append(
            Row(
                key=f"base-apr-{million}m",
                section="2.2",
                claim=f"Base APR at {million} million ETH",
                printed=printed.base_apr,
                protocol=100 * perfect_apr(basis.fork, total_stake_eth=million * 1e6),
                unit="%",
                why="The stake where its square root belongs; the error shrinks as the stake grows.",
                module="jaxstake.protocol.issuance.perfect_apr",
            )
        )
    scenario = leaves.replace(basis.scenario, {"network.total_stake_eth": 25e6})
    found.append(
        Row(
            key="total-apr-25m",
            section="2.2",
            claim="Total APR at 25 million ETH, MEV and tips included",
            printed=calculator.annual_apr(PRINTED, total_stake=25e6).total_apr,
            protocol=100 * apr(scenario).gross,
            unit="%",
            why="The same, with block values of 2026 and the duties of an average validator.",
            module="jaxstake.economy.apr.apr",
        )
    )
    return [
        *found,
        Row(
            key="epochs-per-year",
            section="2.2",
            claim="Epochs in a year",
            printed=PRINTED.epochs_per_day * PRINTED.days_per_year,
            protocol=epochs_per_year(basis.fork),
            unit="epochs",
            why="Right; a year of 365.25 days is 0.07 % longer.",
            module="jaxstake.protocol.forks.epochs_per_year",
        ),
    ]


def _attestations(basis: Basis) -> list[Row]:
    real = perfect(basis, STAKE)
    base = get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=STAKE)
    attestation = real.source + real.target + real.head
    annual = calculator.annual_apr(PRINTED, total_stake=STAKE, include_mev=False, include_tips=False)
    daily = calculator.daily_reward(PRINTED, total_stake=STAKE)
    rest = annual.annual_reward_eth - (daily.base + daily.proposer + daily.sync) * PRINTED.days_per_year
    return [
        Row(
            key="base-reward-class",
            section="2.2",
            claim="Base reward per epoch at 10 million ETH, the calculator",
            printed=calculator.base_reward(PRINTED, total_stake=STAKE),
            protocol=base,
            unit="ETH",
            why="A third version, a billion times that of section 2.1.",
            module=BASE_REWARD,
        ),
        Row(
            key="attestation-reward",
            section="2.2",
            claim="Attestation reward per epoch at 10 million ETH",
            printed=calculator.attestation_reward(PRINTED, total_stake=STAKE, participation_rate=1.0),
            protocol=attestation,
            unit="ETH",
            why="1/32 of a base reward that is 10 times too large, where attestations are 54/64 of it.",
            module="jaxstake.protocol.rewards.attestation_reward",
        ),
        Row(
            key="attestation-unused",
            section="2.2",
            claim="Share of attestations in the annual rate",
            printed=without_rounding(100 * rest / annual.annual_reward_eth, scale=100.0),
            protocol=100 * attestation / base,
            unit="%",
            why="The code computes the attestation reward and never adds it.",
            module="jaxstake.protocol.rewards.expected_epoch_rewards",
            tolerance=1e-9,
        ),
    ]


def _proposer(basis: Basis) -> list[Row]:
    daily = calculator.daily_reward(PRINTED, total_stake=STAKE)
    proposer = calculator.proposer_reward(PRINTED, total_stake=STAKE)
    slots = PRINTED.slots_per_epoch * PRINTED.epochs_per_day
    return [
        Row(
            key="proposer-factor",
            section="2.2",
            claim="Proposals per day in the proposer term at 10 million ETH",
            printed=daily.proposer / proposer,
            protocol=slots * proposal_probability(effective_balance_eth=BALANCE, total_stake_eth=STAKE),
            unit="per day",
            why="`7200 / S / 32` divides by the balance where `7200 / (S / 32)` multiplies: a factor of 32 squared.",
            module="jaxstake.protocol.duties.proposal_probability",
        ),
        Row(
            key="proposer-income",
            section="2.2",
            claim="Proposer income in a year at 10 million ETH",
            printed=daily.proposer * PRINTED.days_per_year,
            protocol=perfect(basis, STAKE).proposer * epochs_per_year(basis.fork),
            unit="ETH/year",
            why=(
                "An expectation per epoch is multiplied by proposals per day; the proposer's share is an eighth of all."
            ),
            module="jaxstake.protocol.rewards.proposer_reward",
        ),
    ]


def _sync(basis: Basis) -> list[Row]:
    fork = basis.fork
    sync = calculator.sync_committee_reward(PRINTED, total_stake=STAKE)
    member = fork.slots_per_epoch * get_sync_participant_reward(fork, total_stake_eth=STAKE)
    return [
        Row(
            key="sync-member",
            section="2.2",
            claim="Reward of a sync committee member per epoch at 10 million ETH",
            printed=sync.average,
            protocol=member,
            unit="ETH",
            why="A member shares the sync rewards of all validators, not of one.",
            module="jaxstake.protocol.rewards.get_sync_participant_reward",
        ),
        Row(
            key="sync-chance",
            section="2.2",
            claim="Expected seats in a sync committee at 10 million ETH",
            printed=sync.selection_probability,
            protocol=expected_sync_seats(fork, effective_balance_eth=BALANCE, total_stake_eth=STAKE),
            why="Right for one committee.",
            module="jaxstake.protocol.duties.expected_sync_seats",
        ),
        Row(
            key="sync-period",
            section="2.2",
            claim="Sync committees per epoch",
            printed=statements.SYNC_PERIODS_PER_EPOCH,
            protocol=1 / fork.epochs_per_sync_committee_period,
            why="A committee serves 256 epochs, 27 hours.",
            module="jaxstake.protocol.duties.sync_committee_periods_per_year",
        ),
    ]


def _sync_income(basis: Basis) -> list[Row]:
    sync = calculator.sync_committee_reward(PRINTED, total_stake=STAKE)
    base = get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=STAKE)
    per_epoch = sync_committee_income(basis.fork, base_reward_eth=base, block_rate=1.0)
    income = per_epoch * epochs_per_year(basis.fork)
    module = "jaxstake.protocol.rewards.sync_committee_income"
    return [
        Row(
            key="sync-annual",
            section="2.2",
            claim="Sync income in a year at 10 million ETH",
            printed=sync.annual,
            protocol=income,
            unit="ETH/year",
            why="Not weighted by the chance of being selected; close only because a member's reward is too small.",
            module=module,
        ),
        Row(
            key="sync-weighted",
            section="2.2",
            claim="The same, weighted by the printed chance of being selected",
            printed=sync.annual * sync.selection_probability,
            protocol=income,
            unit="ETH/year",
            why="What the printed numbers give once the chance that is computed is used.",
            module=module,
        ),
    ]


def _market(basis: Basis) -> list[Row]:
    stake = 20e6
    printed = calculator.annual_apr(PRINTED, total_stake=stake)
    now = apr(leaves.replace(basis.scenario, {"network.total_stake_eth": stake}))
    return [
        Row(
            key="mev-rate",
            section="2.2",
            claim="MEV and tips per year at 20 million ETH",
            printed=printed.mev_apr + printed.tips_apr,
            protocol=100 * now.execution,
            unit="%",
            why="2 and 0.5 % are assumed whatever the stake that shares the blocks; measured block values are of 2026.",
            module="jaxstake.economy.apr.apr",
        ),
        Row(
            key="mev-dilution",
            section="2.2",
            claim="MEV of a validator when the stake doubles, relative to before",
            printed=calculator.annual_apr(PRINTED, total_stake=2 * stake).mev_apr / printed.mev_apr,
            protocol=apr(leaves.replace(basis.scenario, {"network.total_stake_eth": 2 * stake})).execution
            / now.execution,
            why="The number of blocks is fixed, so twice the stake halves what a validator proposes.",
            module="jaxstake.economy.apr.apr",
        ),
    ]


def _sums(basis: Basis) -> list[Row]:
    stake = 10e6
    base = calculator.base_reward(PRINTED, total_stake=stake)
    total = calculator.total_reward(
        base=base,
        attestation=calculator.attestation_reward(PRINTED, total_stake=stake),
        proposer=calculator.proposer_reward(PRINTED, total_stake=stake),
        sync=calculator.sync_committee_reward(PRINTED, total_stake=stake).average,
        mev=0.0,
        tips=0.0,
    )
    real = perfect(basis, stake)
    parts = real.source + real.target + real.head + real.sync + real.proposer
    measure = get_base_reward(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=stake)
    return [
        Row(
            key="sum-of-parts",
            section="A.2",
            claim="Consensus rewards over the base reward when all duties are fulfilled",
            printed=total / base,
            protocol=parts / measure,
            why="The base reward is what the duties share (54, 2 and 8 of 64), not one more income beside them.",
            module="jaxstake.protocol.rewards.expected_epoch_rewards",
        ),
    ]
