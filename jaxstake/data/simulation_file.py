"""Simulations of the exact engine described in TOML files, of which five ship and are read by name.

A file says how long to simulate, which registry to start from, how reliable validators are, and what happens to whom::

    title = "a third offline for a week"
    fork = "fulu"                  # whose rules hold, altair to gloas; preset = "minimal" for the small network
    days = 21                      # or epochs
    record_every = 15              # epochs
    seed = 1
    traced = [0, 20_000]           # rows that are recorded one by one

    [registry]
    validators = 20_620
    stake_eth = 42_228_608         # or compounding_share; the others have 32 ETH
    compounding_balance_eth = 2048

    [chances]                      # of an online validator; one number, or a list with one for each
    source = 0.998                 # 1 if not given
    target = 0.9965                # as source if not given
    head = 0.99                    # as target if not given
    sync = 0.99                    # 1 if not given, as is
    proposal = 0.9906              # the last

    [block_value]                  # no table for none
    family = "LogNormalPareto"     # or LogNormalMixture, SkewLogNormal; LogNormal also with median_eth and mean_eth
    log_mean = -3.04
    log_std = 0.67
    threshold_eth = 0.113
    tail_share = 0.2
    tail_scale_eth = 0.073
    tail_shape = 0.76

    [outages]                      # operators that fail as a whole, one for each place of the lists
    shares = [0.05, 0.02]          # of the rows, one after another
    outage_chance = [0.0002, 0.0004]
    recovery_chance = [0.05, 0.05]

    [[offline]]                    # also [[slashings]], [[exits]], [[merges]], [[deposits]], each as often as needed
    share = 0.3333                 # of the rows; or count
    first_share = 0.1              # after the first tenth of them; or first
    from_day = 3                   # or from_epoch; 0 if not given
    days = 7                       # or epochs; until_finality = true ends it earlier

    [[exits]]
    first = 19_000
    count = 100
    from_day = 5
    per_epoch = 1                  # a validator
    every = 4                      # every four epochs

    [[deposits]]
    stake_share = 0.01             # of the stake at the start; or count
    amount_eth = 2048              # of each; above 32 they compound, unless compounding = false
    from_day = 6
    days = 10

Slashings, exits, merges and deposits are spread evenly over their `days`, or come at a rate: `per_epoch` of them every
`every` epochs, 1 and 1 if not given. With neither slashings come at once and the others one an epoch. Merges need a
`group`; deposits need `count` or `stake_share`, and each has `amount_eth`, 32 if it is not given.

Compounding validators are spread evenly over the rows. With few validators of 32 ETH the stake is small, and so rewards
per ETH are high and the limits of the queues low; `stake_eth` takes as many large validators as a stake needs.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jaxstake.core.leaves import unknown_name
from jaxstake.data import simulation_entries as entries
from jaxstake.data import simulation_values as values

NAMES = ("normal-year", "client-bug", "supermajority-bug", "mass-slashing", "consolidation")
"""Simulations that ship."""

SCHEDULES = ("offline", "slashings", "exits", "merges", "deposits")
_KEYS = (
    "title", "fork", "preset", "days", "epochs", "record_every", "seed", "traced", "registry", "chances", "block_value",
    "outages", *SCHEDULES,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A simulation as its file and the options over it describe it: rows and epochs, whole numbers, no shares or days.

    Attributes:
        title: what it is.
        fork: whose rules hold.
        preset: "mainnet" or "minimal".
        epochs: how many.
        record_every: epochs from one record to the next.
        seed: of everything random.
        traced: rows that are recorded one by one.
        registry: `validators`, `compounding` (how many) and `compounding_balance_eth`.
        chances: by name, as `Behaviour` takes them.
        block_value: `family` and its parameters; None for none.
        outages: `groups`, rows of each, `outage_chance` and `recovery_chance`; None for none.
        schedules: entries by kind, as the containers of `Behaviour` take them.
    """

    title: str
    fork: str
    preset: str
    epochs: int
    record_every: int
    seed: int
    traced: list[int]
    registry: dict[str, Any]
    chances: dict[str, Any]
    block_value: dict[str, Any] | None
    outages: dict[str, Any] | None
    schedules: dict[str, list[dict[str, Any]]]


