"""`jaxstake luck`: the whole distribution of an operator's yearly return."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.calibrate.fitted import FigureFile, Seed, quiet_convergence, save_figure
from jaxstake.cli.common import (
    BadInputError,
    ForkName,
    Json,
    ScenarioFile,
    Settings,
    SnapshotDate,
    bad_input,
    choose,
    console,
    print_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxstake.economy.risk import ReturnDistribution
    from jaxstake.economy.scenario import Scenario

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

Validators = Annotated[float, typer.Option("--validators", metavar="K", help="Number of the operator's validators.")]
MevData = Annotated[
    Path | None, typer.Option("--mev-data", metavar="FILE", help="Fit the block value to payments in this CSV file.")
]
FamilyName = Annotated[str, typer.Option("--family", metavar="NAME", help="Family to fit to --mev-data.")]
Years = Annotated[float, typer.Option("--years", metavar="Y", help="Length of the horizon; returns are per year.")]
PoolFee = Annotated[float, typer.Option("--pool-fee", metavar="SHARE", help="Fee of the smoothing pool.")]
PoolSize = Annotated[
    float | None,
    typer.Option("--pool-validators", metavar="K", help="Validators of the smoothing pool [without luck]."),
]
RiskFree = Annotated[float, typer.Option("--risk-free", metavar="RATE", help="Rate for the Sharpe ratio.")]
Aversion = Annotated[float, typer.Option("--risk-aversion", metavar="G", help="Relative risk aversion.")]
Points = Annotated[int, typer.Option("--points", metavar="N", help="Cells of the grid, a power of two.")]
Lanes = Annotated[
    int, typer.Option("--lanes", metavar="N", help="Years drawn by Monte Carlo beside the grid; 0 for none.")
]


def luck_command(
    validators: Validators = 1.0,
    years: Years = 1.0,
    mev_data: MevData = None,
    family: FamilyName = "lognormal_pareto",
    pool_fee: PoolFee = 0.0,
    pool_validators: PoolSize = None,
    risk_free: RiskFree = 0.0,
    risk_aversion: Aversion = 2.0,
    points: Points = 1 << 16,
    lanes: Lanes = 100_000,
    settings: Settings = None,
    scenario: ScenarioFile = None,
    fork: ForkName = None,
    snapshot: SnapshotDate = None,
    figure: FigureFile = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Print the distribution of the gross return: quantiles, tails, pools, and how sure the numbers are."""
    choice = choose(snapshot=snapshot, file=scenario, fork=fork, settings=settings)
    if lanes < 0:
        raise BadInputError(f"--lanes must be at least 0, got {lanes}")
    with bad_input():
        base = choice.scenario if mev_data is None else _fitted(choice.scenario, mev_data, family, seed)
        result, found = _result(
            base,
            validators=validators,
            years=years,
            fee=pool_fee,
            pool=pool_validators,
            risk_free=risk_free,
            risk_aversion=risk_aversion,
            points=points,
        )
        if lanes:
            result["monte_carlo"] = _drawn(base, validators=validators, years=years, lanes=lanes, seed=seed)
    if figure is not None:
        _draw(figure, base, found, validators, years, points)
    if json:
        print_json(result)
    else:
        _print(result)


def _fitted(scenario: Scenario, path: Path, family: str, seed: int) -> Scenario:
    """The scenario with a block value fitted to payments, zeros included."""
    import dataclasses

    import jax

    from jaxstake.calibration import block_value as fits
    from jaxstake.data import payments

    with quiet_convergence():
        fit = fits.fit_family(family, payments.read(path).payment_eth, key=jax.random.key(seed))
    if not bool(fit.converged):
        raise ValueError(f"{family} did not converge on {path}; try another --family")
    return dataclasses.replace(scenario, block_value=fits.with_zeros(fit))


def _result(
    scenario: Scenario,
    *,
    validators: float,
    years: float,
    fee: float,
    pool: float | None,
    risk_free: float,
    risk_aversion: float,
    points: int,
) -> tuple[dict[str, Any], ReturnDistribution]:
    import math

    import jax

    from jaxstake.core import leaves
    from jaxstake.economy import risk
    from jaxstake.protocol import duties

    law = risk.income_law(scenario, validators=validators, years=years)
    found = jax.jit(risk.distribution, static_argnames=("points",))(law, points=points)
    spread = risk.moments(law)
    sizes = risk.POOL_SIZES
    medians = jax.jit(risk.median_by_pool_size, static_argnames=("points",))(
        scenario, sizes, years=years, points=points
    )
    pooled = risk.smoothing_pool_wins(
        scenario, fee=fee, validators=validators, pool_validators=pool, years=years, points=points
    )
    bounds = {level: risk.quantile_bounds(found, level=level) for level in LEVELS}
    expected = float(law.slots) * float(law.proposal_chance)
    result = {
        "validators": validators,
        "years": years,
        "block_value": {"family": type(scenario.block_value).__name__, **_small(leaves.as_dict(scenario.block_value))},
        "proposals": {
            "expected": expected,
            "chance_of_none": math.exp(float(law.slots) * math.log1p(-float(law.proposal_chance))),
        },
        "mean": spread.mean,
        "standard_deviation": duties.standard_deviation(spread),
        "skewness": duties.skewness(spread),
        "quantiles": {f"{level:g}": risk.quantile(found, level=level) for level in LEVELS},
        "quantile_bounds": {f"{level:g}": list(pair) for level, pair in bounds.items()},
        "value_at_risk_95": risk.value_at_risk(found, level=0.95),
        "conditional_value_at_risk_95": risk.conditional_value_at_risk(found, level=0.95),
        "mean_of_best_5_percent": risk.upper_tail_mean(found, share=0.05),
        "sharpe": risk.sharpe_ratio(spread, risk_free=risk_free),
        "certainty_equivalent": risk.certainty_equivalent(found, risk_aversion=risk_aversion),
        "risk_adjusted": risk.risk_adjusted_rate(spread, risk_aversion=risk_aversion),
        "chance_below_mean": risk.cdf(found, value=spread.mean),
        "smoothing_pool": {"fee": fee, "validators": pool, "chance_that_it_pays_more": pooled},
        "median_by_pool_size": {f"{size:g}": value for size, value in zip(sizes, medians, strict=True)},
        "grid": {
            "points": points,
            "step": found.step,
            "shift_bound": found.shift,
            "chance_bound": found.doubt,
            "beyond": found.beyond,
        },
    }
    return result, found


