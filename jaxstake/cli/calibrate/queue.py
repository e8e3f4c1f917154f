"""`jaxstake calibrate queue`: the priority of a withdrawal queue, fitted on some requests and judged on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.calibrate.fitted import FigureFile, Seed, describe, print_fit, quiet_convergence, save_figure
from jaxstake.cli.common import BadInputError, Json, bad_input, console, print_json

if TYPE_CHECKING:
    from jaxstake.calibration.queue import Judgement, QueueFit
    from jaxstake.microstaking.withdrawals import Requests

EPOCHS_PER_DAY = 225
ROWS = {
    "mean": "mean",
    "by_amount": "mean by ether",
    "by_score": "mean by score",
    "by_urgency": "mean by urgency",
    "p99": "99th percentile",
    "largest": "largest",
}

Tail = Annotated[float, typer.Option("--lam", metavar="L", help="Weight of the 99th percentile of the waits.")]
ByScore = Annotated[float, typer.Option("--score-weight", metavar="M", help="Weight of the mean wait by score.")]
MaxWait = Annotated[
    float | None,
    typer.Option("--max-wait-days", metavar="DAYS", help="Bound on the largest wait [1.5 times that of FIFO]."),
]
Count = Annotated[int, typer.Option("--requests", metavar="N", help="Requests of one draw.")]
Days = Annotated[int, typer.Option("--days", metavar="N", help="Days in which they arrive.")]
Utilisation = Annotated[float, typer.Option("--utilisation", metavar="U", help="Requests over churn, in all.")]
HeldOut = Annotated[int, typer.Option("--held-out", metavar="N", help="Draws on which the fit is judged.")]
Restarts = Annotated[int, typer.Option("--restarts", metavar="N", help="Restarts of the search.")]
History = Annotated[
    Path | None, typer.Option("--history", metavar="FILE", help="CSV of daily exit queues, to hold FIFO against.")
]


def queue_command(
    lam: Tail = 0.5,
    score_weight: ByScore = 0.0,
    max_wait_days: MaxWait = None,
    requests: Count = 20_000,
    days: Days = 120,
    utilisation: Utilisation = 0.9,
    held_out: HeldOut = 5,
    restarts: Restarts = 4,
    seed: Seed = 0,
    history: History = None,
    figure: FigureFile = None,
    json: Json = False,
) -> None:
    """Fit the priority of a withdrawal queue: smallness of the owner against score, under a bound on the wait.

    The requests are synthetic, with a surge. The result is judged by the exact order on draws it was not fitted to.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    _check(requests=requests, days=days, utilisation=utilisation, held_out=held_out, restarts=restarts, seed=seed)
    with bad_input(), quiet_convergence():
        from jaxstake.calibration import queue

        epochs = days * EPOCHS_PER_DAY
        training, *others = (_draw(seed, number, requests, epochs, utilisation) for number in range(1 + held_out))
        fifo_largest = float(queue.fifo_waits(training[0], churn=training[1], epochs=epochs).max())
        bound = 1.5 * fifo_largest if max_wait_days is None else max_wait_days * EPOCHS_PER_DAY
        largest = queue.allowed_bonus(max_wait=bound, fifo_largest=fifo_largest)
        replayed = None if history is None else _replay(history)
        load = _workload(training, epochs, largest)
        found = queue.fit_priority(
            load,
            largest_bonus=largest,
            key=jax.random.fold_in(jax.random.key(seed), 2**20),
            tail_weight=lam,
            score_weight=score_weight,
            restarts=restarts,
        )
        settings = {"epochs": epochs, "largest_bonus": largest, "tail_weight": lam}
        judged = [queue.judge(found.priority, drawn, churn=churn, **settings) for drawn, churn in others]
    result = _result(found, judged, lam) | {"replay": replayed}
    if figure is not None:
        _draw_figure(figure, found, others[0], judged[0], epochs, largest)
    if json:
        print_json(result)
    else:
        _print(result, judged)


def _check(**numbers: float) -> None:
    least = {"requests": 1, "days": 2, "held_out": 1, "restarts": 1, "seed": 0}
    for name, low in least.items():
        if numbers[name] < low:
            raise BadInputError(f"--{name.replace('_', '-')} must be at least {low}, got {numbers[name]}")
    if not 0 < numbers["utilisation"] <= 10:
        raise BadInputError(f"--utilisation must be in (0, 10], got {numbers['utilisation']:g}")


def _draw(seed: int, number: int, count: int, epochs: int, utilisation: float) -> tuple[Requests, float]:
    """Requests and the churn, ETH per epoch, that they use in part."""
    import jax

    from jaxstake.microstaking import withdrawal_sample

    key = jax.random.fold_in(jax.random.key(seed), number)
    found = withdrawal_sample.sample(withdrawal_sample.Demand(), key=key, count=count, epochs=epochs)
    return found, float(withdrawal_sample.churn_for(found, epochs=epochs, utilisation=utilisation))


def _workload(drawn: tuple[Requests, float], epochs: int, largest: float) -> Any:
    from jaxstake.calibration import queue
    from jaxstake.microstaking import withdrawal_objective

    return withdrawal_objective.workload(
        drawn[0], churn=drawn[1], epochs=epochs, period=queue.PERIOD, lags=queue.lags_for(largest)
    )


