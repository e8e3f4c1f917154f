"""One printed claim beside the protocol's value, and what all of them are computed from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from jaxstake.core.typing import Scalar
from jaxstake.data import mainnet
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import forks
from jaxstake.protocol.forks import Fork

TOLERANCE = 0.02
"""Relative difference up to which a printed value counts as right, where a row does not say otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One claim.

    Attributes:
        key: short name, unique.
        document: "apr-guide" or "microstaking-analysis".
        section: of the document.
        claim: what is printed, in words.
        printed: its value.
        printed_high: upper end, where the document prints a range.
        protocol: the protocol's value at the same inputs; None where there is none.
        unit: of both, "" for a number.
        why: why they differ, or that they do not.
        module: what is right, by dotted name.
        tolerance: relative difference that counts as none.
        printed_text: what to show instead of the printed value.
        protocol_text: what to show instead of the protocol's.
    """

    key: str
    document: str = "apr-guide"
    section: str
    claim: str
    printed: Scalar
    printed_high: Scalar | None = None
    protocol: Scalar | None
    unit: str = ""
    why: str
    module: str
    tolerance: float = TOLERANCE
    printed_text: str = ""
    protocol_text: str = ""

    @property
    def ratio(self) -> float | None:
        """Printed over protocol, or None where that means nothing."""
        if self.protocol is None or self.printed_high is not None or self.printed_text:
            return None
        printed, protocol = float(self.printed), float(self.protocol)
        if protocol == 0 or not math.isfinite(printed / protocol):
            return None
        return printed / protocol

    @property
    def agrees(self) -> bool:
        """Whether the claim holds: equal within the tolerance, or inside the printed range."""
        if self.protocol is None:
            return False
        low, protocol = float(self.printed), float(self.protocol)
        if self.printed_high is not None:
            return low <= protocol <= float(self.printed_high)
        return abs(low - protocol) <= self.tolerance * abs(protocol)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All claims by chapter, and the fork whose rules they are held against."""

    fork: str
    chapters: Mapping[str, Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        """All rows in order."""
        return [row for rows in self.chapters.values() for row in rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Basis:
    """What the protocol's values are computed with: a fork, and the newest scenario under its rules."""

    name: str
    fork: Fork
    scenario: Scenario


def basis(name: str | None = None) -> Basis:
    """The basis under a fork, by default the newest on mainnet.

    Raises:
        ValueError: unknown fork, or one without withdrawals.
    """
    name = name or forks.NEWEST_ON_MAINNET
    fork = forks.get(name)
    if fork.max_withdrawals_per_payload is None:
        raise ValueError(f"the comparison needs the rules of capella or a later fork, got {name}")
    return Basis(name=name, fork=fork, scenario=dataclasses.replace(mainnet.scenario(), fork=fork))


def cells(row: Row) -> dict[str, str]:
    """The numbers of a row as text, with their unit."""
    printed = row.printed_text or quantity(row.printed, row.unit)
    if row.printed_high is not None and not row.printed_text:
        printed = f"{quantity(row.printed, '')} to {quantity(row.printed_high, row.unit)}"
    protocol = row.protocol_text or ("none" if row.protocol is None else quantity(row.protocol, row.unit))
    return {
        "section": row.section,
        "printed": printed,
        "protocol": protocol,
        "ratio": "" if row.ratio is None else ratio_text(row.ratio),
        "verdict": "agrees" if row.agrees else "differs",
    }


def quantity(value: Scalar, unit: str) -> str:
    """A number of four significant digits with its unit.

    Example:
        >>> quantity(52.76531, "%"), quantity(2.048e-13, "ETH"), quantity(236520.0, "ETH/year"), quantity(-198.02, "%")
        ('52.77 %', '2.048e-13 ETH', '236,520 ETH/year', '-198 %')
    """
    number = float(np.asarray(value)) + 0.0
    if number != 0 and not 1e-4 <= abs(number) < 1e9:
        text = f"{number:.4g}"
    elif abs(number) >= 1e4:
        text = f"{number:,.0f}"
    else:
        text = f"{number:,.4g}" if abs(number) < 1000 else f"{number:,.5g}"
    return f"{text} {unit}".rstrip()


def without_rounding(value: Scalar, *, scale: Scalar) -> float:
    """The value, or 0 if it is no more than the rounding of numbers of that scale.

    Example:
        >>> without_rounding(1e-20, scale=1.0), without_rounding(0.5, scale=1.0)
        (0.0, 0.5)
    """
    number = float(np.asarray(value))
    return 0.0 if abs(number) <= 1e3 * float(jnp.finfo(jnp.result_type(float)).eps) * float(scale) else number


def ratio_text(ratio: float) -> str:
    """Printed over protocol: as a factor, or as one over it.

    Example:
        >>> ratio_text(10.0323), ratio_text(1 / 32), ratio_text(1.0), ratio_text(-5.85)
        ('10.03', '1/32', '1', '-5.85')
    """
    if 0 < abs(ratio) < 0.1:
        inverse = 1.0 / ratio
        return f"1/{inverse:,.4g}" if abs(inverse) < 1e5 else f"1/{inverse:.2g}"
    return f"{ratio:,.4g}" if abs(ratio) < 1e5 else f"{ratio:.2g}"
