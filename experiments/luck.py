"""The luck of solo stakers against pools, with payments as they are: how heavy tails and memory change a year.

Reads a CSV file of blocks (columns `slot` and `payment_eth`), fits the lognormal and one with a Pareto tail, and
computes the yearly return of 1 to 10,000 pooled validators under both, and under the document's lognormal. The memory
of payments is fitted to `--test` (every block of a period) and used in a Monte Carlo.

Writes to --out: `sizes.csv` (a row per law and size), `memory.csv` (a row per operator and model of memory),
`sizes.svg` and `.png`, `solo.svg` and `.png` (a year of 1, 10, 100 and 1,000 validators), `result.json`.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxstake.articles.apr_guide import mev
from jaxstake.calibration import block_value as fits
from jaxstake.calibration import memory as memories
from jaxstake.cli.common import plain
from jaxstake.data import blocks, mainnet
from jaxstake.economy import block_value, risk
from jaxstake.economy.memory import Memory, variance_inflation
from jaxstake.economy.scenario import Scenario
from jaxstake.report import luck_figures
from jaxstake.report.style import style, svg

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SHOWN = (1.0, 10.0, 100.0, 1_000.0)
OPERATORS = {1.0: 20_000, 1_000.0: 4_000, 30_000.0: 500}
"""Validators of the operators whose memory is looked at, and the years drawn of each."""
TIME_OF_DATA = "2023-12-31"
"""Snapshot of the network in the middle of the payments that ship with the reference data."""
BEYOND = 1e-4
"""Chance of a return beyond the grid; a heavy tail would stretch the cells otherwise."""


@functools.partial(jax.jit, static_argnames=("points",))
def spread(scenario: Scenario, sizes: jax.Array, *, points: int) -> dict[str, jax.Array]:
    """Quantiles [K, levels], expected shortfall, and chance of less than the mean, by size."""

    def one(size: jax.Array) -> dict[str, jax.Array]:
        found = risk.return_distribution(scenario, validators=size, points=points, beyond=BEYOND)
        return {
            "quantiles": risk.quantile(found, level=jnp.asarray(LEVELS)),
            "worst_5_percent": risk.lower_tail_mean(found, share=0.05),
            "below_mean": risk.cdf(found, value=found.mean),
            "mean": found.mean,
        }

    return jax.lax.map(one, sizes)


def size_rows(laws: Mapping[str, Scenario], points: int) -> list[dict[str, Any]]:
    """A row per law and number of pooled validators."""
    rows = []
    for name, scenario in laws.items():
        found = spread(scenario, jnp.asarray(risk.POOL_SIZES), points=points)
        for place, size in enumerate(risk.POOL_SIZES):
            levels = {f"p{100 * x:g}": float(found["quantiles"][place, i]) for i, x in enumerate(LEVELS)}
            others = {key: float(found[key][place]) for key in ("mean", "worst_5_percent", "below_mean")}
            deviation = float(risk.moments(risk.income_law(scenario, validators=size)).variance) ** 0.5
            rows.append({"law": name, "validators": size, **others, "standard_deviation": deviation, **levels})
    return rows


def memory_rows(scenario: Scenario, models: Mapping[str, Memory], key: jax.Array, scale: float) -> list[dict[str, Any]]:
    """A row per operator and model: the spread of its return, drawn, and what a lognormal's variance grows by."""
    draw = jax.jit(risk.remembered_returns, static_argnames=("lanes",))
    rows = []
    for validators, full in OPERATORS.items():
        law = risk.income_law(scenario, validators=validators)
        lanes = max(50, int(full * scale))
        for name, memory in models.items():
            drawn = np.asarray(draw(law, memory, key=key, lanes=lanes))
            low, middle, high = np.quantile(drawn, [0.05, 0.5, 0.95])
            rows.append(
                {
                    "validators": validators,
                    "memory": name,
                    "years_drawn": lanes,
                    "mean": drawn.mean(),
                    "p5": low,
                    "p50": middle,
                    "p95": high,
                    "width_90_percent": high - low,
                    "variance_of_block_values": float(
                        variance_inflation(scenario.block_value, memory, share=law.proposal_chance, slots=law.slots)
                    ),
                }
            )
    return rows


