"""The tables of a simulation file, one by one: shares become rows, days become epochs, and every value is checked.

Errors of the engine about rows that overlap or lie outside the registry are left to it (`check_behaviour`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from jaxstake.beacon.behaviour import CHANCES
from jaxstake.beacon.draws import MOST_ROWS
from jaxstake.core.leaves import unknown_name
from jaxstake.data.simulation_values import check_keys, fraction, fractions, length, not_both, number, positive, whole

BALANCE_ETH = 32
"""Balance of a validator without compounding credentials."""

_TIMES = ("from_day", "from_epoch", "days", "epochs")
_ROWS = ("share", "first_share", "first", "count")
FAMILIES = ("LogNormal", "LogNormalMixture", "SkewLogNormal", "LogNormalPareto")
"""Families of block values whose parameters are all numbers."""
_LOGNORMAL = ("median_eth", "mean_eth")
_PACE = ("per_epoch", "every")
_KEYS = {
    "offline": (*_ROWS, *_TIMES, "until_finality"),
    "slashings": (*_ROWS, *_TIMES, *_PACE),
    "exits": (*_ROWS, *_TIMES, *_PACE),
    "merges": (*_ROWS, *_TIMES, *_PACE, "group"),
    "deposits": ("stake_share", "count", *_TIMES, *_PACE, "amount_eth", "compounding"),
}


def registry(table: Mapping[str, Any], validators: int | None = None) -> dict[str, Any]:
    """How many validators there are, and how many of them compound.

    Args:
        table: `[registry]`.
        validators: stronger than the table, if given.
    """
    check_keys("registry", table, ("validators", "compounding_share", "stake_eth", "compounding_balance_eth"))
    if validators is None and "validators" not in table:
        raise ValueError("registry.validators must be given, got none")
    given = ("registry.validators", table.get("validators")) if validators is None else ("validators", validators)
    n = whole(*given, 1, MOST_ROWS)
    not_both("registry", table, "compounding_share", "stake_eth")
    large = whole("registry.compounding_balance_eth", table.get("compounding_balance_eth", 2048), BALANCE_ETH, 2048)
    compounding = round(n * fraction("registry.compounding_share", table.get("compounding_share", 0.0)))
    if "stake_eth" in table:
        wanted = positive("registry.stake_eth", table["stake_eth"])
        step = max(large - BALANCE_ETH, 1)
        compounding = min(max(round((wanted - BALANCE_ETH * n) / step), 0), n)
    return {
        "validators": n,
        "compounding": compounding,
        "compounding_balance_eth": large,
        "stake_eth": float(table["stake_eth"]) if "stake_eth" in table else None,
    }


def stake_eth(found: Mapping[str, Any]) -> int:
    """Stake of a registry, ETH.

    Example:
        >>> stake_eth(registry({"validators": 20_620, "stake_eth": 42_228_608}))
        42227744
    """
    return BALANCE_ETH * found["validators"] + found["compounding"] * (found["compounding_balance_eth"] - BALANCE_ETH)


def chances(table: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Chances by name, each a number or a list with one for each validator.

    A vote for the head is one for the target, and that one for the source, so the rarer ones follow if not given.
    """
    check_keys("chances", table, CHANCES)
    found: dict[str, Any] = {}
    for name, value in table.items():
        full = f"chances.{name}"
        found[name] = fractions(full, value) if isinstance(value, list) else fraction(full, value)
        if isinstance(value, list) and len(value) != n:
            raise ValueError(f"{full} must be one number or one for each of the {n} validators, got {len(value)}")
    for likelier, rarer in (("source", "target"), ("target", "head")):
        if likelier in found:
            found.setdefault(rarer, found[likelier])
    return found


def block_value(table: Any) -> dict[str, Any]:
    """A `family` of block values and its parameters; a lognormal also by `median_eth` and `mean_eth`."""
    from jaxstake.core import checks
    from jaxstake.core.pytree import data_fields
    from jaxstake.economy import block_value

    if not isinstance(table, Mapping):
        raise ValueError(f"block_value must be a table, got {table!r}")
    family = table.get("family", FAMILIES[0])
    if family not in FAMILIES:
        raise ValueError(unknown_name("block_value.family", str(family), list(FAMILIES)))
    given = {name: value for name, value in table.items() if name != "family"}
    if family == FAMILIES[0] and set(_LOGNORMAL) & given.keys():
        given = _lognormal(given)
    names = list(data_fields(getattr(block_value, family)))
    check_keys("block_value", given, names)
    missing = [name for name in names if name not in given]
    if missing:
        also = " (or median_eth and mean_eth)" if family == FAMILIES[0] else ""
        raise ValueError(f"block_value of family {family} must hold {', '.join(names)}{also}, got no {missing[0]}")
    found = {name: number(f"block_value.{name}", given[name]) for name in names}
    try:
        checks.in_domains(getattr(block_value, family)(**found))
    except ValueError as error:
        raise ValueError(f"block_value.{error}") from None
    return {"family": family, **found}


def _lognormal(table: Mapping[str, Any]) -> dict[str, float]:
    """Parameters of a lognormal from its median and mean."""
    if set(table) != set(_LOGNORMAL):
        raise ValueError(f"block_value must hold median_eth and mean_eth and no more, got {', '.join(table)}")
    median, mean = (positive(f"block_value.{name}", table[name]) for name in _LOGNORMAL)
    if mean < median:
        raise ValueError(f"block_value.mean_eth must be at least median_eth = {median}, got {mean}")
    return {"log_mean": math.log(median), "log_std": math.sqrt(2.0 * math.log(mean / median))}


