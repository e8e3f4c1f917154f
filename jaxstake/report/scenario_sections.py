"""The sections of the report about many scenarios: against stake, the sweep, the block value, and the method."""

from __future__ import annotations

import math
import sys
from importlib import metadata
from typing import cast

import numpy as np

from jaxstake import __version__
from jaxstake.core import leaves
from jaxstake.data import block_values, mainnet
from jaxstake.economy import block_value
from jaxstake.report import design
from jaxstake.report.drawings import LABELS, words
from jaxstake.report.page import bar, code, escape, note, paragraph, table
from jaxstake.report.sections import Figures
from jaxstake.report.study import OUTPUTS, BlockValueStudy, Study, joint_leaf
from jaxstake.report.style import number, percent


def against_stake(study: Study, figures: Figures) -> str:
    """The APR over stake, alone and jointly."""
    elasticity = dict(zip(study.slopes["leaf"].values, study.slopes["elasticity"].values, strict=True))
    stake = elasticity.get("network.total_stake_eth", math.nan)
    median = joint_leaf(study.scenario) == "block_value.log_mean"
    other = "median block value" if median else "uptime"
    return (
        paragraph(
            "Issuance per ETH falls with the square root of the stake, execution income with the stake itself. "
            f"At this stake the elasticity of the net APR is {number(stake, 3)}: 1% more stake lowers it by about "
            f"{percent(abs(stake) * 0.01, 2)} of itself."
        )
        + figures(
            "stake",
            "APR against total stake",
            "All else as in the scenario. Perfect duties: full participation, a block in every slot, no downtime.",
        )
        + figures("joint", f"Net APR over stake and {other}", "Lines join equal rates; all else as in the scenario.")
    )


def scenarios(lanes: int) -> str:
    """A number of scenarios in words."""
    return f"{lanes:,} scenario{'s' if lanes != 1 else ''}"


def sweep(study: Study, figures: Figures) -> str:
    """The sweep: what moves, and how the net APR is distributed."""
    swept, found = study.swept, study.summary["net"]
    lanes, invalid = int(swept.attrs["lanes"]), int(swept.attrs["invalid_lanes"])
    shape = " × ".join(str(len(swept[name])) for name in swept.dims)
    text = (
        f"{scenarios(lanes)}, every combination of the values below ({shape}), evaluated in single precision in "
        f"{study.sweep_seconds:.1f} seconds, compilation included; invalid lanes: {invalid:,}."
    )
    if lanes != study.requested_lanes:
        text += f" {study.requested_lanes:,} were asked for; this is the nearest full grid below."
    middle = (
        f"Half of them lie between {percent(found['p25'])} and {percent(found['p75'])}, nine in ten between "
        f"{percent(found['p5'])} and {percent(found['p95'])}. These are shares of a design, in equal steps over each "
        "range: what is possible, not what is likely."
    )
    return (
        paragraph(text)
        + _axes_table(study)
        + figures("distribution", f"Net APR over {scenarios(lanes)}", "Above by bins, below accumulated.")
        + paragraph(middle)
        + _quantiles_table(study)
    )


def _axes_table(study: Study) -> str:
    reasons = {entry.leaf: entry for entry in design.RANGES}
    rows = []
    for leaf, share in zip(study.swept.dims, study.drivers, strict=True):
        values, entry = study.swept[leaf].values, reasons[str(leaf)]
        width = "" if math.isnan(share) else bar(share)
        rows.append(
            [
                f"{escape(LABELS[entry.leaf])}<br>{code(entry.leaf)}",
                words(entry.leaf, float(values[0])),
                words(entry.leaf, float(values[-1])),
                f"{len(values)}{' log' if entry.log else ''}",
                "" if math.isnan(share) else percent(share, 1),
                width,
                escape(entry.reason),
            ]
        )
    rest = 1.0 - sum(study.drivers)
    caption = "Ranges, steps, and the share of the variance of the net APR that each quantity explains by itself"
    caption += "." if math.isnan(rest) else f"; {percent(rest, 1)} is joint."
    return table(
        ["quantity", "from", "to", "values", "variance", "", "range"], rows, numeric=(1, 2, 3, 4), caption=caption
    )


def _quantiles_table(study: Study) -> str:
    names = ["min", "p1", "p5", "p25", "p50", "p75", "p95", "p99", "max", "mean", "std"]
    rows = [[code(output), *(percent(study.summary[output][name]) for name in names)] for output in OUTPUTS]
    headers = ["", "least", "1%", "5%", "25%", "50%", "75%", "95%", "99%", "most", "mean", "std"]
    return table(headers, rows, numeric=range(1, len(headers)), caption="Quantiles over the valid scenarios, per year.")