def _small(values: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars of a distribution; vectors by their length."""
    import numpy as np

    return {name: value if np.ndim(value) == 0 else f"{np.size(value)} values" for name, value in values.items()}


def _drawn(scenario: Scenario, *, validators: float, years: float, lanes: int, seed: int) -> dict[str, Any]:
    """The same by Monte Carlo, each estimate with its standard error."""
    import functools

    import jax

    from jaxstake.economy import risk

    draw = jax.jit(functools.partial(risk.simulate_years, lanes=lanes, table=_table(scenario, validators, years)))
    drawn = draw(scenario, key=jax.random.key(seed), validators=validators, years=years)
    estimates = {
        "mean": risk.estimate_mean(drawn),
        **{f"quantile_{level:g}": risk.estimate_quantile(drawn, level=level) for level in (0.05, 0.5, 0.95)},
        "lower_tail_mean_5_percent": risk.estimate_lower_tail_mean(drawn, share=0.05),
    }
    return {"lanes": lanes} | {name: {"value": x.value, "standard_error": x.error} for name, x in estimates.items()}


def _table(scenario: Scenario, validators: float, years: float) -> int:
    """Counts that hold eight deviations either way, as a power of two."""
    import math

    from jaxstake.economy import risk

    law = risk.income_law(scenario, validators=validators, years=years)
    most = max(float(law.slots) * float(law.proposal_chance), float(law.seat_trials) * float(law.seat_chance))
    return 1 << max(8, math.ceil(math.log2(16.0 * math.sqrt(most) + 80.0)))


def _draw(
    path: Path, scenario: Scenario, found: ReturnDistribution, validators: float, years: float, points: int
) -> None:
    import jax.numpy as jnp
    import numpy as np

    from jaxstake.economy import risk
    from jaxstake.report import luck_figures

    low, high = (float(risk.quantile(found, level=level)) for level in (0.002, 0.98))
    grid = np.linspace(low, high, 600)
    curves = {f"{validators:g} validators" if validators != 1 else "1 validator": found}
    for size in (10.0 * validators, 100.0 * validators):
        if size * scenario.validator.effective_balance_eth <= scenario.network.total_stake_eth:
            curves[f"{size:g} validators"] = risk.return_distribution(
                scenario, validators=size, years=years, points=points
            )
    lines = {name: np.asarray(risk.cdf(one, value=jnp.asarray(grid))) for name, one in curves.items()}
    save_figure(luck_figures.chances(grid, lines, mean=float(found.mean)), path)


def _print(result: Mapping[str, Any]) -> None:
    from rich.table import Table

    count = f"{result['validators']:g} validator" + ("" if result["validators"] == 1 else "s")
    table = Table(title=f"Gross return per year of {count} over {result['years']:g} years", title_justify="left")
    table.add_column("")
    table.add_column("return", justify="right")
    table.add_column("error bound", justify="right")
    rows = [("mean", result["mean"], ""), ("standard deviation", result["standard_deviation"], "")]
    for level, value in result["quantiles"].items():
        low, high = (float(x) for x in result["quantile_bounds"][level])
        rows.append(
            (
                f"{100 * float(level):g} % of years are below",
                value,
                f"{max(high - float(value), float(value) - low):.1e}",
            )
        )
    rows += [
        ("mean of the worst 5 %", -float(result["conditional_value_at_risk_95"]), ""),
        ("mean of the best 5 %", result["mean_of_best_5_percent"], ""),
        ("certainty equivalent", result["certainty_equivalent"], ""),
    ]
    for name, value, bound in rows:
        table.add_row(name, f"{100 * float(value):.4f} %", bound)
    out = console()
    out.print(table)
    proposals, pool = result["proposals"], result["smoothing_pool"]
    out.print(f"proposals: {proposals['expected']:.2f} expected, none with chance {proposals['chance_of_none']:.2%}")
    out.print(
        f"a smoothing pool (fee {pool['fee']:.1%}) pays more with chance {float(pool['chance_that_it_pays_more']):.1%}"
    )
    medians = result["median_by_pool_size"]
    words = ", ".join(
        f"{size} {float(value):.2%}" for size, value in medians.items() if size in ("1", "8", "64", "512", "10000")
    )
    out.print(f"median by validators pooled: {words}")
    if "monte_carlo" in result:
        drawn = result["monte_carlo"]
        median = drawn["quantile_0.5"]
        out.print(
            f"Monte Carlo, {drawn['lanes']:,} draws: mean {float(drawn['mean']['value']):.4%} +- "
            f"{float(drawn['mean']['standard_error']):.4%}, median {float(median['value']):.4%} +- "
            f"{float(median['standard_error']):.4%}"
        )