def read(name_or_path: str, *, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read a simulation that ships, by name, or one of your own, by path.

    Args:
        name_or_path: one of `NAMES`, or a TOML file.
        overrides: `validators`, `epochs`, `seed`, `record_every` and `traced`, stronger than the file; None for none.

    Raises:
        ValueError: the file cannot be read or is not TOML, a key is unknown or missing, or a value against its rule.
            The message names the file, the key, the rule and the value.
    """
    return parse(_text(name_or_path), overrides=overrides, source=name_or_path)


def parse(text: str, *, overrides: Mapping[str, Any] | None = None, source: str = "simulation") -> Plan:
    r"""Read a simulation from TOML text; see `read`.

    Example:
        >>> parse("days = 2\n[registry]\nvalidators = 100\n[[exits]]\nshare = 0.5\nfrom_day = 1").schedules["exits"]
        [{'first': 0, 'count': 50, 'from_epoch': 225, 'per_epoch': 1, 'every': 1}]
        >>> parse("days = 0\n[registry]\nvalidators = 100")
        Traceback (most recent call last):
        ...
        ValueError: simulation: days must be greater than 0, got 0
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return _plan(tomllib.loads(text), given)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source} is not valid TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def identity(plan: Plan) -> dict[str, Any]:
    """All of a plan that decides its result, by dotted name, as JSON can carry it."""
    return _flat({name: value for name, value in dataclasses.asdict(plan).items() if name != "title"})


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [(f"{prefix}.{key}" if prefix else str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        parts = [(f"{prefix}[{place}]", inner) for place, inner in enumerate(value)]
    else:
        return {prefix: value}
    return {name: leaf for key, inner in parts for name, leaf in _flat(inner, key).items()}


def _text(name_or_path: str) -> str:
    if name_or_path in NAMES:
        return (resources.files("jaxstake.data") / "simulations" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    path = Path(name_or_path)
    if not path.suffix and not path.exists():
        raise ValueError(f"{unknown_name('simulation', name_or_path, list(NAMES))}; a file must exist")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _plan(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> Plan:
    values.check_keys("", table, _KEYS)
    fork, preset = _rules_named(table)
    per_day = values.epochs_per_day(fork, preset)
    if not {"days", "epochs"} & table.keys():
        raise ValueError("days or epochs must be given, got neither")
    given = {**table, **overrides}
    numbers = {
        name: values.whole(name, given.get(name, 1), least) for name, least in {"record_every": 1, "seed": 0}.items()
    }
    epochs = values.length("", table, per_day)
    if "epochs" in overrides:
        epochs = values.whole("epochs", overrides["epochs"], 1)
    registry = entries.registry(values.table_of(table, "registry"), overrides.get("validators"))
    n, stake = registry["validators"], entries.stake_eth(registry)
    title = table.get("title", "simulation")
    if not isinstance(title, str):
        raise ValueError(f"title must be text, got {title!r}")
    return Plan(
        title=title,
        fork=fork,
        preset=preset,
        epochs=epochs,
        **numbers,
        traced=_traced(given.get("traced", []), n),
        registry=registry,
        chances=entries.chances(values.table_of(table, "chances"), n),
        block_value=entries.block_value(table["block_value"]) if "block_value" in table else None,
        outages=entries.outages(table["outages"], n) if "outages" in table else None,
        schedules={
            kind: [
                entries.schedule(kind, f"{kind}[{place}]", entry, n=n, stake_eth=stake, per_day=per_day)
                for place, entry in enumerate(_entries_of(table, kind))
            ]
            for kind in SCHEDULES
        },
    )


def _rules_named(table: Mapping[str, Any]) -> tuple[str, str]:
    """Fork and preset, both known to the exact engine."""
    from jaxstake.beacon import rules

    fork, preset = table.get("fork", "fulu"), table.get("preset", "mainnet")
    known: dict[str, tuple[Any, Sequence[str]]] = {
        "fork": (fork, rules.FORKS),
        "preset": (preset, ("mainnet", "minimal")),
    }
    for name, (value, names) in known.items():
        if value not in names:
            raise ValueError(unknown_name(name, str(value), list(names)))
    return fork, preset


def _traced(rows: Any, n: int) -> list[int]:
    if not isinstance(rows, list):
        raise ValueError(f"traced must be a list of rows, got {rows!r}")
    found = [values.whole(f"traced[{place}]", row, 0, n - 1) for place, row in enumerate(rows)]
    if len(set(found)) < len(found):
        raise ValueError(f"traced must name each row once, got {found}")
    return found


def _entries_of(table: Mapping[str, Any], kind: str) -> list[Any]:
    found = table.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
        raise ValueError(f"{kind} must be a list of tables, [[{kind}]], got {found!r}")
    return found
