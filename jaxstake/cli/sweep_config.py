"""The TOML file that describes a sweep.

::

    mode = "grid"                      # or "zip"
    outputs = ["net", "consensus"]     # components of the APR; default all
    dtype = "float32"
    chunk = 100_000                    # most lanes at once; optional
    reduce = ["mean", "quantiles"]     # optional: keep statistics, not lanes

    [axes]
    "validator.uptime" = [0.9, 0.95, 1.0]
    "network.total_stake_eth" = { start = 20e6, stop = 60e6, num = 41, scale = "log" }

    [scenario.network]                 # optional: as in a scenario file
    participation = 0.99
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxstake.cli.common import BadInputError, flatten

if TYPE_CHECKING:
    import numpy as np

_KEYS = ("mode", "model", "outputs", "dtype", "chunk", "reduce", "axes", "scenario")
_AXIS_KEYS = ("start", "stop", "num", "scale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep as its file describes it; leaves and outputs are checked by the sweep itself."""

    mode: Literal["grid", "zip"]
    model: str
    outputs: list[str] | None
    dtype: str | None
    chunk: int | None
    reduce: list[str]
    axes: dict[str, np.ndarray]
    scenario: dict[str, Any]


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """Message for an unknown name; JAX is not needed before there is one."""
    from jaxstake.core.leaves import unknown_name

    return unknown_name(kind, name, list(known))


def read(path: Path) -> SweepConfig:
    """Read a sweep from a TOML file.

    Raises:
        BadInputError: the file cannot be read, is not TOML, has an unknown key, or a value of the wrong kind.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not valid TOML: {error}") from error
    for key in table:
        if key not in _KEYS:
            raise BadInputError(f"{path}: {_unknown('key', key, _KEYS)}")
    try:
        return _config(table)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error


def _config(table: Mapping[str, Any]) -> SweepConfig:
    axes, chunk = _table(table, "axes"), table.get("chunk")
    if not axes:
        raise ValueError("axes must name at least one leaf")
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk must be a whole number of at least 1, got {chunk!r}")
    mode = _one_of("mode", table.get("mode", "grid"), ["grid", "zip"])
    return SweepConfig(
        mode="grid" if mode == "grid" else "zip",
        model=_one_of("model", table.get("model", "apr"), ["apr"]),
        outputs=_names(table, "outputs"),
        dtype=None if "dtype" not in table else _one_of("dtype", table["dtype"], ["float32", "float64"]),
        chunk=chunk,
        reduce=_names(table, "reduce") or [],
        axes={name: _axis(name, value) for name, value in _flat_axes(axes).items()},
        scenario=_table(table, "scenario"),
    )


def _flat_axes(axes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Axes by dotted name, whether the name is quoted or its parts are tables."""
    found: dict[str, Any] = {}
    for key, value in axes.items():
        nested = isinstance(value, Mapping) and not set(value) & set(_AXIS_KEYS)
        found |= _flat_axes(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _axis(name: str, value: Any) -> np.ndarray:
    """Values of an axis from a list or from {start, stop, num, scale}."""
    import numpy as np

    if isinstance(value, list):
        if not value:
            raise ValueError(f"axis {name} must have at least one value, got an empty list")
        return np.array([_number(f"axis {name}", item) for item in value])
    if not isinstance(value, Mapping):
        raise ValueError(f"axis {name} must be a list or a table with start, stop and num, got {value!r}")
    for key in value:
        if key not in _AXIS_KEYS:
            raise ValueError(_unknown(f"key of axis {name}", key, _AXIS_KEYS))
    missing = [key for key in _AXIS_KEYS[:3] if key not in value]
    if missing:
        raise ValueError(f"axis {name} needs {', '.join(missing)}")
    start, stop = (_number(f"{key} of axis {name}", value[key]) for key in ("start", "stop"))
    num = value["num"]
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise ValueError(f"num of axis {name} must be a whole number of at least 1, got {num!r}")
    if _one_of(f"scale of axis {name}", value.get("scale", "linear"), ["linear", "log"]) == "linear":
        return np.linspace(start, stop, num)
    if start <= 0 or stop <= 0:
        raise ValueError(
            f"axis {name} with scale 'log' needs start and stop greater than 0, got {start:g} and {stop:g}"
        )
    return np.geomspace(start, stop, num)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


def _one_of(name: str, value: Any, known: list[str]) -> str:
    if value not in known:
        raise ValueError(_unknown(name, str(value), known))
    return value


def _names(table: Mapping[str, Any], key: str) -> list[str] | None:
    """A list of names; a single name counts as a list of one."""
    value = table.get(key)
    if value is None or isinstance(value, str):
        return None if value is None else [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of names, got {value!r}")
    return value


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a table, got {value!r}")
    return dict(value)


def identity(config: SweepConfig) -> dict[str, Any]:
    """All that a sweep's file says, as JSON can carry it."""
    return {**dataclasses.asdict(config), "axes": flatten({k: list(map(float, v)) for k, v in config.axes.items()})}
