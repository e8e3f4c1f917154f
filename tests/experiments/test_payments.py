"""The experiments on payments and luck: files, numbers that follow by hand, and refusals."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

pytestmark = pytest.mark.usefixtures("only_x64")  # the scripts always compute in double precision

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def parts(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first rows of the two files of real blocks."""
    folder = tmp_path_factory.mktemp("blocks")
    for name, rows in (("mev_blocks_sample.csv", 3_000), ("mev_blocks_contiguous.csv", 2_000)):
        with (shared / "data" / name).open() as file:
            (folder / name).write_text("".join(islice(file, rows + 1)))
    return folder / "mev_blocks_sample.csv", folder / "mev_blocks_contiguous.csv"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def paid(path: Path) -> np.ndarray:
    values = np.array([float(row["payment_eth"] or "nan") for row in table(path)])
    return values[values > 0]


@pytest.fixture(scope="module")
def fitted(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("fit") / "new"
    done = run("mev_fit.py", "--data", parts[0], "--test", parts[1], "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_every_family_and_the_document_are_held_against_both_files(fitted: tuple[Path, str], parts: Any) -> None:
    rows = {row["family"]: row for row in table(fitted[0] / "families.csv")}
    assert len(rows) == 8
    data, test = paid(parts[0]), paid(parts[1])
    document = stats.lognorm(s=1.2, scale=math.exp(-2.5))
    row = rows["the document's lognormal"]
    assert float(row["test_log_likelihood_per_block"]) == pytest.approx(document.logpdf(test).mean(), rel=1e-9)
    assert float(row["test_ks"]) == pytest.approx(stats.kstest(test, document.cdf).statistic, rel=1e-9)
    assert float(row["p99.9_eth"]) == pytest.approx(document.ppf(0.999), rel=1e-9)
    assert row["log_likelihood"] == ""
    logs = np.log(data)
    own = stats.lognorm(s=logs.std(), scale=math.exp(logs.mean()))
    assert float(rows["lognormal"]["log_likelihood"]) == pytest.approx(own.logpdf(data).sum(), rel=1e-9)
    assert float(rows["payments fitted to"]["mean_eth"]) == pytest.approx(data.mean())
    heavy, thin = rows["lognormal with Pareto tail"], rows["lognormal"]
    assert float(heavy["test_log_likelihood_per_block"]) > float(thin["test_log_likelihood_per_block"])


def test_memory_and_pictures(fitted: tuple[Path, str]) -> None:
    out, words = fitted
    result = json.loads((out / "result.json").read_text())
    memory = {row["memory"]: row for row in table(out / "memory.csv")}
    assert float(memory["AR(1)"]["log_likelihood"]) > float(memory["none"]["log_likelihood"]) + 50
    assert set(result["autocorrelation"]) >= {"1", "500"}
    assert 0.2 < result["autocorrelation"]["1"] < 0.6
    assert f"chosen: {result['chosen']}" in words
    for name in ("fit.svg", "fit.png", "memory.svg", "memory.png"):
        assert (out / name).stat().st_size > 10_000


@pytest.fixture(scope="module")
def lucky(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("luck") / "new"
    cheap = ("--points", 1 << 14, "--scale", 0.002)
    done = run("luck.py", "--data", parts[0], "--test", parts[1], "--out", out, *cheap)
    assert done.returncode == 0, done.stderr
    return out


def test_pools_narrow_the_year_and_lift_the_median(lucky: Path) -> None:
    rows = table(lucky / "sizes.csv")
    for law in {row["law"] for row in rows}:
        mine = [row for row in rows if row["law"] == law and float(row["validators"]) <= 1_024]  # coarse grids
        widths = [float(row["p95"]) - float(row["p5"]) for row in mine]
        assert all(later < earlier for earlier, later in pairwise(widths))
        assert float(mine[0]["p50"]) < float(mine[-1]["p50"]) <= float(mine[-1]["mean"]) * (1 + 1e-6)
        assert len({row["mean"][:12] for row in mine}) == 1
    for name in ("sizes.svg", "solo.svg", "sizes.png", "solo.png"):
        assert (lucky / name).stat().st_size > 10_000


def test_memory_widens_the_year_of_the_large_only(lucky: Path) -> None:
    factor = {
        (float(row["validators"]), row["memory"]): float(row["variance_of_block_values"])
        for row in table(lucky / "memory.csv")
    }
    slow = "slow level and short memory"
    assert factor[1.0, slow] < 1.001
    assert factor[30_000.0, slow] > 1.2
    assert factor[30_000.0, slow] > factor[30_000.0, "AR(1)"] > factor[30_000.0, "none"] == 1.0


@pytest.mark.parametrize("script", ["mev_fit.py", "luck.py"])
def test_bad_input_is_one_line(script: str, tmp_path: Path) -> None:
    file = tmp_path / "no.csv"
    done = run(script, "--data", file, "--test", file, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"cannot read {file}" in done.stderr
    assert "Traceback" not in done.stderr
