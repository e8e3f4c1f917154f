"""What `import jaxstake` does to the process that imports it, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOW = ["matplotlib", "xarray", "zarr", "typer", "rich"]

PROBE = """
import json, sys, time
import jax, jax.numpy

before = {name: repr(value) for name, value in jax.config.values.items()}
started = time.perf_counter()
import jaxstake
seconds = time.perf_counter() - started
after = {name: repr(value) for name, value in jax.config.values.items()}
names = before.keys() | after.keys()
print(json.dumps({
    "settings": len(before),
    "changed": sorted(name for name in names if before.get(name) != after.get(name)),
    "loaded": sorted({name.split(".")[0] for name in sys.modules}),
    "seconds": seconds,
    "where": jaxstake.__file__,
    "backends": len(jax._src.xla_bridge._backends),
}))
"""


def probe(**environment: str) -> dict:
    """A fresh interpreter that imports JAX, then the package, and reports the difference."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={**kept, **environment},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def report() -> dict:
    return probe()


def test_the_checkout_is_what_is_imported(report):
    assert Path(report["where"]) == ROOT / "jaxstake" / "__init__.py"


def test_import_changes_no_jax_setting(report):
    assert report["settings"] > 50
    assert report["changed"] == []


def test_import_leaves_the_precision_that_the_user_chose():
    assert probe(JAX_ENABLE_X64="1", JAX_NUMPY_DTYPE_PROMOTION="strict")["changed"] == []


def test_import_starts_no_backend(report):
    """No device is touched: whoever imports first may still choose the platform."""
    assert report["backends"] == 0


def test_import_loads_nothing_slow(report):
    assert [name for name in SLOW if name in report["loaded"]] == []
    assert "jax" in report["loaded"]


def test_import_is_quick(report):
    """The smallest of three, because other processes only add: below a second on top of JAX itself."""
    assert min(report["seconds"], *(probe()["seconds"] for _ in range(2))) < 1.0


def test_the_probe_sees_what_it_looks_for():
    """The same report on a script that does change a setting, load a slow package and take its time."""
    spoiled = PROBE.replace(
        "import jaxstake\n",
        "import jaxstake, matplotlib\n"
        "jax.config.update('jax_enable_x64', not jax.config.jax_enable_x64)\n"
        "jax.devices()\n",
    )
    result = subprocess.run(
        [sys.executable, "-c", spoiled], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    found = json.loads(result.stdout)
    assert found["changed"] == ["jax_enable_x64"]
    assert "matplotlib" in found["loaded"]
    assert found["backends"] >= 1
