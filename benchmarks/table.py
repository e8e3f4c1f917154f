"""The one table: rows of measurements, for the terminal, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Task, Timing


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement. `vs_numpy` and `vs_numba` say how many times faster per lane it is than they are."""

    work: str
    by: str
    device: str
    lanes: int
    compile_s: float | None = None
    run_s: float | None = None
    best_s: float | None = None
    cpu_s: float | None = None
    lanes_per_s: float | None = None
    bytes_per_lane: int | None = None
    bandwidth_share: float | None = None
    vs_numpy: float | None = None
    vs_numba: float | None = None
    peak_mib: float | None = None


def rows(tasks: Sequence[Task], timings: Sequence[Timing], *, device: str, host: str, bandwidth: float) -> list[Row]:
    """Rows of one workload, with the ratios of its tasks to the fastest NumPy and the fastest Numba among them."""
    rates = [task.lanes / timing.run for task, timing in zip(tasks, timings, strict=True)]

    def ratio(rate: float, kind: str) -> float | None:
        best = max((other for task, other in zip(tasks, rates, strict=True) if task.by.startswith(kind)), default=None)
        return None if best is None else rate / best

    found = []
    for task, timing, rate in zip(tasks, timings, rates, strict=True):
        ours = task.by.startswith("jaxstake")
        moved = task.bytes_per_lane * rate if ours and task.bytes_per_lane else None
        found.append(
            Row(
                work=task.work,
                by=task.by,
                device=device if ours else host,
                lanes=task.lanes,
                compile_s=None if task.by.startswith("NumPy") else timing.compile,
                run_s=timing.run,
                best_s=timing.best,
                cpu_s=timing.cpu,
                lanes_per_s=rate,
                bytes_per_lane=task.bytes_per_lane or None,
                bandwidth_share=None if moved is None else moved / bandwidth,
                vs_numpy=ratio(rate, "NumPy") if ours else None,
                vs_numba=ratio(rate, "Numba") if ours else None,
            )
        )
    return found


def _size(lanes: int) -> str:
    bits = lanes.bit_length() - 1
    return f"2^{bits}" if lanes == 1 << bits else f"{lanes:,}"


_COLUMNS: dict[str, Callable[[Row], Any]] = {
    "work": lambda row: row.work,
    "by": lambda row: row.by,
    "device": lambda row: row.device,
    "lanes": lambda row: _size(row.lanes),
    "compile s": lambda row: row.compile_s and f"{row.compile_s:.2f}",
    "run ms": lambda row: row.run_s and f"{1e3 * row.run_s:.2f}",
    "least ms": lambda row: row.best_s and f"{1e3 * row.best_s:.2f}",
    "M lanes/s": lambda row: row.lanes_per_s and f"{row.lanes_per_s / 1e6:,.1f}",
    "B/lane": lambda row: row.bytes_per_lane,
    "of copy": lambda row: row.bandwidth_share and f"{row.bandwidth_share:.0%}",
    "x NumPy": lambda row: row.vs_numpy and f"{row.vs_numpy:.2f}",
    "x Numba": lambda row: row.vs_numba and f"{row.vs_numba:.2f}",
    "peak MiB": lambda row: row.peak_mib and f"{row.peak_mib:,.0f}",
}


def cells(row: Row) -> list[str]:
    """The row as text; what does not apply is empty."""
    return [str(text) if (text := cell(row)) is not None else "" for cell in _COLUMNS.values()]


def show(found: Sequence[Row], *, title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if number < 3 else "right", no_wrap=True)
    for before, row in zip((None, *found), found, strict=False):
        if before is not None and before.work != row.work:
            table.add_section()
        table.add_row(*cells(row))
    Console(width=max(200, Console().width)).print(table)


def markdown(found: Sequence[Row], *, title: str) -> str:
    """The table as Markdown."""
    lines = [f"**{title}**", "", "| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(cells(row)) + " |" for row in found)]) + "\n"


def save_json(found: Sequence[Row], path: Path, *, about: dict[str, Any]) -> None:
    """All numbers, and what they were measured on."""
    path.write_text(json.dumps({**about, "rows": [dataclasses.asdict(row) for row in found]}, indent=2) + "\n")
