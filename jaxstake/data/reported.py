"""The APR computed from a snapshot beside the one that was reported on the day, with the difference in numbers."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from jaxstake.data import block_values
from jaxstake.data.mainnet import Snapshot, scenario

if TYPE_CHECKING:
    from jaxstake.economy.scenario import Scenario

REPORTED_DAYS_PER_YEAR = 365.0
"""Year of the ETH.STORE rate, in days."""
REPORTED_STEP = 1e-4
"""Reported APRs are rounded to 0.01 %."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a comparison: a contribution to the APR, or a subtotal, as a fraction per year."""

    label: str
    apr: float
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """The computed APR of a snapshot beside the reported one, and what the difference amounts to.

    Attributes:
        date: day of the snapshot.
        rows: contributions in order; those down to "year of 365 days" add up to "computed".
        computed: expected net APR in the convention of the reported one, a fraction.
        reported: the reported APR, a fraction.
        difference: reported less computed.
        mean_eth: mean block value of the snapshot, ETH.
        closing_mean_eth: mean block value at which the difference would be zero, ETH.
        closing_range_eth: the same at the lower and upper end of what rounds to the reported APR, ETH.
        explanation: why the two differ.
    """

    date: datetime.date
    rows: tuple[Row, ...]
    computed: float
    reported: float
    difference: float
    mean_eth: float
    closing_mean_eth: float
    closing_range_eth: tuple[float, float]
    explanation: str


def comparison(day: Snapshot) -> Comparison:
    """Put the APR computed from a snapshot beside the one that was reported, with the difference in numbers.

    The reported rate is ETH.STORE's: balance changes and priority fees (gas price above the base fee) of all
    validators in a day, over their effective balance, times 365; its mean over seven days.

    Args:
        day: a snapshot; the scenario computed is `scenario(day)`.

    Source: gobitfly/eth.store, `ethstore.go`, January 2026, for what the reported rate contains.

    Example:
        >>> from jaxstake.data.mainnet import newest
        >>> result = comparison(newest())
        >>> print(f"{result.computed:.3%} {result.reported:.2%} {result.closing_mean_eth:.4f} ETH")
        2.618% 2.64% 0.0185 ETH
    """
    from jaxstake.core.units import DAYS_PER_JULIAN_YEAR
    from jaxstake.economy import block_value
    from jaxstake.economy.apr import apr

    average = scenario(day)
    rate = apr(average)
    convention = REPORTED_DAYS_PER_YEAR / DAYS_PER_JULIAN_YEAR
    net = float(rate.net)
    computed = net * convention
    rows = (
        *_consensus_rows(average),
        Row(label="execution layer", apr=float(rate.execution), note=block_values.get(day.block_value).source),
        Row(label="hazards, costs, commission", apr=net - float(rate.gross), note="expected loss in a year"),
        Row(label="year of 365 days", apr=computed - net, note="the model's year has 365.25"),
        Row(label="computed", apr=computed, note="sum of the above: an expectation"),
        Row(label="reported", apr=day.reported_apr, note="7-day mean of realised rewards"),
        Row(label="reported less computed", apr=day.reported_apr - computed, note="see the explanation"),
    )
    mean = float(block_value.mean(average.block_value))
    per_eth = float(rate.mev) / mean * (1.0 - float(average.costs.commission)) * convention

    def closing(target: float) -> float:
        return mean + (target - computed) / per_eth

    half = 0.5 * REPORTED_STEP
    result = Comparison(
        date=day.date,
        rows=rows,
        computed=computed,
        reported=day.reported_apr,
        difference=day.reported_apr - computed,
        mean_eth=mean,
        closing_mean_eth=closing(day.reported_apr),
        closing_range_eth=(closing(day.reported_apr - half), closing(day.reported_apr + half)),
        explanation="",
    )
    return dataclasses.replace(result, explanation=_explanation(result, day, per_eth))


def _consensus_rows(average: Scenario) -> tuple[Row, ...]:
    """From perfect duties to the average validator's, one imperfection at a time."""
    from jaxstake.core import leaves
    from jaxstake.economy.apr import apr

    steps = {
        "network.participation": ("votes that others miss", "smaller rewards for attestations and for including them"),
        "network.block_rate": ("slots without a block", "head votes and sync duties that cannot be fulfilled"),
        "validator.uptime": ("duties that it misses itself", "rewards forgone, and penalties"),
    }
    state = leaves.replace(average, dict.fromkeys(steps, 1.0))
    before = float(apr(state).consensus)
    rows = [Row(label="perfect consensus duties", apr=before, note="64 / sqrt(stake in Gwei) per epoch")]
    for name, (label, note) in steps.items():
        state = leaves.replace(state, {name: leaves.get(average, name)})
        after = float(apr(state).consensus)
        rows.append(Row(label=label, apr=after - before, note=note))
        before = after
    return tuple(rows)


def _explanation(result: Comparison, day: Snapshot, per_eth: float) -> str:
    low, high = result.closing_range_eth
    side = "above" if result.difference > 0 else "below"
    period = block_values.get(day.block_value)
    return (
        f"Reported is {abs(result.difference) * 100:.3f} percentage points {side} computed. It is the realised mean of "
        f"seven days, rounded to {REPORTED_STEP:.2%}, and its execution income is the priority fees of all blocks, not "
        f"what builders pay proposers; computed is an expectation over payments of {period.start} to {period.end}. "
        f"Payments are heavy-tailed, so that a week mostly lies below its expectation and now and then far above. A "
        f"mean block value of {result.closing_mean_eth:.4f} ETH ({low:.4f} to {high:.4f} within the rounding) in place "
        f"of {result.mean_eth:.4f} ETH would close the gap; 0.01 ETH is worth {0.01 * per_eth:.3%}. {day.note}"
    )