def outages(table: Any, n: int) -> dict[str, Any]:
    """Groups of rows that go offline together, and their chances; who is in none of them never does."""
    if not isinstance(table, Mapping):
        raise ValueError(f"outages must be a table, got {table!r}")
    names = ("shares", "outage_chance", "recovery_chance")
    check_keys("outages", table, names)
    shares, *rest = (fractions(f"outages.{name}", table.get(name)) for name in names)
    for name, values in zip(names[1:], rest, strict=True):
        if len(values) != len(shares):
            raise ValueError(f"outages.{name} must be as long as shares ({len(shares)}), got length {len(values)}")
    if sum(shares) > 1.0 + 1e-9:
        raise ValueError(f"outages.shares must add up to at most 1, got {sum(shares):g}")
    edges = [round(n * sum(shares[:place])) for place in range(len(shares) + 1)]
    sizes = [end - start for start, end in itertools.pairwise(edges)]
    return {"groups": sizes, "outage_chance": rest[0], "recovery_chance": rest[1]}


def schedule(
    kind: str, where: str, table: Mapping[str, Any], *, n: int, stake_eth: float, per_day: float
) -> dict[str, Any]:
    """One entry of a schedule, as the container of its kind takes it.

    Args:
        kind: of the schedule.
        where: its name in messages.
        table: the entry.
        n: validators at the start.
        stake_eth: their stake, ETH.
        per_day: epochs in a day.
    """
    check_keys(where, table, _KEYS[kind])
    start = _start(where, table, per_day)
    if kind == "deposits":
        return _deposits(where, table, stake_eth, start, per_day)
    rows = _rows(where, table, n)
    if kind == "offline":
        forever = table.get("until_finality", False)
        if not isinstance(forever, bool):
            raise ValueError(f"{where}.until_finality must be true or false, got {forever!r}")
        if not {"days", "epochs"} & table.keys() and not forever:
            raise ValueError(f"{where} needs days, epochs or until_finality = true, got none of them")
        long = length(where, table, per_day) if {"days", "epochs"} & table.keys() else 2**40
        return {**rows, "from_epoch": start, "to_epoch": start + long, "until_finality": forever}
    at_once = rows["count"] if kind == "slashings" else 1
    found = {**rows, "from_epoch": start, **_pace(where, table, rows["count"], per_day, at_once)}
    if kind == "merges":
        if "group" not in table:
            raise ValueError(f"{where}.group must be given, got none")
        found["group"] = whole(f"{where}.group", table["group"], 2)
    return found


def _deposits(where: str, table: Mapping[str, Any], stake: float, start: int, per_day: float) -> dict[str, Any]:
    not_both(where, table, "stake_share", "count")
    amount = whole(f"{where}.amount_eth", table.get("amount_eth", BALANCE_ETH), 1, 2048)
    compounding = table.get("compounding", amount > BALANCE_ETH)
    if not isinstance(compounding, bool):
        raise ValueError(f"{where}.compounding must be true or false, got {compounding!r}")
    if "stake_share" in table:
        count = max(1, round(fraction(f"{where}.stake_share", table["stake_share"]) * stake / amount))
    elif "count" in table:
        count = whole(f"{where}.count", table["count"], 1)
    else:
        raise ValueError(f"{where} needs count or stake_share, got neither")
    pace = _pace(where, table, count, per_day, 1)
    return {
        "from_epoch": start,
        "to_epoch": start - (-count * pace["every"] // pace["per_epoch"]),
        "count": count,
        "amount": amount * 10**9,
        **pace,
        "cred_prefix": 2 if compounding else 1,
    }


def _start(where: str, table: Mapping[str, Any], per_day: float) -> int:
    not_both(where, table, "from_day", "from_epoch")
    if "from_epoch" in table:
        return whole(f"{where}.from_epoch", table["from_epoch"], 0)
    day = number(f"{where}.from_day", table.get("from_day", 0))
    if day < 0:
        raise ValueError(f"{where}.from_day must be at least 0, got {day:g}")
    return round(day * per_day)


def _rows(where: str, table: Mapping[str, Any], n: int) -> dict[str, int]:
    """Rows `first` and `count`, given so or as shares of the registry."""
    for one, other in (("share", "count"), ("first_share", "first")):
        not_both(where, table, one, other)
    if "share" not in table and "count" not in table:
        raise ValueError(f"{where} needs share or count, got neither")
    before = fraction(f"{where}.first_share", table.get("first_share", 0.0))
    first = whole(f"{where}.first", table["first"], 0) if "first" in table else round(before * n)
    if "count" in table:
        return {"first": first, "count": whole(f"{where}.count", table["count"], 1)}
    share = fraction(f"{where}.share", table["share"])
    if share == 0.0:
        raise ValueError(f"{where}.share must be greater than 0, got {share:g}")
    start = first / n if "first" in table else before
    return {"first": first, "count": max(1, round((start + share) * n) - first)}


def _pace(where: str, table: Mapping[str, Any], count: int, per_day: float, default: int) -> dict[str, int]:
    """How many in how many epochs: given, or all spread evenly over a time."""
    timed = [key for key in ("days", "epochs") if key in table]
    if timed:
        for key in _PACE:
            not_both(where, table, key, timed[0])
        return {"per_epoch": count, "every": length(where, table, per_day)}
    usual = {"per_epoch": 1 if "every" in table else default, "every": 1}
    return {name: whole(f"{where}.{name}", table.get(name, usual[name]), 1) for name in _PACE}
