"""Hold the key findings of the micro-staking analysis (section 3.2) against the model, over what nobody knows.

The minimum stake falls from 32 ETH to 1 ETH in thousands of scenarios; what they compute and over which ranges is in
`microstaking_claims_model.py`. A claim holds in a scenario where the change from 32 ETH is of the claimed size or more.

Writes to --out: `claims.csv` (a row per claim, reading and minimum), `scenarios.nc` (every lane), `claims.svg` and
`claims.png`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from microstaking_claims_model import COUNTS, MINIMA, RANGES, compute
from scipy.stats import rankdata

from jaxstake.articles import microstaking_analysis as micro
from jaxstake.report.style import ACCENT, ACCENT_LIGHT, CONTRAST, INK, canvas, percent, style, svg

CLAIMS = {finding.name: finding for finding in micro.KEY_FINDINGS}
LABELS = {
    "bought": "51 % of the stake, bought",
    "bought_less_corrupt": "the same less corrupt stake",
    "operators": "over operators",
    "constant_product_stake": "constant product, by stake",
    "constant_product_volume": "constant product, by volume",
    "stable_swap_stake": "StableSwap, by stake",
    "stable_swap_volume": "StableSwap, by volume",
    "at_minimum": "count n of the minimum",
    "at_32": "count n of 32 ETH",
    "consolidated": "count n, consolidated",
}
MAINNET_STAKE, MAINNET_SOLO = (30e6, 50e6), (0.02, 0.10)
"""What a scenario must show at 32 ETH to be like mainnet: total stake (ETH) and share of solo stakers."""
WEALTH = ("log_std", "log_mean")
"""Parameters that are explained by what they come to, the share of ether in holdings below 32 ETH."""


def changes(data: xarray.Dataset, claim: str, reading: str) -> np.ndarray:
    """Relative change from 32 ETH [scenario, minimum], a fraction."""
    values = data[f"{claim}.{reading}"].to_numpy()
    return values / values[:, :1] - 1.0


def drivers(data: xarray.Dataset) -> dict[str, np.ndarray]:
    """What can explain a change: the parameters, and what the two of wealth come to, by short name."""
    found = {name.rsplit(".", 1)[1] if "." in name else name: data[name].to_numpy() for name in RANGES}
    return found | {"small_ether_share": data["state.small_ether_share"].to_numpy()[:, 0]}


def rank_correlations(known: dict[str, np.ndarray], values: np.ndarray) -> dict[str, float]:
    """Spearman's correlation with every driver, the strongest first; 0 for what does not vary."""
    ranks = np.array([rankdata(row) for row in (values, *known.values())])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    found = ranks[1:] @ ranks[0] / np.maximum(norms[1:] * norms[0], 1e-300)
    return dict(sorted(zip(known, map(float, found), strict=True), key=lambda item: -abs(item[1])))


def summarise(data: xarray.Dataset) -> list[dict[str, Any]]:
    """A row per claim, reading and minimum below 32 ETH, over the valid scenarios."""
    valid = np.flatnonzero(data["invalid"].to_numpy() == 0)
    if not valid.size:
        raise ValueError("every scenario is NaN somewhere")
    data = data.isel(scenario=valid)
    known, like = drivers(data), like_mainnet(data)
    rows = []
    for claim, reading in ((c, r) for c in CLAIMS for r in LABELS if f"{c}.{r}" in data):
        change = changes(data, claim, reading)
        for place, minimum in list(enumerate(MINIMA))[1:]:
            row = {"claim": claim, "reading": reading, "kind": "counting" if reading in COUNTS else "economic"}
            row |= {"claimed": CLAIMS[claim].change, "minimum_stake_eth": minimum, "scenarios": valid.size}
            rows.append(row | _statistics(change[:, place], CLAIMS[claim].change, known, like, valid))
    return rows


def like_mainnet(data: xarray.Dataset) -> np.ndarray:
    """Scenarios with about mainnet's stake and share of solo stakers at 32 ETH."""
    pairs = ((data["state.total_stake_eth"], MAINNET_STAKE), (data["state.solo_share"], MAINNET_SOLO))
    inside = [(low <= values.to_numpy()[:, 0]) & (values.to_numpy()[:, 0] <= high) for values, (low, high) in pairs]
    return np.logical_and(*inside)


