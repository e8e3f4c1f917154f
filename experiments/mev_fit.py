"""Fit every family of block values to real payments, and test it on blocks that it has not seen.

Reads CSV files with the columns `slot` and `payment_eth` (and `time_utc` for `--without`, `base_fee_gwei` for the link
to the base fee). The lognormal that one of the source documents assumes is one row, unfitted.

Writes to --out: `families.csv` (a row per family), `result.json` (parameters and errors too), `fit.svg` and `fit.png`
(density, tail, probability and quantile plot), `memory.csv` (a row per model of memory), `memory.svg` and
`memory.png` (autocorrelation of the test blocks, observed and fitted).
"""

from __future__ import annotations

import argparse
import csv
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
from jaxstake.calibration.block_value_families import FAMILIES
from jaxstake.cli.common import plain
from jaxstake.core import leaves
from jaxstake.data import blocks
from jaxstake.economy import base_fee_link, block_value
from jaxstake.economy import memory as model
from jaxstake.report.block_value_fit_figures import fitted
from jaxstake.report.style import ACCENT, CONTRAST, INK, MUTED, canvas, style, svg

LEVELS = (0.5, 0.9, 0.99, 0.999)
LAGS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300, 500)
DOCUMENT = "the document's lognormal"
TITLES = {"none": "none", "ar1": "AR(1)", "ar1_noise": "AR(1) and noise", "level": "slow level and short memory"}


def row(name: str, distribution: Any, fit: fits.BlockValueFit | None, test: blocks.Blocks) -> dict[str, Any]:
    """One family on both files; a family that was not fitted has no likelihood of the first."""
    judged = fits.judge(distribution, test.payment_eth)
    found = {
        "family": name,
        "parameters": None if fit is None else int(fit.parameters),
        "log_likelihood": None if fit is None else float(fit.log_likelihood),
        "aic": None if fit is None else float(fit.aic),
        "bic": None if fit is None else float(fit.bic),
        "ks": None if fit is None else float(fit.ks_distance),
        "test_log_likelihood_per_block": float(judged.log_likelihood_per_block),
        "test_ks": float(judged.ks_distance),
        "mean_eth": float(block_value.mean(distribution)),
    }
    quantiles = {f"p{100 * x:g}_eth": float(block_value.quantile(distribution, level=x)) for x in LEVELS}
    return found | quantiles


def observed(name: str, payments: np.ndarray) -> dict[str, Any]:
    """The payments themselves as a row."""
    paid = payments[payments > 0]
    quantiles = {f"p{100 * x:g}_eth": float(np.quantile(paid, x)) for x in LEVELS}
    return {"family": name, "mean_eth": float(paid.mean())} | quantiles


def autocorrelations(test: blocks.Blocks) -> np.ndarray:
    """Correlation of the logarithms of payments so many slots apart, over the pairs of which both are known."""
    series = np.full(int(test.slot[-1] - test.slot[0]) + 1, np.nan)
    known = test.payment_eth > 0
    series[test.slot[known] - test.slot[0]] = np.log(test.payment_eth[known])
    found = []
    for lag in LAGS:
        early, late = series[:-lag], series[lag:]
        both = ~np.isnan(early) & ~np.isnan(late)
        found.append(float(np.corrcoef(early[both], late[both])[0, 1]))
    return np.array(found)


def memory_figure(seen: np.ndarray, found: Mapping[str, Any]) -> Figure:
    """Autocorrelation, observed and of every model of memory."""
    with style():
        figure, (axes,) = canvas(height=3.4)
        grid = np.geomspace(1, LAGS[-1], 200)
        looks = {"ar1": (CONTRAST, "--"), "ar1_noise": (MUTED, "-."), "level": (ACCENT, "-")}
        for kind, (color, dash) in looks.items():
            line = model.autocorrelation(found[kind].memory, lag=jnp.asarray(grid))
            axes.plot(grid, np.asarray(line), color=color, linestyle=dash, label=TITLES[kind])
        axes.plot(LAGS, seen, "o", color=INK, markersize=4, label="payments")
        axes.set_xscale("log")
        axes.set_ylim(0.0, None)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("slots apart")
        axes.set_ylabel("correlation of the logarithms")
        axes.legend(frameon=False)
    return figure


