"""Single values of a simulation file, each checked; the messages name the key, the rule and the value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxstake.core.leaves import unknown_name

MOST_EPOCHS = 1 << 31
"""Epochs that are told apart by their random numbers."""


def check_keys(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `ValueError` at a key that is not known; the message has the nearest."""
    for key in table:
        if key not in known:
            raise ValueError(unknown_name(f"key of {where}" if where else "key", key, list(known)))


def table_of(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table inside a table, empty if it is not there."""
    found = table.get(key, {})
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} must be a table, got {found!r}")
    return found


def whole(name: str, value: Any, least: int, most: int = 2**62) -> int:
    """A whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if not least <= value <= most:
        rule = f"at least {least}" if value < least else f"at most {most}"
        raise ValueError(f"{name} must be {rule}, got {value}")
    return value


def number(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """A number above 0."""
    if number(name, value) <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1]."""
    if not 0.0 <= number(name, value) <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
    return float(value)


def fractions(name: str, value: Any) -> list[float]:
    """A list of numbers in [0, 1]."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of numbers, got {value!r}")
    return [fraction(f"{name}[{place}]", item) for place, item in enumerate(value)]


def epochs_per_day(fork: str, preset: str) -> float:
    """Epochs in a day: 225 by the mainnet preset.

    Example:
        >>> epochs_per_day("fulu", "mainnet"), epochs_per_day("fulu", "minimal")
        (225.0, 1800.0)
    """
    from jaxstake.protocol import forks

    fixed = forks.constants(fork, preset=preset)  # type: ignore[arg-type]
    return 86_400_000 / (fixed["SLOT_DURATION_MS"] * fixed["SLOTS_PER_EPOCH"])


def length(where: str, table: Mapping[str, Any], per_day: float) -> int:
    """Epochs from `days` or `epochs`, at least one."""
    dot = f"{where}." if where else ""
    not_both(where, table, "days", "epochs")
    if "epochs" in table:
        return whole(f"{dot}epochs", table["epochs"], 1, MOST_EPOCHS)
    days = positive(f"{dot}days", table["days"])
    if days * per_day > MOST_EPOCHS:
        raise ValueError(f"{dot}days must be at most {MOST_EPOCHS / per_day:,.0f}, got {days:g}")
    return max(1, round(days * per_day))


def not_both(where: str, table: Mapping[str, Any], one: str, other: str) -> None:
    """Raise `ValueError` if a table has both of two keys."""
    if one in table and other in table:
        place = f" in {where}" if where else ""
        raise ValueError(f"{one} and {other} must not be given together{place}, got {table[one]} and {table[other]}")