def solo_figure(scenario: Scenario, points: int) -> Figure:
    """Chance of less, for a few sizes."""
    found = {size: risk.return_distribution(scenario, validators=size, points=points, beyond=BEYOND) for size in SHOWN}
    one = found[SHOWN[0]]
    low, high = (float(risk.quantile(one, level=x)) for x in (0.004, 0.95))
    grid = np.linspace(low, high, 500)
    curves = {
        f"{size:,.0f} validator" + ("" if size == 1 else "s"): np.asarray(risk.cdf(law, value=jnp.asarray(grid)))
        for size, law in found.items()
    }
    return luck_figures.chances(grid, curves, mean=float(one.mean))


def save(figure: Figure, out: Path, name: str) -> None:
    """As SVG and PNG."""
    (out / f"{name}.svg").write_bytes(svg(figure))
    with style():
        figure.savefig(out / f"{name}.png", dpi=160)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run(data: blocks.Blocks, test: blocks.Blocks, given: argparse.Namespace) -> dict[str, Any]:
    """Fit, compute, draw and write; return what is printed."""
    base = mainnet.scenario(mainnet.snapshot(given.snapshot))
    fit_key, memory_key, draw_key = jax.random.split(jax.random.key(given.seed), 3)
    fit = functools.partial(fits.fit_family, payments_eth=data.payment_eth, key=fit_key)
    heavy, thin = fit("lognormal_pareto"), fit("lognormal")
    printed = mev.MevModel()
    document = block_value.LogNormal(log_mean=printed.mean_log_return, log_std=printed.std_log_return)
    values = {
        "lognormal with Pareto tail": fits.with_zeros(heavy),
        "lognormal": fits.with_zeros(thin),
        "the document's lognormal": document,
    }
    laws = {name: dataclasses.replace(base, block_value=value) for name, value in values.items()}
    sizes = size_rows(laws, given.points)
    kinds: dict[str, Memory] = {"none": Memory()}
    for kind, title in (("ar1", "AR(1)"), ("level", "slow level and short memory")):
        kinds[title] = memories.fit_memory(
            heavy.distribution, payments_eth=test.payment_eth, slots=test.slot, key=memory_key, kind=kind
        ).memory
    remembered = memory_rows(laws["lognormal"], kinds, draw_key, given.scale)
    out = given.out
    write_rows(out / "sizes.csv", sizes)
    write_rows(out / "memory.csv", remembered)
    first = [row for row in sizes if row["law"] == "lognormal with Pareto tail"]
    quantiles = {level: np.array([row[f"p{100 * level:g}"] for row in first]) for level in LEVELS}
    save(luck_figures.by_size([row["validators"] for row in first], quantiles, mean=first[0]["mean"]), out, "sizes")
    save(solo_figure(laws["lognormal with Pareto tail"], given.points), out, "solo")
    result = {"snapshot": given.snapshot, "sizes": sizes, "memory": remembered}
    (out / "result.json").write_text(json.dumps(plain(result), indent=2) + "\n", encoding="utf-8")
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="payments to fit")
    parser.add_argument("--test", type=Path, required=True, help="every block of a period, for the memory")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it is made if it is not there")
    parser.add_argument("--snapshot", default=TIME_OF_DATA, help="day of the network")
    parser.add_argument("--points", type=int, default=1 << 16, help="cells of each grid")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the years to draw in the Monte Carlo")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        data, test = blocks.read(given.data), blocks.read(given.test)
        given.out.mkdir(parents=True, exist_ok=True)
        result = run(data, test, given)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for line in result["sizes"]:
        if line["validators"] in (1.0, 16.0, 256.0, 10_000.0):
            words = f"median {line['p50']:.3%}, 5 % below {line['p5']:.3%}, mean {line['mean']:.3%}"
            sys.stdout.write(f"{line['law']:28} {line['validators']:7,.0f} validators: {words}\n")
    for line in result["memory"]:
        words = f"nine years in ten within {line['width_90_percent']:.4%}"
        sys.stdout.write(f"{line['validators']:7,.0f} validators, memory {line['memory']}: {words}\n")
    sys.stdout.write(f"{given.out / 'sizes.svg'}\n")


if __name__ == "__main__":
    main()
