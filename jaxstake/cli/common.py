"""What every command shares: its options, its scenario, its errors, its output."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from jaxstake.data.mainnet import Snapshot
    from jaxstake.economy.scenario import Scenario

T = TypeVar("T")

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="LEAF=VALUE", help="Set a leaf, such as network.participation=0.99. Repeatable."),
]
ScenarioFile = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="TOML file with the leaves that differ; it may name a snapshot."),
]
ForkName = Annotated[str | None, typer.Option("--fork", metavar="NAME", help="Rules of this fork, such as electra.")]
SnapshotDate = Annotated[
    str | None, typer.Option("--snapshot", metavar="DATE", help="Start from the network of that day [newest].")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]


class BadInputError(Exception):
    """Input that the user can correct; its message is the one line that is printed."""


@contextlib.contextmanager
def bad_input(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of the given kinds (default `ValueError`) inside this block into `BadInputError`."""
    kinds = kinds or (ValueError,)
    try:
        yield
    except kinds as error:
        raise BadInputError(str(error)) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The scenario that a command line chose, and the snapshot that it started from."""

    scenario: Scenario
    day: Snapshot


def choose(
    *,
    snapshot: str | None,
    file: Path | None,
    fork: str | None,
    settings: list[str] | None,
    tables: Mapping[str, Any] | None = None,
) -> Choice:
    """Build the scenario: snapshot, `tables`, file, fork, settings, the later the stronger.

    Turns double precision on first. `tables` is what a scenario file would hold, read already.

    Raises:
        BadInputError: any of them is unknown, unreadable or out of range.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    with bad_input():
        from jaxstake.data import mainnet, scenario_file

        day = mainnet.newest() if snapshot is None else mainnet.snapshot(snapshot)
        inline = dict(tables or {})
        if snapshot is None and "snapshot" in inline:
            day = mainnet.snapshot(str(inline["snapshot"]))
        inline.pop("snapshot", None)
        entries = [f"{name}={value}" for name, value in flatten(inline).items()]
        scenario = scenario_file.apply_settings(mainnet.scenario(day), entries)
        if file is not None:
            scenario = scenario_file.read(file, base=scenario)
            day = _day_of(file) or day
        if fork is not None:
            scenario = scenario_file.apply_settings(scenario, [f"fork={fork}"])
        return Choice(scenario=scenario_file.apply_settings(scenario, settings or []), day=day)


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested tables by dotted name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def pairs(settings: list[str] | None) -> dict[str, str]:
    """Values by name from entries "name=value"; of two with one name the later holds.

    Raises:
        ValueError: an entry is none.
    """
    found = {}
    for entry in settings or []:
        name, sign, value = entry.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"a setting must be name=value, got '{entry}'")
        found[name.strip()] = value.strip()
    return found


def with_numbers(container: T, values: Mapping[str, Any]) -> T:
    """A container with named leaves replaced by numbers, all in their domains.

    Raises:
        ValueError: a name is unknown, or a value is no number, not finite or out of its domain.
    """
    from jaxstake.core import leaves
    from jaxstake.core.checks import in_domains

    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        try:
            numbers[name] = float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, got '{value}'") from None
        if not math.isfinite(numbers[name]):
            raise ValueError(f"{name} must be finite, got {value}")
    changed = leaves.replace(container, numbers)
    in_domains(changed)
    return changed


def _day_of(file: Path) -> Snapshot | None:
    """The snapshot that a scenario file, known to be valid, starts from."""
    import tomllib

    from jaxstake.data import mainnet

    named = tomllib.loads(file.read_text(encoding="utf-8")).get("snapshot")
    return None if named is None else mainnet.snapshot(str(named))


def writable_folder(path: Path) -> Path:
    """Create a folder and prove that files can be written in it.

    Raises:
        BadInputError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise BadInputError(f"cannot write to {path}: {error.strerror}") from error
    return path


def plain(value: Any) -> Any:
    """The value as JSON can carry it: null for a number that is not finite, no negative zero, no arrays."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if getattr(value, "ndim", 0):
        return [plain(inner) for inner in value]
    number = float(value)
    return number + 0.0 if math.isfinite(number) else None


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(plain(value), indent=2, allow_nan=False))


def console() -> Console:
    """Standard output for tables, wide enough not to cut them when it is no terminal."""
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=140)


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error for work that reports (done, total); None, and silence, when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)
