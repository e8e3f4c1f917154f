"""Every printed claim of the two source documents beside the protocol's value at the same inputs.

Nothing here is typed in: a claim is computed by `jaxstake.articles`, or is one of the sentences it records, and the
protocol's value by the modules that a row names.
"""

from __future__ import annotations

from jaxstake.report.compare import (
    base_reward,
    consensus,
    income,
    microstaking,
    penalties,
    rewards,
    risk,
    sensitivity,
    strategy,
)
from jaxstake.report.compare.output import as_dict, summary, write
from jaxstake.report.compare.row import Comparison, Row, basis, cells

__all__ = ["Comparison", "Row", "as_dict", "basis", "cells", "run", "summary", "write"]


def run(*, fork: str | None = None) -> Comparison:
    """Compare every claim with the protocol.

    Args:
        fork: rules to compare with, Capella or later; default the newest on mainnet.

    Returns:
        The rows by chapter. Computed in the precision that is set; turn double precision on first.

    Raises:
        ValueError: unknown fork, or one without the rules compared.

    Example:
        >>> found = run()
        >>> next(row for row in found.rows if row.key == "proposer-factor").agrees
        False
    """
    with_fork = basis(fork)
    chapters = {
        "APR guide, chapter 1: proposers and random numbers": consensus,
        "APR guide, section 2.1: base reward": base_reward,
        "APR guide, section 2.2: annual rate": rewards,
        "APR guide, section 2.3: sensitivities": sensitivity,
        "APR guide, chapter 3: penalties and the leak": penalties,
        "APR guide, chapter 4: MEV and tips": income,
        "APR guide, chapter 5: risk and availability": risk,
        "APR guide, chapter 6: strategies and the exit": strategy,
        "Micro-staking analysis": microstaking,
    }
    return Comparison(
        fork=with_fork.name, chapters={title: chapter.rows(with_fork) for title, chapter in chapters.items()}
    )
