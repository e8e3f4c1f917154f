"""Dated snapshots of Ethereum mainnet, and the scenarios that follow from them.

The newest snapshot is the default of `jaxstake.economy.scenario`. `jaxstake.data.reported` holds the APR of a
snapshot against the one that was reported on the day.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from jaxstake.data import block_values

if TYPE_CHECKING:
    from jaxstake.economy.scenario import Scenario


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The network on one day, as reported.

    Attributes:
        date: day, UTC.
        source: where the numbers are from.
        fork: name of the fork active then.
        active_validators: number of active validators.
        total_stake_eth: stake, ETH.
        voted_stake_eth: stake that voted in the sampled epoch, ETH, where it is known apart from the total.
        supply_eth: supply, ETH.
        reported_apr: 7-day mean of the ETH.STORE rate, consensus and execution, a fraction.
        entry_queue_eth: stake waiting to enter, ETH.
        entry_wait_days: reported wait in that queue, days.
        exit_queue_eth: stake waiting to exit, ETH.
        block_value: name in `jaxstake.data.block_values` of the one that goes with the day.
        note: why that block value, and what is uncertain about the numbers.
    """

    date: datetime.date
    source: str
    fork: str
    active_validators: int
    total_stake_eth: float
    voted_stake_eth: float | None = None
    supply_eth: float
    reported_apr: float
    entry_queue_eth: float
    entry_wait_days: float
    exit_queue_eth: float
    block_value: str
    note: str

    @property
    def participation(self) -> float | None:
        """Share of the stake that voted, or None where only one of the two amounts is known."""
        return None if self.voted_stake_eth is None else self.voted_stake_eth / self.total_stake_eth


_QUEUE_SITE = "validatorqueue.com"
_QUEUE_HISTORY = "etheralpha/validatorqueue-com (MIT), historical_data.json"

_SNAPSHOTS = (
    Snapshot(
        date=datetime.date(2023, 12, 31),
        source=_QUEUE_HISTORY,
        fork="capella",
        active_validators=899_840,
        total_stake_eth=899_840 * 32.0,
        voted_stake_eth=28_704_479.0,
        supply_eth=120_180_708.0,
        reported_apr=0.0362,
        entry_queue_eth=19_392.0,
        entry_wait_days=0.21,
        exit_queue_eth=0.0,
        block_value="2023-2024",
        note="Inside the period of the fitted payments. Stake: 32 ETH for every active validator.",
    ),
    Snapshot(
        date=datetime.date(2025, 12, 31),
        source=_QUEUE_HISTORY,
        fork="fulu",
        active_validators=982_550,
        total_stake_eth=35_567_591.0,
        supply_eth=121_330_302.0,
        reported_apr=0.0285,
        entry_queue_eth=890_134.0,
        entry_wait_days=15.45,
        exit_queue_eth=267_149.0,
        block_value="2026",
        note=(
            "The nearest block value, of two months later. Stake: what voted in the sampled epoch, 0.2 % below the sum "
            "of all balances on that day."
        ),
    ),
    Snapshot(
        date=datetime.date(2026, 8, 22),
        source=_QUEUE_SITE,
        fork="fulu",
        active_validators=901_697,
        total_stake_eth=42_228_608.0,
        supply_eth=121_953_481.0,
        reported_apr=0.0264,
        entry_queue_eth=2_262_825.0,
        entry_wait_days=39.29,
        exit_queue_eth=1_728.0,
        block_value="2026",
        note="The newest block value, of half a year earlier; its mean is set by the APR reported on this day.",
    ),
)


def snapshots() -> tuple[Snapshot, ...]:
    """All embedded snapshots, oldest first."""
    return _SNAPSHOTS


def newest() -> Snapshot:
    """The newest embedded snapshot, which the default scenario describes.

    Example:
        >>> newest().date.isoformat(), newest().fork
        ('2026-08-22', 'fulu')
    """
    return _SNAPSHOTS[-1]


def snapshot(date: datetime.date | str) -> Snapshot:
    """The snapshot of a day.

    Args:
        date: the day, or its ISO form ("2025-12-31").

    Raises:
        ValueError: there is none of that day; the message lists the days.
    """
    wanted = date if isinstance(date, str) else date.isoformat()
    known = {entry.date.isoformat(): entry for entry in _SNAPSHOTS}
    if wanted not in known:
        raise ValueError(f"no snapshot of {wanted}; there are {', '.join(known)}")
    return known[wanted]


def scenario(day: Snapshot | datetime.date | str | None = None) -> Scenario:
    """The average validator of 32 ETH on the network of a snapshot.

    Stake, queues, number of validators, fork and block value are the snapshot's; participation too where it is known,
    and with it the validator's uptime. Everything else is the default of `jaxstake.economy.scenario`.

    Args:
        day: a snapshot or its day; default the newest, which gives the default scenario.

    Raises:
        ValueError: there is no snapshot of that day; the message lists the days.

    Example:
        >>> from jaxstake.economy.apr import apr
        >>> print(f"{apr(scenario('2023-12-31')).consensus:.4%}")
        3.0631%
    """
    from jaxstake.economy.scenario import Network, Scenario, Validator
    from jaxstake.protocol import forks

    if day is None:
        day = newest()
    elif not isinstance(day, Snapshot):
        day = snapshot(day)
    network = Network(
        total_stake_eth=day.total_stake_eth,
        active_validators=float(day.active_validators),
        entry_queue_eth=day.entry_queue_eth,
        exit_queue_eth=day.exit_queue_eth,
    )
    validator = Validator()
    if day.participation is not None:
        network = dataclasses.replace(network, participation=day.participation)
        validator = dataclasses.replace(validator, uptime=day.participation)
    value = block_values.get(day.block_value).distribution()
    return Scenario(network=network, validator=validator, block_value=value, fork=forks.get(day.fork))
