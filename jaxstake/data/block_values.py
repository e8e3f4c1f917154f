"""Block values measured on mainnet: lognormals, each with its period, source and method.

The heavier-tailed families and their fits need the payments themselves; see `jaxstake.data.payments`. The
LogNormal(-2.5, 1.2) that one of the source documents assumes is of no measured period and is not among these.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from jaxstake.core.leaves import unknown_name

if TYPE_CHECKING:
    from jaxstake.economy.block_value import LogNormal


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockValue:
    """A lognormal block value with its provenance.

    Attributes:
        name: key in `BLOCK_VALUES`.
        start: first day of the blocks behind it.
        end: last day of the blocks behind it.
        settings: either `median_eth` and `mean_eth`, ETH, or `log_mean` and `log_std` of a fit, log ETH.
        source: where the numbers are from.
        method: how they were obtained, and what speaks against them.
    """

    name: str
    start: datetime.date
    end: datetime.date
    settings: Mapping[str, float]
    source: str
    method: str

    def distribution(self) -> LogNormal:
        """The distribution, ETH per block.

        Example:
            >>> value = BLOCK_VALUES["2023-2024"].distribution()
            >>> f"{value.log_mean:.3f} {value.log_std:.3f}"
            '-2.836 0.906'
        """
        from jaxstake.economy import block_value

        if "median_eth" in self.settings:
            return block_value.log_normal_from_median(**self.settings)
        return block_value.LogNormal(**self.settings)


_PAYLOADS_2026 = "aubury.org, The proposer reward lottery: 200,963 MEV-Boost payloads, largest bid over the relays"
_START_2026, _END_2026 = datetime.date(2026, 1, 27), datetime.date(2026, 2, 26)

_ENTRIES = (
    BlockValue(
        name="2026",
        start=_START_2026,
        end=_END_2026,
        settings=MappingProxyType({"median_eth": 0.011, "mean_eth": 0.015}),
        source=_PAYLOADS_2026,
        method=(
            "Median as published. The mean is not the published one, which outliers of up to 189 ETH carry, but the "
            "level that the APR reported on 2026-08-22 leaves for the execution layer: at that stake perfect consensus "
            "duties alone earn all but some 0.08 percentage points of it."
        ),
    ),
    BlockValue(
        name="2026-published-mean",
        start=_START_2026,
        end=_END_2026,
        settings=MappingProxyType({"median_eth": 0.011, "mean_eth": 0.05}),
        source=_PAYLOADS_2026,
        method=(
            "Median and mean as published. 0.46 % of the blocks hold 47 % of the value, so a lognormal of this mean is "
            "too wide in the middle: its 90 % quantile is 0.10 ETH where 0.05 ETH was observed."
        ),
    ),
    BlockValue(
        name="2023-2024",
        start=datetime.date(2023, 10, 10),
        end=datetime.date(2024, 2, 29),
        settings=MappingProxyType({"log_mean": -2.8364702077399673, "log_std": 0.9064387207343341}),
        source="bryanzk/mevboost-data (CC0 1.0): every 20th block from 18,320,007 on",
        method=(
            "Maximum likelihood over the 46,278 positive payments of 50,830 blocks; 4,552 have no record of a payment "
            "(4,339 built locally, 213 delivered by a relay not tracked then) and are left out. The payments average "
            "0.137 ETH, far above the fitted mean of 0.088 ETH: the tail is heavier than lognormal."
        ),
    ),
)

BLOCK_VALUES: Mapping[str, BlockValue] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Embedded block values by name."""


def get(name: str) -> BlockValue:
    """The embedded block value of that name.

    Raises:
        ValueError: unknown name; the message lists the nearest.

    Example:
        >>> get("2026-published-mean").settings["mean_eth"]
        0.05
    """
    if name not in BLOCK_VALUES:
        raise ValueError(unknown_name("block value", name, list(BLOCK_VALUES)))
    return BLOCK_VALUES[name]
