"""What every calibration reports about its fit: convergence, restarts that agreed, intervals, flat directions."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.common import BadInputError, console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxstake.analysis.calibrate import Fit

FigureFile = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE", help="Draw the result: .svg, .png or .pdf.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every random draw.")]


@contextlib.contextmanager
def quiet_convergence() -> Iterator[None]:
    """Silence the warning about convergence, which the output states in its own words."""
    from jaxstake.analysis.calibrate import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def describe(fit: Fit) -> dict[str, Any]:
    """A fit as JSON: convergence, parameters by name, and the directions along which the loss is flat."""
    import numpy as np

    from jaxstake.core import leaves

    values, errors = leaves.as_dict(fit.parameters), leaves.as_dict(fit.standard_errors)
    known, held = leaves.as_dict(fit.identified), leaves.as_dict(fit.at_bound)
    flat, directions = np.asarray(fit.curvature.flat), np.asarray(fit.curvature.directions)
    names = [
        name if np.size(value) == 1 else f"{name}[{place}]"
        for name, value in values.items()
        for place in range(np.size(value))
    ]
    return {
        "converged": bool(fit.converged),
        "gradient_norm": fit.gradient_norm,
        "loss": fit.loss,
        "restarts": int(np.size(fit.restarts.loss)),
        "agreeing": int(fit.agreeing),
        "parameters": {
            name: {
                "value": values[name],
                "standard_error": errors[name],
                "identified": bool(np.all(known[name])),
                "at_bound": bool(np.any(held[name])),
            }
            for name in values
        },
        "flat_directions": [dict(zip(names, directions[:, column], strict=True)) for column in np.flatnonzero(flat)],
    }


def print_fit(described: dict[str, Any], *, title: str) -> None:
    """The same as a table, and a sentence on convergence."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for column in ("parameter", "value", "standard error", "note"):
        shown.add_column(column, justify="left" if column in ("parameter", "note") else "right")
    for name, row in described["parameters"].items():
        notes = [] if row["identified"] else ["not identified"]
        notes += ["at a bound"] if row["at_bound"] else []
        shown.add_row(name, _number(row["value"]), _number(row["standard_error"]), ", ".join(notes))
    out = console()
    out.print(shown)
    state = "converged" if described["converged"] else "NOT converged"
    out.print(
        f"{state}, largest derivative {float(described['gradient_norm']):.2g}; "
        f"{described['agreeing']} of {described['restarts']} restarts agree"
    )
    for direction in described["flat_directions"]:
        moved = {name: float(part) for name, part in direction.items() if abs(float(part)) > 0.1}
        out.print("flat along " + ", ".join(f"{part:+.2f} {name}" for name, part in moved.items()))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name of the file asks for.

    Raises:
        BadInputError: the format is unknown, or the file cannot be written.
    """
    from jaxstake.report.style import style

    try:
        with style():
            figure.savefig(path, dpi=200)
    except (OSError, ValueError) as error:
        raise BadInputError(f"cannot write {path}: {error}") from error


def _number(value: Any) -> str:
    import numpy as np

    numbers = np.atleast_1d(np.asarray(value, dtype=float))
    return " ".join("-" if np.isnan(x) else f"{x:.4g}" for x in numbers)
