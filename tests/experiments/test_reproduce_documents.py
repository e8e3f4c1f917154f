"""The experiment writes every table and the comparison, and refuses what it cannot do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxstake.articles import tables

pytestmark = pytest.mark.usefixtures("only_x64")  # the script always computes in double precision

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "reproduce_documents.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced") / "new"
    done = run("--out", folder)
    assert done.returncode == 0, done.stderr
    assert f"{len(tables.TABLES)} tables" in done.stdout
    return folder


def test_every_table_is_there_in_text_and_numbers(out: Path) -> None:
    found = json.loads((out / "tables.json").read_text())
    assert list(found) == list(tables.TABLES)
    for name, table in found.items():
        assert (out / "tables" / f"{name}.txt").read_text().startswith(table["title"])
        with (out / "tables" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == (len(table["rows"]) or 1)


def test_the_tables_hold_the_published_numbers(out: Path, shared: Path) -> None:
    published = json.loads((shared / "published" / "published_tables.json").read_text())
    found = json.loads((out / "tables.json").read_text())
    for row in found["annual-apr"]["rows"]:
        wanted = next(entry for entry in published["annual_apr"] if entry["total_stake"] == row["total_stake"])
        assert row["total_apr"] == pytest.approx(wanted["total_apr"], rel=1e-12)
    for row, wanted in zip(found["leak"]["rows"], published["leakage"], strict=True):
        assert row["remaining_ratio"] == pytest.approx(wanted["remaining_ratio_percent"], rel=1e-12)


def test_the_comparison_is_there(out: Path) -> None:
    with (out / "comparison.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) > 100
    assert "</html>" in (out / "comparison.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--out", "/dev/null/x"], "/dev/null/x"), (["--fork", "electrum", "--out", "."], "unknown fork 'electrum'")],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(*(str(tmp_path) if argument == "." else argument for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
