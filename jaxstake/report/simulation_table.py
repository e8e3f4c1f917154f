"""The records of a simulation as a table with units, as a labelled dataset, and in a few numbers."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxstake.beacon.records import BURNT, ISSUED, LEVELS, Record
from jaxstake.core.pytree import meaning_of, unit_of
from jaxstake.core.units import DAYS_PER_JULIAN_YEAR

if TYPE_CHECKING:
    import xarray

    from jaxstake.beacon.simulation import Simulation

ETH = 1e9
"""Gwei in an ETH."""
_TRACED = {
    "balance": ("_gwei", "Gwei", "balance of one validator"),
    "effective_balance": ("_gwei", "Gwei", "effective balance of one validator"),
    "inactivity_score": ("", "1", "inactivity score of one validator"),
    "consensus_income_eth": ("", "ETH", "rewards less penalties of one validator since the start"),
    "execution_income_eth": ("", "ETH", "block values of one validator since the start"),
}
_SUFFIX = {"Gwei": "_gwei", "ETH": "_eth", "epoch": "", "1": ""}


@dataclasses.dataclass(frozen=True)
class Column:
    """Values [R] of one kind, of one quantile if `level` is given, with their unit and meaning."""

    values: np.ndarray
    unit: str
    meaning: str
    level: float | None = None


def columns(records: Record, *, epochs_per_day: float, levels: Sequence[float] = LEVELS) -> dict[str, Column]:
    """Columns by name, the unit of an amount at its end; counts and Gwei stay whole numbers.

    Args:
        records: of a simulation, with a leading axis [R].
        epochs_per_day: of the preset.
        levels: of the quantiles in the records.
    """
    elapsed = np.cumsum(records.tally.epochs)
    found = {
        "day": Column(elapsed / epochs_per_day, "day", "since the start, at the end of the window"),
        "epoch": Column(np.asarray(records.epoch), "epoch", "of the chain, after the window"),
    }
    for field in dataclasses.fields(records.tally):
        found |= _column(field, getattr(records.tally, field.name))
    share = np.asarray(records.tally.target_share) / np.maximum(np.asarray(records.tally.epochs), 1)
    found["target_share"] = Column(share, "1", "stake that got the target right, over the active stake; mean of epochs")
    for field in dataclasses.fields(records):
        values = getattr(records, field.name)
        if field.name in ("consensus_income_eth", "income_eth"):
            meaning = meaning_of(field).split("] ", 1)[-1]
            found |= {
                f"{field.name}_p{100 * level:g}": Column(np.asarray(values)[:, place], "ETH", meaning, level)
                for place, level in enumerate(levels)
            }
        elif field.name not in ("tally", "traced", "epoch"):
            found |= _column(field, values)
    return found


def _column(field: Any, values: Any) -> dict[str, Column]:
    unit = unit_of(field)
    suffix = _SUFFIX[unit]
    name = field.name if field.name.endswith(suffix) else f"{field.name}{suffix}"
    return {name: Column(np.asarray(values), unit, meaning_of(field))}


def to_csv(table: Mapping[str, Column]) -> str:
    """A header and a row for each record; floats to the last digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*(column.values.tolist() for column in table.values()), strict=True):
        writer.writerow([repr(value).removesuffix(".0") if isinstance(value, float) else value for value in row])
    return text.getvalue()


def to_dataset(
    table: Mapping[str, Column],
    *,
    attributes: Mapping[str, Any],
    traced: Mapping[str, Any] | None = None,
    rows: Sequence[int] = (),
) -> xarray.Dataset:
    """Variables over `day`, those of quantiles also over `level`, each with its unit and meaning.

    Args:
        table: from `columns`.
        attributes: of the dataset.
        traced: of the records, by name, [R, K]: variables over `day` and `validator`.
        rows: of the traced validators, [K].
    """
    import xarray

    found: dict[str, Any] = {}
    for name, column in table.items():
        about = {"units": column.unit, "long_name": column.meaning}
        if column.level is None:
            found[name] = ("day", column.values, about)
        elif (whole := name.rpartition("_p")[0]) not in found:
            own = [(other.level, other.values) for key, other in table.items() if key.rpartition("_p")[0] == whole]
            found[whole] = (("day", "level"), np.stack([values for _, values in own], axis=1), about)
    for name, values in traced.items() if traced is not None and rows else ():
        suffix, unit, meaning = _TRACED[name]
        found[f"traced_{name}{suffix}"] = (("day", "validator"), values, {"units": unit, "long_name": meaning})
    levels = [column.level for name, column in table.items() if name.startswith("income_eth_p")]
    day = found.pop("day")
    coordinates = {"day": day, "level": ("level", levels, {"units": "1", "long_name": "of the quantiles"})}
    if rows:
        coordinates["validator"] = ("validator", list(rows), {"units": "1", "long_name": "row of the registry"})
    return xarray.Dataset(found, coords=coordinates, attrs=dict(attributes))


