"""The documents' tables, reprinted in their own layout with English headings, each computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from jaxstake.articles.tables import claims, income, penalties, rewards
from jaxstake.articles.tables.layout import Table
from jaxstake.core.leaves import unknown_name

TABLES: Mapping[str, Callable[[], Table]] = MappingProxyType(
    {
        "consensus": rewards.consensus_model,
        "randao": rewards.randao_entropy,
        "base-reward": rewards.base_reward,
        "annual-apr": rewards.annual_apr,
        "stake-sensitivity": rewards.stake_sensitivity,
        "participation-sensitivity": rewards.participation_sensitivity,
        "balance-sensitivity": rewards.balance_sensitivity,
        "missed-attestations": penalties.missed_attestations,
        "leak-by-epochs": penalties.leak_by_epochs,
        "double-sign": penalties.double_sign,
        "leak": penalties.leak,
        "leak-inverse": penalties.leak_inverse,
        "mev-distribution": income.mev_distribution,
        "annual-mev": income.annual_mev,
        "tips": income.tips,
        "tips-by-validators": income.tips_by_validators,
        "risk-adjusted": income.risk_adjusted,
        "availability": income.availability,
        "allocations": income.allocations,
        "strategies": income.strategies,
        "exit": income.exit_delay,
        "advice": income.advice,
        "simulation": claims.simulation,
        "key-findings": claims.key_findings,
    }
)
"""Builders of the tables by name, in the documents' order."""


def get(name: str) -> Table:
    """The table of that name.

    Raises:
        ValueError: unknown name; the message lists the nearest.
    """
    if name not in TABLES:
        raise ValueError(unknown_name("table", name, list(TABLES)))
    return TABLES[name]()
