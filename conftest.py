"""Settings of the suite: precision, strict promotion, and a compiler that spends less time on each program.

Double precision unless JAXSTAKE_TEST_X64=0. Most of the suite's time would go into optimising programs that run once,
so XLA compiles with less of that, in half of the time, here and in processes that tests start; only the examples of
the README compile as users do. JAXSTAKE_TEST_COMPILER=default compiles everything so. (Level 0 is no choice: together
with the older emitters it gives wrong gradients.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

QUICK_COMPILER = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1 --xla_cpu_parallel_codegen_split_count=1"
)
KNOWS_QUICK_COMPILER = ("0.10.",)  # XLA ends the process at an option that it does not know
MOST_MAPPINGS = 50_000  # of memory, several for each compiled program; Linux ends a process at 65,530

if os.environ.get("JAXSTAKE_TEST_COMPILER") != "default" and version("jaxlib").startswith(KNOWS_QUICK_COMPILER):
    given = os.environ.get("XLA_FLAGS", "")
    if QUICK_COMPILER not in given:  # workers inherit it
        os.environ["XLA_FLAGS"] = f"{QUICK_COMPILER} {given}".strip()

import jax  # noqa: E402

X64 = os.environ.get("JAXSTAKE_TEST_X64", "1") != "0"

jax.config.update("jax_enable_x64", X64)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs() -> Iterator[None]:
    """Drop the compiled programs of earlier modules before the process has too many; it should not come to that."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.is_file() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