def incomes(simulation: Simulation) -> dict[str, Any]:
    """Income of every row of the registry since the start, as variables over `row`, so that any group can be summed."""
    from jaxstake.beacon.simulation import consensus_income_eth

    about = {"consensus": "rewards less penalties", "execution": "block values"}
    found = {"consensus": consensus_income_eth(simulation), "execution": simulation.execution_income_eth}
    return {
        f"{name}_income_by_row_eth": (
            "row", np.asarray(values), {"units": "ETH", "long_name": f"{about[name]} of each row at the end"},
        )
        for name, values in found.items()
    }  # fmt: skip


def summary(simulation: Simulation, records: Record, *, epochs_per_day: float, slots_per_epoch: int) -> dict[str, Any]:
    """The simulation in a few numbers, ETH, days and fractions.

    Args:
        simulation: after the last epoch.
        records: all of them, [R].
        epochs_per_day: of the preset.
        slots_per_epoch: of the preset.
    """
    tally, last = records.tally, np.shape(records.epoch)[0] - 1
    total = {field.name: np.asarray(getattr(tally, field.name)).sum() for field in dataclasses.fields(tally)}
    issued, burnt = (sum(int(total[name]) for name in names) / ETH for names in (ISSUED, BURNT))
    days = float(total["epochs"]) / epochs_per_day
    start = int(np.asarray(simulation.at_start).sum()) / ETH
    returns = {"consensus": (issued - burnt) / start, "execution": float(total["block_value_eth"]) / start}
    window = np.asarray(tally.target_share) / np.asarray(tally.epochs)
    middle = {level: place for place, level in enumerate(LEVELS)}
    income = np.asarray(records.income_eth)[last]
    return {
        "epochs": int(total["epochs"]),
        "days": days,
        "validators_at_start": int((np.asarray(simulation.at_start) > 0).sum()),
        "active_validators": int(records.active_validators[last]),
        "entered_validators": int(np.asarray(records.entered_validators).sum()),
        "left_validators": int(np.asarray(records.left_validators).sum()),
        "slashed_validators": int(records.slashed_validators[last]),
        "balance_at_start_eth": start,
        "active_stake_eth": int(records.active_stake[last]) / ETH,
        "target_share_mean": float(total["target_share"]) / float(total["epochs"]),
        "target_share_lowest_window": float(window.min()),
        "empty_slots_share": 1.0 - float(total["blocks"]) / (float(total["epochs"]) * slots_per_epoch),
        "leak_epochs": int(total["leak_epochs"]),
        "longest_since_finality_epochs": int(since_finality(records).max()),
        "issued_eth": issued,
        "burnt_eth": burnt,
        **{f"{name}_eth": int(total[name]) / ETH for name in (*ISSUED, *BURNT, "inactivity_penalties")},
        "block_value_eth": float(total["block_value_eth"]),
        **{f"{name}_return": value for name, value in returns.items()},
        **{f"{name}_rate_per_year": value * DAYS_PER_JULIAN_YEAR / days for name, value in returns.items()},
        **{f"income_eth_p{100 * level:g}": float(income[middle[level]]) for level in (0.05, 0.5, 0.95)},
        "overflowed": bool(simulation.state.overflowed),
    }


def since_finality(records: Record) -> np.ndarray:
    """Epochs from the last final checkpoint to the end of each window, [R]; 2 when all is well."""
    return np.asarray(records.epoch, np.int64) - np.asarray(records.finalized_epoch, np.int64)
