"""Tables of chapters 1 and 2 of the APR guide: consensus, base reward, annual rate and its sensitivities."""

from __future__ import annotations

import numpy as np

from jaxstake.articles.apr_guide import calculator as calc
from jaxstake.articles.apr_guide import consensus, randao, sensitivity
from jaxstake.articles.apr_guide import rewards as base
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.articles.apr_guide.statements import CONTRIBUTIONS
from jaxstake.articles.tables.layout import Column, Line, Table, over

VALIDATORS = 500_000
REFERENCE_STAKE = 20_000_000
REFERENCE_PARTICIPATION = 0.99


def consensus_model() -> Table:
    """Expected proposals of one of 500,000 validators."""
    daily = float(consensus.expected_proposals_per_day(validators=VALIDATORS))
    slots = int(consensus.slots_per_day())
    return Table(
        name="consensus",
        section="1.1",
        title="PoS consensus model",
        double_rule=60,
        lines=[
            Line("validators", "Validators: {:,}", VALIDATORS),
            Line("slots_per_day", "Slots per day: {:,}", slots),
            Line("blocks_per_day", "Blocks per day: {:,}", slots),
            Line("expected_proposals_per_day", "Expected proposals of a validator per day: {:.4f}", daily),
            Line("daily_probability", "Chance of being selected (daily): {:.4f}%", daily / slots * 100),
        ],
    )


def randao_entropy() -> Table:
    """XOR and digest of the four sample numbers."""
    words = np.stack([np.frombuffer(number.to_bytes(32, "big"), np.uint8) for number in CONTRIBUTIONS])
    found = randao.randao_entropy(contributions=words)
    combined = int.from_bytes(bytes(np.asarray(found.exclusive_or)), "big")
    return Table(
        name="randao",
        section="1.2",
        title="RANDAO random numbers",
        double_rule=60,
        lines=[
            Line("contributions", "Validators: {}", len(CONTRIBUTIONS)),
            Line("xor", "XOR: {}", f"0x{combined:032x}"),
            Line("sha256", "Final hash: 0x{}", bytes(np.asarray(found.digest)).hex()),
        ],
        notes=[
            "",
            "Security:",
            "  - XOR holds even if some validators cheat",
            "  - with one honest validator the output is still uniform",
        ],
    )


def base_reward() -> Table:
    """Base reward by total stake; the column headed per day holds the income of a year."""
    stakes = [10_000_000, 15_000_000, 20_000_000, 25_000_000, 30_000_000]
    return Table(
        name="base-reward",
        section="2.1",
        title="Base reward function",
        double_rule=70,
        columns=[
            Column("total_effective_stake", "Total stake", 15, ">15,"),
            Column("reward_per_epoch", "Base/epoch", 15, ">15.6f"),
            Column("apr", "APR", 12, ">11.2f", "%"),
            Column("reward_per_year", "Income/day", 12, ">12.6f", " ETH"),
        ],
        rule=70,
        rows=over(base.annual_base_reward, total_effective_stake=stakes),
    )


def annual_apr() -> Table:
    """Annual rate by total stake, component by component."""
    stakes = [10_000_000, 15_000_000, 20_000_000, 25_000_000]
    rows = over(lambda total_stake: calc.annual_apr(Calculator(), total_stake=total_stake), total_stake=stakes)
    lines = []
    for row in rows:
        stake = row["total_stake"]
        assert isinstance(stake, int)
        lines += [
            Line(f"total_stake_{stake}", "\nTotal stake: {:,} ETH", stake),
            Line(f"validators_{stake}", "Validators: {:,}", stake // 32),
            Line(f"base_apr_{stake}", "  Base APR: {:.3f}%", row["base_apr"]),
            Line(f"mev_apr_{stake}", "  MEV APR: {:.3f}%", row["mev_apr"]),
            Line(f"tips_apr_{stake}", "  Tips APR: {:.3f}%", row["tips_apr"]),
            Line(f"total_apr_{stake}", "  Total APR: {:.3f}%", row["total_apr"]),
            Line(f"annual_reward_eth_{stake}", "  Annual reward: {:.4f} ETH", row["annual_reward_eth"]),
        ]
    return Table(
        name="annual-apr", section="2.2", title="Complete reward model", double_rule=80, lines=lines, rows=rows
    )


def stake_sensitivity() -> Table:
    """Change of the annual rate around 20 million ETH."""
    stakes = [18_000_000, 19_000_000, 20_000_000, 21_000_000, 22_000_000]

    def study(total_stake: float) -> sensitivity.StakeSensitivity:
        return sensitivity.stake_sensitivity(Calculator(), total_stake=total_stake, reference_stake=REFERENCE_STAKE)

    return Table(
        name="stake-sensitivity",
        section="2.3",
        title="Sensitivity of the reward function",
        double_rule=80,
        subtitle="1. Sensitivity to the total stake",
        columns=[
            Column("total_stake", "Total stake", 15, ">15,"),
            Column("change", "APR change", 12, ">+11.3f", "%"),
            Column("change_rate", "Change", 12, ">+11.2f", "%"),
        ],
        rule=50,
        rows=over(study, total_stake=stakes),
    )


def participation_sensitivity() -> Table:
    """Annual rate by participation; the first two changes are against the total rate of the study before."""
    rates = [0.95, 0.97, 0.99, 0.995, 1.0]

    def study(participation_rate: float, reference_apr: float) -> sensitivity.ParticipationSensitivity:
        return sensitivity.participation_sensitivity(
            Calculator(), participation_rate=participation_rate, reference_apr=reference_apr
        )

    left_over = float(calc.annual_apr(Calculator(), total_stake=REFERENCE_STAKE).total_apr)
    at_reference = float(study(REFERENCE_PARTICIPATION, left_over).apr)
    references = [left_over if rate < REFERENCE_PARTICIPATION else at_reference for rate in rates]
    return Table(
        name="participation-sensitivity",
        section="2.3",
        title="2. Sensitivity to the participation of the network",
        columns=[
            Column("participation_rate", "Attesting", 12, ">12.1%"),
            Column("apr", "APR", 10, ">10.3f", "%"),
            Column("change_rate", "Change", 12, ">+11.2f", "%"),
        ],
        rule=50,
        rows=over(study, participation_rate=rates, reference_apr=references),
    )


def balance_sensitivity() -> Table:
    """Annual rate by effective balance."""

    def study(effective_balance: float) -> sensitivity.BalanceSensitivity:
        return sensitivity.effective_balance_sensitivity(Calculator(), effective_balance=effective_balance)

    return Table(
        name="balance-sensitivity",
        section="2.3",
        title="3. Sensitivity to the effective balance",
        columns=[
            Column("effective_balance", "Balance", 12, ">12", " ETH"),
            Column("apr", "APR", 10, ">10.3f", "%"),
            Column("annual_reward", "Reward/yr(ETH)", 15, ">15.6f"),
        ],
        rule=50,
        rows=over(study, effective_balance=[16, 24, 32]),
    )
