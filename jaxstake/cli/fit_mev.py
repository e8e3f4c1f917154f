"""`jaxstake fit-mev`: which distribution the payments to proposers follow, and how well it holds on other blocks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.calibrate.fitted import FigureFile, Seed, save_figure
from jaxstake.cli.common import BadInputError, Json, bad_input, console, print_json, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxstake.calibration.block_value import BlockValueFit, Judgement
    from jaxstake.data.payments import Payments

LEVELS = (0.5, 0.9, 0.99, 0.999)
"""Quantiles shown of each family."""

Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Payments: CSV with the column payment_eth, or a relay's delivered payloads (.json or URL).",
    ),
]
TestSource = Annotated[
    str | None, typer.Option("--test", metavar="FILE", help="Other blocks to hold every family against.")
]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="DATE", help="Leave out the blocks of a day (CSV with time_utc). Repeatable."),
]
Families = Annotated[
    list[str] | None, typer.Option("--family", metavar="NAME", help="Fit this family only. Repeatable [all].")
]
Criterion = Annotated[str, typer.Option("--criterion", metavar="NAME", help="Choose by bic or aic.")]
Dependence = Annotated[
    bool, typer.Option("--dependence", help="Also fit the memory of payments and their link to the base fee.")
]
Missing = Annotated[
    str, typer.Option("--missing", metavar="HOW", help="Unknown payments: ignore, or zero (worth nothing).")
]


def fit_mev_command(
    source: Source,
    test: TestSource = None,
    without: Without = None,
    family: Families = None,
    criterion: Criterion = "bic",
    missing: Missing = "ignore",
    dependence: Dependence = False,
    figure: FigureFile = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit every family of block values to payments, and choose one."""
    import jax

    jax.config.update("jax_enable_x64", True)
    if missing not in ("ignore", "zero"):
        raise BadInputError(f"--missing must be ignore or zero, got {missing}")
    if criterion not in ("aic", "bic"):
        raise BadInputError(f"--criterion must be aic or bic, got {criterion}")
    with bad_input():
        from jaxstake.calibration import block_value as fits

        payments = _read(source, without or [], columns=dependence)
        other = None if test is None else _read(test, [], columns=False)
        key = jax.random.key(seed)
        with progress("fit") as bar:
            names = tuple(family or fits.FAMILIES)
        found = fits.fit_families(payments.payment_eth, key=key, names=names, progress=bar)
        choice = fits.choose(found, criterion=criterion)
        judged = (
            {}
            if other is None
            else {name: fits.judge(fit.distribution, other.payment_eth) for name, fit in found.items()}
        )
        result = {
            "file": source,
            **_counts(payments),
            "criterion": criterion,
            "chosen": choice.name,
            "reason": choice.reason,
            **_whole(fits.with_zeros(found[choice.name], missing=missing)),
            "families": {name: _family(name, fit, judged.get(name)) for name, fit in found.items()},
        }
        if other is not None:
            result["test"] = {"file": test, **_counts(other)}
        if dependence:
            result["dependence"] = _dependence(found[choice.name].distribution, payments, key)
    if figure is not None:
        _draw(figure, payments, found, choice.name)
    if json:
        print_json(result)
    else:
        _print(result)


def _read(source: str, without: list[str], *, columns: bool) -> Payments:
    from jaxstake.data import blocks, payments, relay, web

    if web.is_url(source) or source.endswith(".json"):
        if without:
            raise ValueError("--without needs a CSV file with the column time_utc")
        return relay.delivered(source)
    if without:
        return blocks.by_day(blocks.read(source), without=without)
    return blocks.read(source) if columns else payments.read(Path(source))


def _counts(payments: Payments) -> dict[str, Any]:
    counts = {name: getattr(payments, name) for name in ("rows", "paid", "zero", "missing")}
    known = payments.paid + payments.zero
    return counts | {
        "left_out": int(getattr(payments, "left_out", 0)),
        "zero_share": payments.zero / known if known else None,
        "missing_share": payments.missing / payments.rows if payments.rows else None,
    }


def _whole(distribution: Any) -> dict[str, Any]:
    """The chosen distribution with its point mass at zero."""
    from jaxstake.core import leaves
    from jaxstake.economy import block_value

    values = leaves.as_dict(distribution)
    return {
        "paid_share": values.get("paid_share", 1.0),
        "mean_eth": block_value.mean(distribution),
        "standard_deviation_eth": float(block_value.variance(distribution)) ** 0.5,
    }


