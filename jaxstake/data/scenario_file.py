"""Scenarios from TOML files and from settings of the command line, and back.

A file names only what differs from its base. Keys are the dotted names of the leaves::

    snapshot = "2025-12-31"          # base: a day of jaxstake.data.mainnet; default the newest
    fork = "fulu"                    # or a table [fork] with name, preset and any constants
    block_value = "2023-2024"        # a name of jaxstake.data.block_values, or a table with its leaves

    [network]
    participation = 0.99
    [costs]
    commission = 0.1

A table `[block_value]` may name the `family` ("LogNormal"); if the base has another one, all leaves must be given.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxstake.core import leaves

if TYPE_CHECKING:
    from jaxstake.economy.scenario import Scenario
    from jaxstake.protocol.forks import Fork

_NAMED = ("fork", "fork.name", "fork.preset", "block_value", "block_value.family")
"""Entries that name something; all others are numbers."""


def read(path: str | os.PathLike[str], *, base: Scenario | None = None) -> Scenario:
    """Read a scenario from a TOML file, on top of a base.

    Args:
        path: the file.
        base: scenario for everything that the file does not name; a `snapshot` in the file replaces it. Default the
            newest snapshot.

    Raises:
        ValueError: the file cannot be read, is not TOML (line and column), names an unknown leaf (with the nearest),
            gives a value that is not a number, or one that is out of range (rule and value). The message names the
            file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse(text, base=base, source=str(path))


def parse(text: str, *, base: Scenario | None = None, source: str = "scenario") -> Scenario:
    r"""Read a scenario from TOML text, on top of a base.

    Args:
        text: TOML.
        base: as in `read`.
        source: name of the text in error messages.

    Raises:
        ValueError: as in `read`.

    Example:
        >>> parse("[network]\nparticipation = 0.99").network.participation
        0.99
        >>> parse("[network]\nparticipation = 1.2")
        Traceback (most recent call last):
        ...
        ValueError: scenario: network.participation must be in [0, 1], got 1.2
    """
    from jaxstake.data import mainnet

    try:
        entries = _flatten(tomllib.loads(text))
        day = entries.pop("snapshot", None)
        if day is not None:
            base = mainnet.scenario(_text("snapshot", day))
        return _assign(mainnet.scenario() if base is None else base, entries)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source} is not valid TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def apply_settings(scenario: Scenario, settings: Sequence[str]) -> Scenario:
    """Change a scenario by settings of the form "name=value".

    Args:
        scenario: what to change.
        settings: such as "network.participation=0.99", "fork=gloas", "fork.base_reward_factor=32" or
            "block_value=2023-2024"; of two with one name the later holds.

    Raises:
        ValueError: a setting without "=", and as in `read`.

    Example:
        >>> from jaxstake.economy.scenario import Scenario
        >>> apply_settings(Scenario(), ["costs.commission=0.1"]).costs.commission
        0.1
    """
    entries: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"a setting must be name=value, got '{setting}'")
        name, value = name.strip(), value.strip()
        entries[name] = value if name in _NAMED else _number_or_text(value)
    return _assign(scenario, entries)