def _statistics(
    change: np.ndarray, claimed: float, known: dict[str, np.ndarray], like: np.ndarray, valid: np.ndarray
) -> dict[str, Any]:
    sign = math.copysign(1.0, claimed)
    holds = sign * change >= abs(claimed)
    best = int(np.argmax(sign * change))
    low, middle, high = np.quantile(change, (0.05, 0.5, 0.95))
    explaining = {name: values for name, values in known.items() if name not in WEALTH}
    leading = dict(list(rank_correlations(explaining, change).items())[:3])
    split = {}
    if 0 < holds.sum() < holds.size:
        split = {n: [float(f"{np.median(known[n][part]):.4g}") for part in (holds, ~holds)] for n in list(leading)[:2]}
    return {
        "share_holds": _share(holds),
        "share_holds_like_mainnet": _share(holds[like]),
        "share_right_sign": _share(sign * change > 1e-9),
        "p05": low,
        "median": middle,
        "p95": high,
        "largest": change[best],
        "largest_like_mainnet": sign * (sign * change[like]).max() if like.any() else math.nan,
        "largest_scenario": int(valid[best]),
        "largest_parameters": json.dumps({name: float(f"{values[best]:.4g}") for name, values in known.items()}),
        "rank_correlations": json.dumps({name: round(value, 3) for name, value in leading.items()}),
        "medians_where_it_holds_and_not": json.dumps(split),
    }


def _share(met: np.ndarray) -> float:
    return float(met.mean()) if met.size else math.nan


def render(rows: list[dict[str, Any]], data: xarray.Dataset) -> str:
    """The claims at a minimum of 1 ETH, and the largest change at any minimum, as text."""
    lines = []
    for claim, finding in CLAIMS.items():
        lines += ["", f"{claim}: {finding.printed}"]
        head = ("reading at 1 ETH", "holds", "like mainnet", "right sign", "median", "5 %", "95 %")
        lines.append("  {:30}{:>8}{:>14}{:>12}{:>10}{:>10}{:>10}".format(*head))
        for row in (row for row in rows if row["claim"] == claim and row["minimum_stake_eth"] == MINIMA[-1]):
            shares = (percent(row[f"share_{name}"], 1) for name in ("holds", "holds_like_mainnet", "right_sign"))
            sizes = (percent(row[name], 1) for name in ("median", "p05", "p95"))
            words = (f"{row['kind'][0]}: {LABELS[row['reading']]}", *shares, *sizes)
            lines += ["  {:30}{:>8}{:>14}{:>12}{:>10}{:>10}{:>10}".format(*words), *_details(row, rows)]
    return "\n".join([*lines, "", *_notes(data)])


