"""Reproduce every table of the two source documents, and hold every printed claim against the protocol.

Writes to --out: `tables/NAME.txt` in the documents' layout, `tables/NAME.csv` with the rows at full precision,
`tables.json` with everything, and `comparison.html` and `comparison.csv`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import jax

from jaxstake.articles import tables
from jaxstake.articles.tables import layout
from jaxstake.report import compare


def write_tables(out: Path) -> list[str]:
    """Write every table as text and as CSV, and all of them as JSON; return their names."""
    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in tables.TABLES:
        table = tables.get(name)
        found[name] = layout.values(table)
        (folder / f"{name}.txt").write_text(layout.render(table) + "\n", encoding="utf-8")
        rows = [dict(row) for row in table.rows] or [{line.key: line.value for line in table.lines}]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (out / "tables.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return list(found)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it is made if it is not there")
    parser.add_argument("--fork", help="rules to compare with; default the newest on mainnet")
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        comparison = compare.run(fork=given.fork)
        names = write_tables(given.out)
        paths = compare.write(comparison, given.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write(f"{len(names)} tables in {given.out / 'tables'}\n")
    sys.stdout.write(f"{compare.summary(comparison)}\n{paths['page']}\n")


if __name__ == "__main__":
    main()