def _replay(path: Path) -> dict[str, float]:
    """Waits of a recorded exit queue, recomputed first in, first out."""
    import jax.numpy as jnp
    import numpy as np

    from jaxstake.data import network_history
    from jaxstake.microstaking.withdrawal_replay import replay

    record = network_history.read(path)
    queue, wait, churn = (record[name] for name in network_history.EXIT_QUEUE)
    known = np.isfinite(queue) & np.isfinite(wait) & np.isfinite(churn)
    if not known.any():
        raise BadInputError(f"{path} has no day with queue, wait and churn")
    day = (record.date - record.date[known][0]).astype(int)[known]
    columns = {"queue": jnp.asarray(queue[known]), "churn": jnp.asarray(churn[known]), "day": jnp.asarray(day)}
    found = replay(**columns, days=int(day[-1]) + 1)
    long = wait[known] > 1.0
    error = np.abs(np.asarray(found.wait)[long] / wait[known][long] - 1.0)
    return {
        "days": int(known.sum()),
        "days_of_wait_above_one": int(long.sum()),
        "median_error": float(np.median(error)) if long.any() else float("nan"),
        "largest_error": float(error.max()) if long.any() else float("nan"),
    }


def _result(found: QueueFit, judged: list[Judgement], lam: float) -> dict[str, Any]:
    import math

    import numpy as np

    objectives = np.array([float(one.objective) for one in judged])
    described = describe(found.fit)
    described["converged"] = described["converged"] and bool(np.isfinite(objectives).all())
    per_day = {"largest": lambda one: one.waits.largest, "bound": lambda one: one.bound}
    worst = {name: max(float(value(one)) for one in judged) / EPOCHS_PER_DAY for name, value in per_day.items()}
    return {
        "weights_days": {
            "smallness": float(found.priority.smallness) / EPOCHS_PER_DAY,
            "score": float(found.priority.score) / EPOCHS_PER_DAY,
        },
        "largest_bonus_days": float(found.largest_bonus) / EPOCHS_PER_DAY,
        "fit": described,
        "held_out": {
            "draws": len(judged),
            "objective": float(objectives.mean()),
            "objective_sd": float(objectives.std(ddof=1)) if len(judged) > 1 else math.nan,
            "fifo_objective": float(np.mean([float(one.fifo_objective) for one in judged])),
            "tail_weight": lam,
            "largest_wait_days": worst["largest"],
            "largest_wait_bound_days": worst["bound"],
            "bound_holds": all(bool(one.waits.largest <= one.bound) for one in judged),
            "waits_days": {
                order: {name: _mean(judged, order, name) / EPOCHS_PER_DAY for name in ROWS}
                | {"jain": _mean(judged, order, "jain")}
                for order in ("fifo", "waits")
            },
        },
    }


def _mean(judged: list[Judgement], order: str, name: str) -> float:
    return sum(float(getattr(getattr(one, order), name)) for one in judged) / len(judged)


def _print(result: dict[str, Any], judged: list[Judgement]) -> None:
    from rich.table import Table

    print_fit(result["fit"], title="Shares of the largest bonus")
    held, weights = result["held_out"], result["weights_days"]
    out = console()
    out.print(
        f"bonus: up to {weights['smallness']:.2f} days to a small owner, up to {weights['score']:.2f} to a good score; "
        f"the bound on the wait allows {result['largest_bonus_days']:.2f} in all"
    )
    shown = Table(title=f"Waits in days, mean of {len(judged)} draws not fitted to", title_justify="left")
    for column in ("wait", "FIFO", "priority"):
        shown.add_column(column, justify="left" if column == "wait" else "right")
    for name, label in ROWS.items():
        shown.add_row(label, *(f"{held['waits_days'][order][name]:.2f}" for order in ("fifo", "waits")))
    shown.add_row("Jain's index", *(f"{held['waits_days'][order]['jain']:.3f}" for order in ("fifo", "waits")))
    out.print(shown)
    out.print(
        f"objective {held['objective']:.4f} against {held['fifo_objective']:.4f} for FIFO; largest wait "
        f"{held['largest_wait_days']:.2f} days, at most {held['largest_wait_bound_days']:.2f}"
    )
    if result["replay"] is not None:
        again = result["replay"]
        out.print(
            f"recorded exit queue, {again['days']} days: FIFO recomputes waits above a day with a median error of "
            f"{again['median_error']:.2%}, at most {again['largest_error']:.2%}"
        )


def _draw_figure(
    path: Path, found: QueueFit, drawn: tuple[Requests, float], one: Judgement, epochs: int, largest: float
) -> None:
    import math

    import numpy as np

    from jaxstake.calibration import queue
    from jaxstake.report import queue_figures

    requests, churn = drawn
    window = math.ceil(largest)
    fifo = np.asarray(queue.fifo_waits(requests, churn=churn, epochs=epochs)) / EPOCHS_PER_DAY
    waits = queue.priority_waits(found.priority, requests, churn=churn, epochs=epochs, largest_bonus=window)
    by_name = {"FIFO": fifo, "priority": np.asarray(waits) / EPOCHS_PER_DAY}
    save_figure(
        queue_figures.waits_by_size(np.asarray(requests.amount), by_name, bound=float(one.bound) / EPOCHS_PER_DAY), path
    )