def dump(scenario: Scenario) -> str:
    """Write a scenario as TOML that `parse` reads back to the same number in every leaf.

    Args:
        scenario: scalars, each finite.

    Raises:
        ValueError: a leaf is an array or not finite, or the fork is none of the known ones with other constants.

    Example:
        >>> from jaxstake.economy.scenario import Scenario
        >>> print(dump(Scenario()).splitlines()[0])
        fork = "fulu"
    """
    name, preset, constants = _nearest_fork(scenario.fork)
    tables: dict[str, list[str]] = {}
    lines = [f'fork = "{name}"']
    if constants or preset != "mainnet":
        lines = []
        tables["fork"] = [f'name = "{name}"', f'preset = "{preset}"']
        tables["fork"] += [f"{field} = {value!r}" for field, value in constants.items()]
    tables["block_value"] = [f'family = "{type(scenario.block_value).__name__}"']
    for leaf, value in leaves.as_dict(scenario).items():
        table, _, field = leaf.partition(".")
        if table != "fork":
            tables.setdefault(table, []).append(f"{field} = {_single(leaf, value)!r}")
    for table, content in tables.items():
        lines += ["", f"[{table}]", *content]
    return "\n".join(lines).lstrip() + "\n"


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= _flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _assign(base: Scenario, entries: Mapping[str, Any]) -> Scenario:
    """Replace fork and block value as wholes first, then single leaves; check the result."""
    from jaxstake.economy.scenario import validate

    empty = [name for name, value in entries.items() if value == {}]
    entries = {name: value for name, value in entries.items() if name not in empty}
    base = _with_block_value(_with_fork(base, entries), entries)
    numbers = {name: value for name, value in entries.items() if name not in _NAMED}
    known = leaves.names(base)
    tables = list(dict.fromkeys(name.partition(".")[0] for name in known))
    for name in empty:
        if name not in tables:
            raise ValueError(leaves.unknown_name("table", name, tables))
    for name in numbers:
        if name not in known:
            raise ValueError(leaves.unknown_name("leaf", name, known))
    result = leaves.replace(base, {name: _number(name, value) for name, value in numbers.items()})
    validate(result)
    return result


def _with_fork(base: Scenario, entries: Mapping[str, Any]) -> Scenario:
    from jaxstake.protocol import forks

    if not {"fork", "fork.name", "fork.preset"} & entries.keys():
        return base
    name = entries.get("fork", entries.get("fork.name"))
    if name is None:
        raise ValueError("fork.preset needs fork.name")
    preset = _text("fork.preset", entries.get("fork.preset", "mainnet"))
    return dataclasses.replace(base, fork=forks.get(_text("fork", name), preset=preset))  # type: ignore[arg-type]


def _with_block_value(base: Scenario, entries: Mapping[str, Any]) -> Scenario:
    """An embedded block value by name, or a family of which all leaves are given."""
    from jaxstake.core.pytree import data_fields
    from jaxstake.data import block_values
    from jaxstake.economy import block_value

    if "block_value" in entries:
        chosen = block_values.get(_text("block_value", entries["block_value"])).distribution()
        base = dataclasses.replace(base, block_value=chosen)
    if "block_value.family" not in entries:
        return base
    name = _text("block_value.family", entries["block_value.family"])
    families = {family.__name__: family for family in block_value.mean.registry if family is not object}
    if name not in families:
        raise ValueError(leaves.unknown_name("block_value.family", name, list(families)))
    family = families[name]
    if type(base.block_value) is family:
        return base
    missing = [field for field in data_fields(family) if f"block_value.{field}" not in entries]
    if missing:
        raise ValueError(f"block_value.family '{name}' needs {', '.join(f'block_value.{field}' for field in missing)}")
    return dataclasses.replace(base, block_value=family(**dict.fromkeys(data_fields(family), math.nan)))


def _nearest_fork(fork: Fork) -> tuple[str, str, dict[str, float]]:
    """Newest known fork of the same structure that differs in the fewest constants: name, preset, what differs."""
    import jax

    from jaxstake.protocol import forks

    structure = jax.tree.structure(fork)
    own = {name: _single(f"fork.{name}", value) for name, value in leaves.as_dict(fork).items()}
    candidates = []
    for name in reversed(forks.NAMES):
        for preset in ("mainnet", "minimal"):
            known = forks.get(name, preset=preset)
            if jax.tree.structure(known) == structure:
                differing = {field: own[field] for field, value in leaves.as_dict(known).items() if own[field] != value}
                candidates.append((name, preset, differing))
    if not candidates:
        raise ValueError("the fork has the structure of no known fork, so that its name cannot be written")
    return min(candidates, key=lambda candidate: len(candidate[2]))


def _number_or_text(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


def _text(name: str, value: Any) -> str:
    """A name; dates may be written without quotes."""
    if isinstance(value, (bool, int, float, list, dict)):
        raise ValueError(f"{name} must be a name, got {value!r}")
    return str(value)


def _single(name: str, value: Any) -> float:
    """A leaf, which may be an array without axes, as a number to be written."""
    if getattr(value, "ndim", 0):
        raise ValueError(f"{name} must be one number to be written, got an array of shape {value.shape}")
    return _number(name, float(value))
