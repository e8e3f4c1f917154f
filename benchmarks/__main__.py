"""`python -m benchmarks`: every workload on the default device, in one table."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import jax
import numba
import numpy as np

from benchmarks import (
    documents,
    dynamics,
    epoch,
    gradient_mean,
    gradient_sweep,
    luck,
    memory,
    public_sweep,
    queue,
    simulated,
    table,
    value_sweep,
)
from benchmarks.setting import Setting
from benchmarks.timing import copy_bandwidth, measure

WORKLOADS = {
    "value": value_sweep,
    "gradient": gradient_sweep,
    "means": gradient_mean,
    "sweep": public_sweep,
    "documents": documents,
    "queue": queue,
    "dynamics": dynamics,
    "luck": luck,
    "epoch": epoch,
    "simulate": simulated,
}


def _count(text: str) -> int:
    """A number of lanes, such as 4194304 or 2^22."""
    base, _, exponent = text.partition("^")
    return int(base) ** int(exponent or 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--lanes", type=_count, help="a power of two, such as 2^22; default by platform")
    parser.add_argument("--repeat", type=int, default=11, help="timed runs of each implementation")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats, to see that it works")
    parser.add_argument("--only", nargs="+", choices=[*WORKLOADS, "memory", "year"], help="some of the workloads")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    return parser.parse_args()


def _about() -> dict[str, str]:
    return {
        "device": jax.devices()[0].device_kind,
        "host": f"{os.cpu_count()} cores, {platform.machine()}",
        "jax": jax.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, print and save."""
    given = _arguments()
    on_cpu = jax.default_backend() == "cpu"
    default = (1 << 18 if on_cpu else 1 << 22) if given.quick else (1 << 22 if on_cpu else 1 << 26)
    setting = Setting(lanes=given.lanes or default, repeat=3 if given.quick else given.repeat)
    about = _about()
    bandwidth = copy_bandwidth(quick=given.quick)
    host = f"cpu, {os.cpu_count()} cores"
    device = host if on_cpu else about["device"]
    wanted = given.only or [*WORKLOADS, "memory"]
    found: list[table.Row] = []
    for name, workload in WORKLOADS.items():
        if name in wanted:
            tasks = workload.tasks(setting)
            timings = measure(tasks, repeat=setting.repeat)
            for work in dict.fromkeys(task.work for task in tasks):
                mine = [place for place, task in enumerate(tasks) if task.work == work]
                found += table.rows(
                    [tasks[place] for place in mine],
                    [timings[place] for place in mine],
                    device=device,
                    host=host,
                    bandwidth=bandwidth,
                )
    if "memory" in wanted:
        counts = (1 << 16, 1 << 20) if given.quick else (1 << 20, 1 << 26) if on_cpu else (1 << 24, 1 << 30)
        found += memory.rows(counts, device=device)
    if "year" in wanted:
        validators, n_epochs = ((10_000,), 8) if given.quick else (epoch.VALIDATORS, simulated.YEAR)
        found += simulated.years(validators, n_epochs, device=device)
    title = f"{device}: copies at {bandwidth / 1e9:.1f} GB/s; " + ", ".join(
        f"{name} {about[name]}" for name in ("jax", "numpy", "numba", "python")
    )
    table.show(found, title=title)
    if given.markdown:
        given.markdown.write_text(table.markdown(found, title=title))
    if given.json:
        table.save_json(found, given.json, about={**about, "copy_bytes_per_s": bandwidth})


if __name__ == "__main__":
    main()