def blocks(study: Study, figures: Figures) -> str:
    """The block value: fitted, or which embedded one."""
    embedded = block_values.get(study.day.block_value)
    mean = float(block_value.mean(study.scenario.block_value))
    source = mainnet.scenario(study.day).block_value
    if leaves.as_dict(source) == leaves.as_dict(study.scenario.block_value):
        origin = (
            f"The scenario's block value is the embedded one named {code(embedded.name)} ({embedded.start} to "
            f"{embedded.end}): {escape(embedded.source)}. {escape(embedded.method)}"
        )
    else:
        origin = "The scenario's block value was set by hand."
    at = ", ".join(
        f"{name} {number(float(value), 4)}" for name, value in leaves.as_dict(study.scenario.block_value).items()
    )
    found = paragraph(
        f"{origin} {escape(type(study.scenario.block_value).__name__)} with {escape(at)}; mean {mean:.4f} ETH."
    )
    if study.fitted is None:
        return found + paragraph(
            f"No payments were given. With {code('--mev-data FILE')}, a CSV file with a column {code('payment_eth')}, "
            "this section fits them and says what they would mean for the yield."
        )
    return found + _fit(study, figures)


def _fit(study: Study, figures: Figures) -> str:
    fitted = cast(BlockValueStudy, study.fitted)
    fit, counts = fitted.fit, fitted.payments
    log_mean, log_std = float(fit.distribution.log_mean), float(fit.distribution.log_std)
    fitted_mean, sample_mean = float(block_value.mean(fit.distribution)), float(fit.sample_mean)
    median = float(np.nanmedian(np.where(counts.payment_eth > 0, counts.payment_eth, np.nan)))
    rows = [
        ["mean of the logarithm", f"{log_mean:.4f} ± {float(fit.log_mean_error):.4f}".replace("-", "\N{MINUS SIGN}")],
        ["standard deviation of the logarithm", f"{log_std:.4f} ± {float(fit.log_std_error):.4f}"],
        ["median: fitted, sample", f"{math.exp(log_mean):.4f} ETH, {median:.4f} ETH"],
        ["mean: fitted, sample", f"{fitted_mean:.4f} ETH, {sample_mean:.4f} ETH"],
        ["largest gap between the distributions (Kolmogorov-Smirnov)", f"{float(fit.ks_distance):.4f}"],
        ["blocks: paid, zero, unknown", f"{counts.paid:,}, {counts.zero:,}, {counts.missing:,}"],
        ["net APR of this scenario with the fitted mean", percent(fitted.net_with_fit, 3)],
        ["net APR of this scenario with the sample mean", percent(fitted.net_with_sample_mean, 3)],
    ]
    heavier = sample_mean > 1.02 * fitted_mean
    verdict = (
        f"The payments average {sample_mean / fitted_mean:.2f} times the fitted mean: their tail is heavier than "
        "lognormal, and a fit to their logarithms misses most of it. For income, trust the sample mean or a family "
        "with a heavier tail."
        if heavier
        else "Fitted and sample mean agree closely; a lognormal carries the mean of these payments."
    )
    return (
        f"<h3>Fit to {escape(fitted.source)}</h3>"
        + paragraph(
            f"A lognormal by maximum likelihood over {counts.paid:,} payments of {counts.rows:,} blocks. Unknown "
            "payments are left out; zeros lower the expected value of a block. The headline keeps the block value of "
            "the scenario, because payments differ between periods."
        )
        + table(["quantity", "value"], rows, numeric=(1,))
        + note(verdict)
        + figures(
            "block_value_density",
            "Payments and the fitted lognormal",
            "Bins of equal width in the logarithm; the outermost 0.05% at either end are not shown.",
        )
        + figures("block_value_tail", "The tail of the payments", "Both axes logarithmic; dots are the payments.")
    )


def method(study: Study, command: str, files: list[str]) -> str:
    """How the page came about."""
    packages = ("jax", "numpy", "xarray", "matplotlib")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        paragraph(
            f"Network: mainnet on {study.day.date.isoformat()} ({escape(study.day.source)}). All rates are "
            "expectations per year of 365.25 days and per ETH of effective balance, by the consensus specification's "
            "rules at the fork, in double precision; the sweep is in single precision."
        )
        + paragraph(
            f"Made by {code(command)} with jaxstake {__version__}, Python {sys.version.split()[0]}, {versions}."
        )
        + paragraph(f"Beside this page: {', '.join(code(name) for name in files)}.")
    )
