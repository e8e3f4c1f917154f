"""Workload: the peak memory of a reduced sweep over two very different numbers of lanes, each in a process of its own.

`python -m benchmarks.memory LANES` is that process: it prints its numbers as JSON.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import jax

from benchmarks import lanes
from benchmarks.table import Row

WORK = "sweep() of a grid, peak memory"


def rows(counts: tuple[int, ...], *, device: str) -> list[Row]:
    """One row per number of lanes."""
    return [_probe(count, device) for count in counts]


def _probe(count: int, device: str) -> Row:
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(count)],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the memory probe failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Row(
        work=WORK,
        by=f"jaxstake, {found['kind']}",
        device=device,
        lanes=count,
        run_s=found["seconds"],
        lanes_per_s=count / found["seconds"],
        peak_mib=found["bytes"] / 2**20,
    )


def _main(count: int) -> None:
    from jaxstake.analysis.sweep import sweep
    from jaxstake.economy.apr import apr
    from jaxstake.economy.scenario import Scenario

    start = time.perf_counter()
    sweep(apr, Scenario(), lanes.grid(count), outputs="net", reduce=("mean",), dtype="float32")
    seconds = time.perf_counter() - start
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats and jax.default_backend() != "cpu":
        kind, peak = "device memory", stats["peak_bytes_in_use"]
    else:
        kind, peak = "process", _peak_of_process()
    print(json.dumps({"kind": kind, "bytes": peak, "seconds": seconds}))


def _peak_of_process() -> int:
    """Most bytes resident so far. Not `ru_maxrss` where Linux has better: a child inherits its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _main(int(sys.argv[1]))