def remember(distribution: Any, test: blocks.Blocks, key: jax.Array) -> dict[str, memories.MemoryFit]:
    """Every model of memory on the test blocks."""
    return {
        kind: memories.fit_memory(distribution, payments_eth=test.payment_eth, slots=test.slot, key=key, kind=kind)
        for kind in memories.KINDS
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file with every column of any row; what a row lacks is empty."""
    names = list(dict.fromkeys(name for line in rows for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def save(figure: Figure, out: Path, name: str) -> None:
    """As SVG and PNG."""
    (out / f"{name}.svg").write_bytes(svg(figure))
    with style():
        figure.savefig(out / f"{name}.png", dpi=160)


def run(data: blocks.Blocks, test: blocks.Blocks, out: Path, seed: int) -> dict[str, Any]:
    """Fit, test, draw and write; return what is printed."""
    key, memory_key = jax.random.split(jax.random.key(seed))
    found = fits.fit_families(data.payment_eth, key=key)
    choice = fits.choose(found)
    printed = mev.MevModel()
    document = block_value.LogNormal(log_mean=printed.mean_log_return, log_std=printed.std_log_return)
    rows = [row(FAMILIES[name].title, fit.distribution, fit, test) for name, fit in found.items()]
    rows.append(row(DOCUMENT, document, None, test))
    rows += [observed("payments fitted to", data.payment_eth), observed("payments tested on", test.payment_eth)]
    write_rows(out / "families.csv", rows)
    shown = {FAMILIES[name].title: fit.distribution for name, fit in found.items() if FAMILIES[name].parametric}
    save(fitted(data.payment_eth, shown | {DOCUMENT: document}, chosen=FAMILIES[choice.name].title), out, "fit")
    distribution = found[choice.name].distribution
    remembered = remember(distribution, test, memory_key)
    seen = autocorrelations(test)
    save(memory_figure(seen, remembered), out, "memory")
    write_rows(out / "memory.csv", [_memory_row(kind, fit) for kind, fit in remembered.items()])
    result = {
        "chosen": choice.name,
        "reason": choice.reason,
        "families": {
            name: {"parameters": leaves.as_dict(fit.distribution), "standard_errors": dict(fit.standard_errors)}
            for name, fit in found.items()
            if FAMILIES[name].parametric
        },
        "rows": rows,
        "counts": {name: getattr(data, name) for name in ("rows", "paid", "zero", "missing", "left_out")},
        "memory": {kind: _memory_row(kind, fit) for kind, fit in remembered.items()},
        "autocorrelation": dict(zip(map(str, LAGS), seen, strict=True)),
    }
    if data.base_fee_gwei is not None:
        link = base_fee_link.fit_link(
            distribution, payments_eth=jnp.asarray(data.payment_eth), base_fees_gwei=jnp.asarray(data.base_fee_gwei)
        )
        result["base_fee_correlation"] = {"value": link.link.correlation, "standard_error": link.correlation_error}
    (out / "result.json").write_text(json.dumps(plain(result), indent=2) + "\n", encoding="utf-8")
    return result


def _memory_row(kind: str, fit: memories.MemoryFit) -> dict[str, Any]:
    values = {name: float(leaves.get(fit.memory, name)) for name in fit.standard_errors}
    errors = {f"{name}_error": float(value) for name, value in fit.standard_errors.items()}
    return (
        {"memory": TITLES[kind], "log_likelihood": float(fit.log_likelihood), "bic": float(fit.bic)} | values | errors
    )


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="payments to fit")
    parser.add_argument("--test", type=Path, required=True, help="payments of another period, every block, to test on")
    parser.add_argument("--without", action="append", default=[], metavar="DATE", help="day to leave out of --data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it is made if it is not there")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        data, test = blocks.read(given.data), blocks.read(given.test)
        if given.without:
            data = blocks.by_day(data, without=given.without)
        given.out.mkdir(parents=True, exist_ok=True)
        result = run(data, test, given.out, given.seed)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for line in result["rows"]:
        score = line.get("test_log_likelihood_per_block")
        words = "" if score is None else f"{score:9.4f} per test block, "
        sys.stdout.write(
            f"{line['family']:30} {words}mean {line['mean_eth']:.4f} ETH, 99.9 % {line['p99.9_eth']:.3f}\n"
        )
    sys.stdout.write(f"chosen: {result['chosen']} ({result['reason']})\n{given.out / 'fit.svg'}\n")


if __name__ == "__main__":
    main()