def _family(name: str, fit: BlockValueFit, judged: Judgement | None) -> dict[str, Any]:
    from jaxstake.calibration.block_value_families import FAMILIES
    from jaxstake.core import leaves
    from jaxstake.economy import block_value

    parametric = FAMILIES[name].parametric
    values = leaves.as_dict(fit.distribution) if parametric else {}
    row = {
        "title": FAMILIES[name].title,
        "parameters": values,
        "standard_errors": {key: fit.standard_errors[key] for key in values},
        "number_of_parameters": int(fit.parameters),
        "log_likelihood": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "ks": fit.ks_distance,
        "converged": bool(fit.converged),
        "candidate": parametric,
        "mean_eth": block_value.mean(fit.distribution),
        "quantiles_eth": {f"{level:g}": block_value.quantile(fit.distribution, level=level) for level in LEVELS},
    }
    if judged is not None:
        row |= {"test_log_likelihood_per_block": judged.log_likelihood_per_block, "test_ks": judged.ks_distance}
    return row


def _dependence(distribution: Any, payments: Any, key: Any) -> dict[str, Any]:
    """Every model of memory, and the correlation with the base fee where the file has one."""
    import jax.numpy as jnp

    from jaxstake.calibration import memory
    from jaxstake.cli.calibrate.fitted import quiet_convergence
    from jaxstake.core import leaves
    from jaxstake.economy import base_fee_link

    rows = {}
    with quiet_convergence():
        for kind in memory.KINDS:
            fit = memory.fit_memory(
                distribution, payments_eth=payments.payment_eth, slots=payments.slot, key=key, kind=kind
            )
            rows[kind] = {
                "parameters": {name: leaves.get(fit.memory, name) for name in fit.standard_errors},
                "standard_errors": fit.standard_errors,
                "log_likelihood": fit.log_likelihood,
                "bic": fit.bic,
                "converged": bool(fit.converged),
            }
    able = {kind: row["bic"] for kind, row in rows.items() if row["converged"]}
    result: dict[str, Any] = {"chosen": min(able, key=able.__getitem__), "memory": rows}
    if payments.base_fee_gwei is not None:
        linked = base_fee_link.fit_link(
            distribution,
            payments_eth=jnp.asarray(payments.payment_eth),
            base_fees_gwei=jnp.asarray(payments.base_fee_gwei),
        )
        result["base_fee"] = {
            "correlation": linked.link.correlation,
            "standard_error": linked.correlation_error,
            "log_mean_gwei": linked.link.base_fee_log_mean,
            "log_std_gwei": linked.link.base_fee_log_std,
            "log_likelihood_gained": linked.log_likelihood - linked.independent_log_likelihood,
            "blocks": int(linked.used),
        }
    return result


def _draw(path: Path, payments: Payments, found: Mapping[str, BlockValueFit], chosen: str) -> None:
    from jaxstake.calibration.block_value_families import FAMILIES
    from jaxstake.report import block_value_fit_figures

    shown = {FAMILIES[name].title: fit.distribution for name, fit in found.items() if FAMILIES[name].parametric}
    drawn = block_value_fit_figures.fitted(payments.payment_eth, shown, chosen=FAMILIES[chosen].title)
    save_figure(drawn, path)


def _print(result: Mapping[str, Any]) -> None:
    from rich.table import Table

    tested = "test" in result
    title = f"{result['file']}: {result['paid']:,} payments, {result['zero']:,} of zero, {result['missing']:,} unknown"
    table = Table(title=title, title_justify="left")
    heads = [
        "family",
        "log likelihood",
        "BIC",
        "KS",
        "mean, ETH",
        "99.9 %, ETH",
        *(["test, per block", "test KS"] if tested else []),
    ]
    for head in heads:
        table.add_column(head, justify="left" if head == "family" else "right")
    for name, row in result["families"].items():
        mark = " *" if name == result["chosen"] else "" if row["converged"] else " (not converged)"
        cells = [
            f"{row['title']}{mark}",
            f"{float(row['log_likelihood']):,.1f}",
            f"{float(row['bic']):,.1f}",
            f"{float(row['ks']):.4f}",
            f"{float(row['mean_eth']):.4f}",
            f"{float(row['quantiles_eth']['0.999']):.3f}",
        ]
        if tested:
            cells += [f"{float(row['test_log_likelihood_per_block']):.4f}", f"{float(row['test_ks']):.4f}"]
        table.add_row(*cells)
    out = console()
    out.print(table)
    out.print(f"* chosen: {result['reason']}")
    chosen = result["families"][result["chosen"]]
    for name, value in chosen["parameters"].items():
        error = float(chosen["standard_errors"][name])
        out.print(f"  {name} {float(value):.4f}" + ("" if error != error else f" +- {error:.4f}"))
    if "dependence" in result:
        _print_dependence(result["dependence"], out)


def _print_dependence(found: Mapping[str, Any], out: Any) -> None:
    best = found["memory"][found["chosen"]]
    words = ", ".join(f"{name} {float(value):.4f}" for name, value in best["parameters"].items())
    gain = float(best["log_likelihood"]) - float(found["memory"]["none"]["log_likelihood"])
    out.print(f"memory: {found['chosen']} ({words}), {gain:.1f} more log likelihood than none")
    if "base_fee" in found:
        fee = found["base_fee"]
        out.print(f"base fee: correlation {float(fee['correlation']):.3f} +- {float(fee['standard_error']):.3f}")