def _details(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Who leads a change, where the claim holds, and the largest change at any minimum."""
    same = [other for other in rows if (other["claim"], other["reading"]) == (row["claim"], row["reading"])]
    top = max(same, key=lambda other: other["largest"] * math.copysign(1.0, row["claimed"]))
    leading, at = json.loads(row["rank_correlations"]), json.loads(top["largest_parameters"])
    led = ", ".join(f"{name} {value:+.2f}" for name, value in leading.items())
    where = ", ".join(f"{name} {at[name]:g}" for name in leading)
    found = f"largest {percent(top['largest'], 1)} at {top['minimum_stake_eth']:g} ETH, scenario"
    lines = [f"{'':6}{found} {top['largest_scenario']}: {where}", f"{'':6}rank correlations: {led}"]
    split = json.loads(row["medians_where_it_holds_and_not"])
    if split:
        medians = ", ".join(f"{name} {yes:g} (else {no:g})" for name, (yes, no) in split.items())
        lines.append(f"{'':6}medians where it holds: {medians}")
    return lines


def _notes(data: xarray.Dataset) -> list[str]:
    kept = data.isel(scenario=np.flatnonzero(data["invalid"].to_numpy() == 0))
    before = kept["state.cost_at_fixed_price"].to_numpy()[:, 0]
    bound = kept["state.cost_of_all_ether"].to_numpy()[:, 0] / before - 1.0
    like = like_mainnet(kept)
    n = float(np.median(kept["depth.at_32"].to_numpy()[:, 0]))
    cost, entropy, depth, slippage = (CLAIMS[name].change for name in ("attack_cost", "entropy", "depth", "slippage"))
    factors = {"attack cost": 1 + cost, "entropy": n**entropy, "depth": 1 + depth, "slippage": 1 / (1 + slippage)}
    at = ", ".join(f"{name} {32.0 / factor:.2g} ETH" for name, factor in factors.items())
    return [
        f"e: economic reading, c: counting reading. {before.size} scenarios, {like.sum()} of them like "
        f"mainnet at 32 ETH; {data.sizes['scenario'] - before.size} more left out for "
        f"{data.attrs['invalid_lanes']} lanes that are NaN.",
        f"If all ether were staked, and its price stayed, buying 51 % of it would cost {percent(np.median(bound), 0)} "
        f"more in the median, and {percent(cost, 0)} or more in {percent(_share(bound >= cost), 1)} of the scenarios "
        f"({percent(_share((bound >= cost)[like]), 1)} of those like mainnet).",
        f"Counting with stake as it is, the claims need different minima: {at}.",
        f"By the document's own S ~ 1/L, depth {depth:+.0%} is slippage {1 / (1 + depth) - 1:+.0%}, and slippage "
        f"{slippage:+.0%} is depth {1 / (1 + slippage) - 1:+.0%}: the two claims do not fit together.",
    ]


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Every change against its claim by minimum stake: median, and 5 to 95 % of the scenarios."""
    drawn = {
        "attack_cost": {"bought": "bought"},
        "entropy": {"operators": "over operators"},
        "depth": {"constant_product_stake": "pool by stake", "constant_product_volume": "pool by volume"},
        "slippage": {"constant_product_stake": "pool by stake", "constant_product_volume": "pool by volume"},
    }
    limits = {"attack_cost": (-0.02, 50), "entropy": (0, 1), "depth": (-0.3, 50), "slippage": (-1.2, 0.3)}
    with style():
        drawing, panels = canvas(height=9.6, rows=len(drawn))
        for axes, (claim, economic) in zip(panels, drawn.items(), strict=True):
            shades = dict(zip(economic, (ACCENT, ACCENT_LIGHT), strict=False))
            for reading, label in (economic | {"at_minimum": "counting n"}).items():
                _curve(axes, [r for r in rows if (r["claim"], r["reading"]) == (claim, reading)], label, shades)
            claimed = CLAIMS[claim].change
            words = f"claim {'+' if claimed > 0 else ''}{percent(claimed, 0)}"
            axes.axhline(claimed, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label=words)
            axes.set_title(claim.replace("_", " ").capitalize(), loc="left", fontweight="bold")
            axes.set_yscale("symlog", linthresh=0.01, linscale=0.7)
            axes.set_ylim(*limits[claim])
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 0)))
            axes.grid(axis="y")
            look = {"frameon": False, "fontsize": 8.5, "handlelength": 1.4, "columnspacing": 1.2, "borderpad": 0.0}
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.01), ncols=4, **look)
        panels[-1].set_xscale("log", base=2)
        panels[-1].set_xlim(MINIMA[0] * 1.06, MINIMA[-1] / 1.06)
        panels[-1].set_xticks(MINIMA, [f"{v:g}" for v in MINIMA])
        panels[-1].set_xlabel("minimum stake, ETH")
        caption = "change from 32 ETH; line: median, band: 5 to 95 % of the scenarios, dotted: the largest as claimed"
        drawing.supxlabel(caption, fontsize=8.5)
    return drawing


def _curve(axes: Any, rows: list[dict[str, Any]], label: str, shades: dict[str, str]) -> None:
    color, at = shades.get(rows[0]["reading"], CONTRAST), list(MINIMA)
    middle, low, high = ([0.0, *(row[name] for row in rows)] for name in ("median", "p05", "p95"))
    axes.plot(at, middle, color=color, label=label, marker="o", markersize=3.5, clip_on=False)
    axes.plot(at, [0.0, *(row["largest"] for row in rows)], color=color, linewidth=1.0, linestyle=":")
    axes.fill_between(at, low, high, color=color, alpha=0.22, linewidth=0)


def write(data: xarray.Dataset, rows: list[dict[str, Any]], out: Path) -> None:
    """Write claims, scenarios and figure."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "claims.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data.to_netcdf(out / "scenarios.nc", engine="scipy")
    drawing = figure(rows)
    (out / "claims.svg").write_bytes(svg(drawing))
    with style():
        drawing.savefig(out / "claims.png", dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it is made if it is not there")
    parser.add_argument("--scenarios", type=int, default=4096, help="scenarios, best a power of two; default 4096")
    parser.add_argument("--seed", type=int, default=0, help="seed of the design; default 0")
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        if given.scenarios < 1:
            raise ValueError(f"--scenarios must be at least 1, got {given.scenarios}")
        data = compute(given.scenarios, given.seed)
        rows = summarise(data)
        write(data, rows, given.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write(f"{render(rows, data)}\n{given.out / 'claims.csv'}\n")


if __name__ == "__main__":
    main()
