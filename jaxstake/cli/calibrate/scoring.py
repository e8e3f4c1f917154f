"""`jaxstake calibrate scoring`: weights of validator scores from a panel, and what it cannot tell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.calibrate.fitted import FigureFile, Seed, describe, print_fit, save_figure
from jaxstake.cli.common import BadInputError, Json, bad_input, console, print_json

if TYPE_CHECKING:
    from jaxstake.data.panels import Panel
    from jaxstake.microstaking.scoring_factors import Factors
    from jaxstake.microstaking.scoring_tenure import Hazard

NAMES = ("alpha (performance)", "beta (tenure)", "gamma (reliability)")
PAID_RATE = 0.94734
"""Rate above which the module of the cross-section paid its validators."""
BAD_RATE = 0.9
NO_DUTIES = "the panel has no duties, only presence: weights cannot be fitted without what a score should predict"

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FILE",
        help="CSV panel: interval, validator[, operator], assigned, attested (or attested, missed); or operator_id, "
        "validator_index, assigned, included; or node, interval.",
    ),
]
BadRate = Annotated[
    float | None,
    typer.Option(
        "--bad-rate", metavar="RATE", help="Rate below which an interval is bad [0.9; 0.94734 in a cross-section]."
    ),
]


FEW_BAD = 30
"""Bad rows below which the AUC is said to say little."""


def scoring_command(
    data: Data, bad_rate: BadRate = None, figure: FigureFile = None, json: Json = False, seed: Seed = 0
) -> None:
    """Fit score weights to a panel of validators and rank validators with them where they were not fitted."""
    import jax

    jax.config.update("jax_enable_x64", True)
    if bad_rate is not None and not 0.0 < bad_rate <= 1.0:
        raise BadInputError(f"--bad-rate must be in (0, 1], got {bad_rate:g}")
    with bad_input():
        from jaxstake.data import panels

        panel = panels.read(data)
        result, drawing = (_presence if panel.layout == "presence" else _duties)(panel, bad_rate, seed)
    if figure is not None:
        if drawing is None:
            raise BadInputError("there is nothing to draw: the panel has a single interval and no duties")
        save_figure(drawing(), figure)
    if json:
        print_json({"file": data, "layout": panel.layout, "rows": panel.rows, **result})
    else:
        _print(panel, result)


def _presence(panel: Panel, bad_rate: float | None, seed: int) -> tuple[dict[str, Any], Any]:
    del bad_rate, seed
    if panel.intervals.size < 2:
        raise ValueError("the panel has one interval and no duties: there is nothing to learn from it")
    found = _hazard(panel)

    def draw() -> Any:
        from jaxstake.report import scoring_figures

        return scoring_figures.hazard(found)

    return {"weights": None, "reason": NO_DUTIES, "exit_hazard": _describe_hazard(found)}, draw


def _duties(panel: Panel, bad_rate: float | None, seed: int) -> tuple[dict[str, Any], Any]:
    """Everything about a panel of duties, and what draws it."""
    import jax

    from jaxstake.calibration import scoring, scoring_validation
    from jaxstake.data import panels

    done, duties = panels.matrices(panel)
    factors = _factors(panel, done, duties, bad_rate)
    rows = scoring.rows_of(factors, done, duties)
    cluster = rows.validator if panel.operator is None else _operator_of(panel)[rows.validator]
    fit_key, later_key, folds_key = jax.random.split(jax.random.key(seed), 3)
    found = scoring.fit_scoring(rows, cluster, key=fit_key)
    ranked = {"held_out": scoring_validation.held_out(rows, cluster, key=folds_key)}
    if rows.intervals >= 4:
        ranked["later_intervals"] = scoring_validation.later_intervals(rows, cluster, key=later_key)
    result = {
        "used": rows.validator.size,
        "left_out": panel.rows - rows.validator.size,
        "incidents": int(factors.incident.sum()),
        "clustered_by": "validator" if panel.operator is None else "operator",
        "clusters": found.clusters,
        "weights": _describe_weights(found),
        "fit": describe(found.fit),
        "out_of_sample": {name: [dataclasses.asdict(one) for one in rows_] for name, rows_ in ranked.items()},
    }
    if panel.intervals.size > 1:
        result["persistence"] = dataclasses.asdict(scoring_validation.persistence(done, duties, factors))
        result["exit_hazard"] = _describe_hazard(_hazard(panel))
    which = "later_intervals" if "later_intervals" in ranked else "held_out"

    def draw() -> Any:
        from jaxstake.report import scoring_figures

        title = "intervals after those fitted" if which == "later_intervals" else "operators not fitted"
        return scoring_figures.weights_and_ranking(
            found.weights, found.intervals.weights, found.intervals.identified, ranked[which], title=title
        )

    return result, draw


def _factors(panel: Panel, done: Any, duties: Any, bad_rate: float | None) -> Factors:
    import jax.numpy as jnp

    from jaxstake.microstaking.scoring_factors import past_factors, sibling_factors

    if panel.layout == "cross-section" or (panel.intervals.size == 1 and panel.operator is not None):
        return sibling_factors(
            jnp.asarray(done[:, 0]),
            jnp.asarray(duties[:, 0]),
            jnp.asarray(_operator_of(panel)),
            operators=panel.operators,
            bad_rate=PAID_RATE if bad_rate is None else bad_rate,
        )
    limit = BAD_RATE if bad_rate is None else bad_rate
    return past_factors(jnp.asarray(done), jnp.asarray(duties), times=jnp.asarray(panel.intervals), bad_rate=limit)


def _operator_of(panel: Panel) -> Any:
    """[V] operator of each validator, by its last row."""
    import numpy as np

    operator = np.zeros(panel.validators, int)
    operator[panel.validator] = panel.operator
    return operator


def _hazard(panel: Panel) -> Hazard:
    import jax.numpy as jnp

    from jaxstake.data import panels
    from jaxstake.microstaking.scoring_tenure import exit_hazard

    return exit_hazard(jnp.asarray(panels.present(panel)))


def _describe_weights(found: Any) -> dict[str, Any]:
    at = found.intervals
    rows = {
        name: {"value": found.weights[row], "low": at.weights[row, 0], "high": at.weights[row, 1],
               "identified": bool(at.identified[row])}
        for row, name in enumerate(("alpha", "beta", "gamma"))
    }  # fmt: skip
    k_low, k_high = at.strength
    strength = {"value": found.strength, "low": k_low, "high": k_high, "identified": bool(k_low > 0)}
    low, high = at.overdispersion
    overdispersion = {"value": found.overdispersion, "low": low, "high": high, "identified": bool(high - low < 0.99)}
    slopes = {
        name: {"value": found.slopes.slopes[row], "standard_error": found.slopes.covariance[row, row] ** 0.5}
        for row, name in enumerate(("performance", "tenure", "reliability"))
    }
    return {**rows, "k": strength, "rho": overdispersion, "signed_slopes": slopes, "converged": found.converged}


def _describe_hazard(found: Any) -> dict[str, Any]:
    from jaxstake.microstaking.scoring_tenure import hazard_trend

    common, z = hazard_trend(found)
    return {
        "members_of_unknown_tenure": int(found.left_out),
        "common": common,
        "trend_z": z,
        "by_tenure": [
            {
                "tenure": tenure,
                "at_risk": found.at_risk[tenure],
                "exits": found.exits[tenure],
                "hazard": found.hazard[tenure],
                "low": found.low[tenure],
                "high": found.high[tenure],
                "survival": found.survival[tenure],
            }
            for tenure in range(found.at_risk.shape[0])
            if float(found.at_risk[tenure]) > 0
        ],
    }


def _print(panel: Panel, result: dict[str, Any]) -> None:
    out = console()
    out.print(f"{panel.layout}: {panel.rows} rows, {panel.intervals.size} intervals, {panel.validators} validators")
    if result["weights"] is None:
        out.print(result["reason"])
    else:
        out.print(
            f"used {result['used']} rows, left out {result['left_out']}; {result['incidents']} incidents; errors "
            f"clustered by {result['clusters']} {result['clustered_by']}s"
        )
        _print_weights(result["weights"])
        print_fit(result["fit"], title="Search on the simplex (these standard errors are not clustered)")
        _print_ranked(result["out_of_sample"])
    if "persistence" in result:
        kept = result["persistence"]
        out.print(
            f"rank correlation of mean rates, first with second half: {kept['correlation']:.3f} "
            f"({kept['low']:.3f} to {kept['high']:.3f}), {kept['validators']} validators"
        )
    if "exit_hazard" in result:
        _print_hazard(result["exit_hazard"])


def _print_weights(weights: dict[str, Any]) -> None:
    from rich.table import Table

    shown = Table(title="Weights, 95 % intervals", title_justify="left")
    for column in ("parameter", "value", "low", "high", "note"):
        shown.add_column(column, justify="left" if column in ("parameter", "note") else "right")
    labels = dict(zip(("alpha", "beta", "gamma"), NAMES, strict=True)) | {"k": "k (strength)", "rho": "rho"}
    for name, label in labels.items():
        row = weights[name]
        numbers = [f"{float(row[part]):.4f}" for part in ("value", "low", "high")]
        shown.add_row(label, *numbers, "" if row["identified"] else "not identified")
    out = console()
    out.print(shown)
    signed = weights["signed_slopes"]
    parts = [f"{name} {float(s['value']):+.3f} ({float(s['standard_error']):.3f})" for name, s in signed.items()]
    out.print("slopes without the simplex, log odds per deviation (standard error): " + ", ".join(parts))


def _print_ranked(out_of_sample: dict[str, Any]) -> None:
    from rich.table import Table

    for name, ranked in out_of_sample.items():
        shown = Table(title=f"Ranking, {name.replace('_', ' ')}", title_justify="left")
        for column in ("score", "AUC", "95 % interval", "concordance", "pairs"):
            shown.add_column(column, justify="left" if column == "score" else "right")
        for one in ranked:
            interval = f"{one['auc_low']:.3f} to {one['auc_high']:.3f}" if one["pairs"] else "-"
            auc = f"{one['auc']:.3f}" if one["pairs"] else "-"
            shown.add_row(one["name"], auc, interval, f"{one['concordance']:.3f}", f"{one['pairs']:,}")
        console().print(shown)
        if ranked[0]["bad"] < FEW_BAD:
            console().print(f"only {ranked[0]['bad']} bad rows: go by the concordance, the AUC says little")


def _print_hazard(hazard: dict[str, Any]) -> None:
    from rich.table import Table

    shown = Table(title="Exit hazard by tenure", title_justify="left")
    for column in ("tenure", "at risk", "exits", "hazard", "95 % interval", "survival"):
        shown.add_column(column, justify="right")
    rows = hazard["by_tenure"]
    for row in rows[:12] + rows[12 :: max(1, len(rows) // 8)]:
        shown.add_row(
            str(row["tenure"]), f"{float(row['at_risk']):.0f}", f"{float(row['exits']):.0f}",
            f"{float(row['hazard']):.4f}", f"{float(row['low']):.4f} to {float(row['high']):.4f}",
            f"{float(row['survival']):.3f}",
        )  # fmt: skip
    out = console()
    out.print(shown)
    out.print(
        f"{float(hazard['common']):.4f} per interval over all tenures, trend z = {float(hazard['trend_z']):.1f} (below "
        f"0: falls with tenure); {hazard['members_of_unknown_tenure']} members of unknown tenure left out"
    )
