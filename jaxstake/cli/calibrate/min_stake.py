"""`jaxstake calibrate min-stake`: the dynamic minimum stake for given weights, judged on paths it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.calibrate.fitted import FigureFile, Seed, describe, print_fit, quiet_convergence, save_figure
from jaxstake.cli.common import Json, bad_input, console, pairs, print_json, with_numbers

if TYPE_CHECKING:
    from jaxstake.calibration.min_stake import MinimumStakeCalibration

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="LEAF=VALUE", help="Set a leaf, such as weights.load=0.5. Repeatable."),
]
Lowest = Annotated[float, typer.Option("--lowest", metavar="ETH", help="Smallest minimum stake.")]
Highest = Annotated[float, typer.Option("--highest", metavar="ETH", help="Largest minimum stake.")]
Paths = Annotated[int, typer.Option("--paths", metavar="N", help="Training paths.")]
HeldOut = Annotated[int, typer.Option("--held-out", metavar="N", help="Paths that judge.")]
Periods = Annotated[int, typer.Option("--periods", metavar="N", help="Length of a path, weeks by default.")]
Classes = Annotated[int, typer.Option("--classes", metavar="N", help="Size classes of holders.")]
Restarts = Annotated[int, typer.Option("--restarts", metavar="N", help="Beginnings of the search.")]


def min_stake_command(
    settings: Settings = None,
    lowest: Lowest = 1.0,
    highest: Highest = 64.0,
    paths: Paths = 16,
    held_out: HeldOut = 64,
    periods: Periods = 260,
    classes: Classes = 64,
    restarts: Restarts = 3,
    seed: Seed = 0,
    figure: FigureFile = None,
    json: Json = False,
) -> None:
    """Fit the dynamic minimum stake and compare it with 32 ETH and the best static rule on new paths."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxstake.calibration.min_stake import calibrate
    from jaxstake.microstaking.policy import MinimumStakePolicy
    from jaxstake.microstaking.welfare import WelfareScenario

    with bad_input(), quiet_convergence():
        scenario = with_numbers(WelfareScenario(), pairs(settings))
        found = calibrate(
            scenario,
            key=jax.random.key(seed),
            policy=MinimumStakePolicy(lowest_eth=lowest, highest_eth=highest),
            periods=periods,
            paths=paths,
            held_out=held_out,
            classes=classes,
            restarts=restarts,
        )
    if figure is not None:
        from jaxstake.report.min_stake_figures import trade_off

        save_figure(trade_off(found, weights=scenario.weights), figure)
    described = _describe(found)
    if json:
        print_json(described)
    else:
        _print(described)


def _describe(found: MinimumStakeCalibration) -> dict[str, Any]:
    """The calibration as JSON."""
    import dataclasses

    from jaxstake.core import leaves

    fit, bend = describe(found.fit), found.curvature
    levers = ("base_eth", "count_exponent", "volatility_slope")
    for name, known in zip(levers, bend.identified, strict=True):
        row = fit["parameters"][name]
        row["standard_error"], row["identified"] = getattr(found.standard_errors, name), bool(known)
    fit["flat_directions"] = [dict(zip(levers, direction, strict=True)) for direction in bend.directions.T[bend.flat]]
    return {
        **fit,
        "agreeing": found.agreeing,
        "policy": leaves.as_dict(found.policy),
        "held_out": {
            name: {
                **{lever: getattr(rule.policy, lever) for lever in levers},
                "terms": dataclasses.asdict(rule.terms),
                "gain_over_32_eth": rule.gain,
                "standard_error": rule.gain_error,
            }
            for name, rule in found.judged.items()
        },
        "dynamic_over_static": {"gain": found.dynamic_gain, "standard_error": found.dynamic_gain_error},
        "static_is_corner": found.static_is_corner,
        "surface": {
            "weights_of": [field.name for field in dataclasses.fields(found.surface.terms)],
            "weights": found.surface.weights,
            "best_static_eth": found.surface.best_eth,
            "share_at_a_limit": float(found.surface.corner.mean()),
        },
        "static": {"minimum_eth": found.surface.minimum_eth, "terms": dataclasses.asdict(found.surface.terms)},
    }


def _print(described: dict[str, Any]) -> None:
    from rich.table import Table

    print_fit(described, title="Dynamic minimum stake, fitted")
    shown = Table(title="On paths that it was not trained on", title_justify="left")
    for column in ("rule", "base, ETH", "welfare over 32 ETH", "standard error"):
        shown.add_column(column, justify="left" if column == "rule" else "right")
    for name, rule in described["held_out"].items():
        numbers = (rule["gain_over_32_eth"], rule["standard_error"])
        shown.add_row(name, f"{float(rule['base_eth']):.3g}", *(f"{value:.4f}" for value in numbers))
    out = console()
    out.print(shown)
    gain = described["dynamic_over_static"]
    out.print(f"dynamic over best static: {gain['gain']:.4f}, standard error {gain['standard_error']:.4f}")
    if described["static_is_corner"]:
        out.print("the best static minimum is at a limit: the limit decides, not the welfare")
    surface = described["surface"]
    out.print(
        f"over {len(surface['best_static_eth'])} weights the best static minimum runs from "
        f"{min(surface['best_static_eth']):.3g} to {max(surface['best_static_eth']):.3g} ETH, "
        f"{surface['share_at_a_limit']:.0%} of them at a limit"
    )
