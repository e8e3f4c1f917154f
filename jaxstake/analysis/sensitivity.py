"""Sensitivity of a model's outputs to its inputs, by leaf name: exact derivatives, elasticities, tornado and tables.

A model is any function of a container of scalars whose result is a scalar (`output=None`) or a container of scalars.
Leaves of both go by dotted name ("network.total_stake_eth", "net"). Without `names`, derivatives are taken in every
number: a float or a Python integer without axes. An array of integers counts as an index unless it is named.

Every driver compiles once for a model, its names and its output, and not again for new values; define the model once
too, since a new `lambda` is a new model. An unknown name is a `ValueError` that lists the nearest. Where the base is
out of range the model's own error is raised; within `vmap` or `jit` of a driver that lane is NaN.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core import leaves
from jaxstake.core.checks import is_traced
from jaxstake.core.domain import Domain
from jaxstake.core.numerics import as_float

if TYPE_CHECKING:
    import xarray

Model: TypeAlias = Callable[[Any], Any]
Names: TypeAlias = Iterable[str] | str | None
Output: TypeAlias = str | None
Ranges: TypeAlias = Mapping[str, tuple[float, float]] | float
Slopes: TypeAlias = dict[str, jax.Array]


def gradient(model: Model, base: Any, *, names: Names = None, output: Output = None) -> Slopes:
    """Derivative of one output in each named leaf, exact, by one reverse pass; output units per unit of the leaf.

    Example:
        >>> power = lambda at: at["scale"] * at["x"] ** 3
        >>> {name: float(slope) for name, slope in gradient(power, {"scale": 2.0, "x": 3.0}).items()}
        {'scale': 27.0, 'x': 54.0}
    """
    return value_and_gradient(model, base, names=names, output=output)[1]


def value_and_gradient(
    model: Model, base: Any, *, names: Names = None, output: Output = None
) -> tuple[jax.Array, Slopes]:
    """The output and its `gradient`, by one pass."""
    names = _resolve(base, names)
    result, slopes = _first_order(model, names, output, base)
    value = _pick(result, output)
    _raise_if_invalid(model, base, value)
    return value, {name: slopes[name] for name in names}


@dataclasses.dataclass(frozen=True, repr=False)
class WithGradient:
    """The model that `with_gradient` returns. Equal ones share one compilation."""

    model: Model
    names: tuple[str, ...] | None
    output: Output

    def __repr__(self) -> str:
        """The call that made it, the same in every process."""
        model = f"{getattr(self.model, '__module__', '')}.{getattr(self.model, '__qualname__', repr(self.model))}"
        return f"with_gradient({model}, {self.names}, {self.output!r})"

    def __call__(self, base: Any) -> Slopes:
        """Value and derivatives at one base; traceable."""
        names = _resolve(base, self.names)
        result, slopes = _first_order_pass(self.model, names, self.output, base)
        return {"value": _pick(result, self.output), **{f"gradient.{name}": slopes[name] for name in names}}


def with_gradient(model: Model, names: Names = None, output: Output = None) -> WithGradient:
    """A model that returns an output of another and its derivatives, so that a sweep of it yields labelled gradients.

    Example:
        >>> cube = with_gradient(lambda at: at["x"] ** 3, ["x"])
        >>> {name: float(number) for name, number in cube({"x": 2.0}).items()}
        {'value': 8.0, 'gradient.x': 12.0}
    """
    return WithGradient(model, None if names is None else _as_tuple(names), output)


def elasticity(model: Model, base: Any, *, names: Names = None, output: Output = None) -> Slopes:
    """Relative change of the output per relative change of a leaf, `dlog output / dlog leaf = leaf/output * gradient`.

    0 for a leaf that is 0; not finite where the output is 0.

    Example:
        >>> float(elasticity(lambda at: 7.0 * at["x"] ** 3, {"x": 2.0})["x"])
        3.0
    """
    value, slopes = value_and_gradient(model, base, names=names, output=output)
    return {name: _as_number(leaves.get(base, name)) * slope / value for name, slope in slopes.items()}


def jacobian(model: Model, base: Any, *, names: Names = None, outputs: Names = None) -> dict[str, Slopes]:
    """Derivatives of several outputs, default all: `result[output][leaf]`, by a forward pass along each leaf.

    Example:
        >>> rows = jacobian(lambda at: {"sum": at["x"] + at["y"], "product": at["x"] * at["y"]}, {"x": 2.0, "y": 3.0})
        >>> {name: float(slope) for name, slope in rows["product"].items()}
        {'x': 3.0, 'y': 2.0}
    """
    names = _resolve(base, names)
    chosen = None if outputs is None else _as_tuple(outputs)
    result, rows = _all_first_orders(model, names, chosen, base)
    shown = chosen or leaves.names(result)
    _raise_if_invalid(model, base, *(_pick(result, name) for name in shown))
    return {out: dict(zip(names, rows[out], strict=True)) for out in shown}


def hessian(model: Model, base: Any, *, names: Names = None, output: Output = None) -> dict[str, Slopes]:
    """Second derivatives of one output, `result[leaf][other]`: forward over reverse.

    Example:
        >>> float(hessian(lambda at: at["x"] ** 2 * at["y"], {"x": 3.0, "y": 5.0})["x"]["y"])
        6.0
    """
    names = _resolve(base, names)
    rows = jacobian(with_gradient(model, names, output), base, names=names)
    return {name: rows[f"gradient.{name}"] for name in names}


def hessian_table(model: Model, base: Any, names: Names = None, output: Output = None) -> xarray.DataArray:
    """`hessian` as a labelled array over "leaf" and "other", with the unit of each."""
    import xarray

    names = _resolve(base, names)
    rows = hessian(model, base, names=names, output=output)
    units = [leaves.units(base)[name] for name in names]
    labels = {"leaf": list(names), "other": list(names), "unit": ("leaf", units), "other_unit": ("other", units)}
    values = np.array([[float(rows[name][other]) for other in names] for name in names])
    return xarray.DataArray(values, labels, ("leaf", "other"), "hessian", {"output": output or ""})


def table(model: Model, base: Any, names: Names = None, output: Output = None) -> xarray.Dataset:
    """First-order sensitivities of one output over "leaf", default those whose derivative is not zero to rounding.

    Returns:
        `value` of the leaf, `gradient` (output per unit of the leaf), `elasticity`, and `change_per_percent`: how the
        output changes, to first order, when the leaf grows by 1 %. Each leaf has its `unit` and `meaning`; name,
        value and unit of the output are attributes.
    """
    resolved = _resolve(base, names)
    result, slopes = _first_order(model, resolved, output, base)
    value = _pick(result, output)
    _raise_if_invalid(model, base, value)
    rounding = float(jnp.finfo(value.dtype).eps) * abs(float(value))
    moving = [
        name
        for name in resolved
        if slopes[name] != 0 and not 0 < abs(float(leaves.get(base, name)) * float(slopes[name])) < rounding
    ]
    shown = list(resolved) if names is not None else moving
    at = np.array([float(leaves.get(base, name)) for name in shown])
    slope = np.array([float(slopes[name]) for name in shown])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = at * slope / float(value)
    columns = {"value": at, "gradient": slope, "elasticity": relative, "change_per_percent": 0.01 * at * slope}
    return _dataset(base, shown, columns, result, output, float(value))


def tornado(model: Model, base: Any, ranges: Ranges, output: Output = None, *, names: Names = None) -> xarray.Dataset:
    """One output with one leaf at a time at each end of a range, all others at the base.

    Args:
        model: the function.
        base: the middle.
        ranges: (low, high) by leaf name; or one relative width for all: 0.1 is 10 % of the leaf each way.
        output: dotted name of the output; None if the model returns a scalar.
        names: for a relative width, the leaves; default those that move the output.

    Returns:
        Over "leaf", the widest swing first: `low` and `high`, clipped to the declared domain of the leaf; `clipped`,
        whether that moved one; `output_low` and `output_high` there; `swing`, how far those lie apart. An end that
        breaks a rule joining several leaves is NaN, and last. Name, value and unit of the output are attributes.
    """
    ends = _ends(base, ranges, names)
    lows, highs = ({name: pair[i] for name, pair in ends.items()} for i in range(2))
    result = _one_at_a_time(model, tuple(ends), base, lows, highs)
    values = np.asarray(_pick(result, output))
    _raise_if_invalid(model, base, values[0])
    columns = {key: np.array([pair[i] for pair in ends.values()]) for i, key in enumerate(("low", "high", "clipped"))}
    columns |= {"output_low": values[1::2], "output_high": values[2::2], "swing": np.abs(values[2::2] - values[1::2])}
    order = np.argsort(-columns["swing"], kind="stable")
    if names is None and not isinstance(ranges, Mapping):
        order = order[columns["swing"][order] != 0]
    shown = [list(ends)[row] for row in order]
    return _dataset(base, shown, {key: column[order] for key, column in columns.items()}, result, output, values[0])


def _first_order_pass(model: Model, names: tuple[str, ...], output: Output, base: Any) -> tuple[Any, Any]:
    """All that the model returns, and the gradient of one output."""

    def evaluate(point: Mapping[str, Any]) -> tuple[jax.Array, Any]:
        result = model(leaves.replace(base, point))
        return _pick(result, output), result

    slopes, result = jax.grad(evaluate, has_aux=True)({name: _as_number(leaves.get(base, name)) for name in names})
    return result, slopes


_first_order = jax.jit(_first_order_pass, static_argnums=(0, 1, 2))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _all_first_orders(model: Model, names: tuple[str, ...], outputs: tuple[str, ...] | None, base: Any) -> Any:
    """All that the model returns, and for each chosen output its slopes along every leaf, stacked."""

    def evaluate(point: Mapping[str, Any]) -> tuple[Slopes, Any]:
        result = model(leaves.replace(base, point))
        return {name: _pick(result, name) for name in outputs or leaves.names(result)}, result

    point = {name: _as_number(leaves.get(base, name)) for name in names}
    _, along, result = jax.linearize(evaluate, point, has_aux=True)
    zeros = {name: jnp.zeros(len(names), jnp.result_type(x)) for name, x in point.items()}
    directions = {name: zeros[name].at[row].set(1) for row, name in enumerate(names)}
    return result, jax.vmap(along, axis_size=len(names))(directions)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _one_at_a_time(model: Model, names: tuple[str, ...], base: Any, lows: Any, highs: Any) -> Any:
    """All that the model returns, at the base, then with each leaf in turn at its low and its high end."""
    lanes = 1 + 2 * len(names)
    point = {name: jnp.broadcast_to(_as_number(leaves.get(base, name)), lanes) for name in names}
    for row, name in enumerate(names):
        point[name] = point[name].at[1 + 2 * row].set(lows[name]).at[2 + 2 * row].set(highs[name])
    return jax.vmap(lambda at: model(leaves.replace(base, at)), axis_size=lanes)(point)


def _as_tuple(names: Iterable[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))


def _resolve(base: Any, names: Names) -> tuple[str, ...]:
    """The named leaves, each checked to be a number without axes; default those that are not an index."""
    found = {name: jax.typeof(value) for name, value in leaves.as_dict(base).items()}
    if names is None:
        floats = {name for name, kind in found.items() if kind.weak_type or jnp.issubdtype(kind.dtype, jnp.floating)}
        return tuple(name for name, kind in found.items() if name in floats and not kind.ndim)
    for name in _as_tuple(names):
        if name not in found:
            raise ValueError(leaves.unknown_name("leaf", name, list(found)))
        if found[name].ndim or not jnp.issubdtype(found[name].dtype, jnp.number):
            raise ValueError(f"leaf '{name}' must be a number without axes, got {found[name]}")
    return _as_tuple(names)


def _as_number(value: Any) -> Any:
    """The value as a float, of its own precision if it is one; a Python number keeps to the precision of others."""
    return value * 1.0 if jax.typeof(value).weak_type else as_float(value)


def _pick(result: Any, output: Output) -> jax.Array:
    """One output of what a model returned, as a float."""
    found = leaves.as_dict(result)
    if (output or "") not in found:
        raise ValueError(leaves.unknown_name("output", output or "", list(found)))
    return as_float(found[output or ""])


def _raise_if_invalid(model: Model, base: Any, *values: Any) -> None:
    """Let the model say what is wrong with this base, if a value is NaN."""
    if not is_traced(base, values) and any(np.isnan(value) for value in values):
        model(base)


def _ends(base: Any, ranges: Ranges, names: Names) -> dict[str, tuple[float, float, bool]]:
    """Low, high and whether either was clipped, by leaf."""
    if not isinstance(ranges, Mapping):
        at = {name: float(leaves.get(base, name)) for name in _resolve(base, names)}
        ranges = {name: (x - ranges * abs(x), x + ranges * abs(x)) for name, x in at.items()}
    domains, ends = leaves.domains(base), {}
    for name in _resolve(base, ranges):
        low, high = map(float, ranges[name])
        if not -np.inf < low <= high < np.inf:
            raise ValueError(f"the range of '{name}' must be finite and low first, got ({low}, {high})")
        inside = tuple(_clip(end, domains.get(name, Domain())) for end in (low, high))
        ends[name] = (*inside, inside != (low, high))
    return ends


def _clip(value: float, domain: Domain) -> float:
    """The nearest number inside the domain; of single precision at an open end, to be inside in any precision."""
    if domain.contains(value):
        return value
    below = value <= domain.low
    bound, inward = (domain.low, np.float32(np.inf)) if below else (domain.high, np.float32(-np.inf))
    if not (domain.open_low if below else domain.open_high):
        return bound
    return float(np.nextafter(np.float32(bound), inward) if bound else np.copysign(np.finfo(np.float32).tiny, inward))


def _dataset(base: Any, shown: Any, columns: Any, result: Any, output: Output, value: float) -> xarray.Dataset:
    """Columns over the shown leaves, labelled."""
    import xarray

    labels = {"unit": leaves.units(base), "meaning": leaves.meanings(base)}
    coords = {"leaf": list(shown), **{key: ("leaf", [of[name] for name in shown]) for key, of in labels.items()}}
    about = {"output": output or "", "value": float(value), "unit": leaves.units(result)[output or ""]}
    return xarray.Dataset({key: ("leaf", column) for key, column in columns.items()}, coords, about)
