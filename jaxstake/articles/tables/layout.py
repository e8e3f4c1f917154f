"""A table as the documents print one: a title, lines, and columns set by Python's format rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Value = float | int | str


@dataclasses.dataclass(frozen=True)
class Line:
    """A line with one value in it: `text` is a format string of that value."""

    key: str
    text: str
    value: Value


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: key of the rows, heading and its width, format of the values (default: that width), what follows."""

    key: str
    heading: str
    width: int
    format: str = ""
    after: str = ""

    def cell(self, row: Mapping[str, Value]) -> str:
        """The cell of a row."""
        return f"{row[self.key]:{self.format or f'>{self.width}'}}{self.after}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A printed table.

    Attributes:
        name: by which the command line knows it.
        section: of the document, such as "2.1".
        title: first line, in English.
        double_rule: signs of the rule below the title; 0 for none.
        subtitle: line above the columns, if the title is that of the section.
        lines: lines above the columns.
        columns: what is printed of each row, in order.
        rule: signs of the rule below the headings.
        rows: the numbers at full precision, by key; some may be in no column.
        notes: what the document says below the table.
    """

    name: str
    section: str
    title: str
    double_rule: int = 0
    subtitle: str = ""
    lines: Sequence[Line] = ()
    columns: Sequence[Column] = ()
    rule: int = 0
    rows: Sequence[Mapping[str, Value]] = ()
    notes: Sequence[str] = ()


def render(table: Table) -> str:
    """The table in the document's layout.

    Example:
        >>> print(render(Table(name="t", section="1", title="Rates", double_rule=5, rule=5, rows=[{"apr": 4.5}],
        ...                    columns=[Column("apr", "APR", 8, ">7.2f", "%")])))
        Rates
        =====
             APR
        -----
           4.50%
    """
    found = [table.title]
    if table.double_rule:
        found.append("=" * table.double_rule)
    if table.subtitle:
        found += ["", table.subtitle]
    found += [line.text.format(line.value) for line in table.lines]
    if table.columns:
        found.append(" | ".join(f"{column.heading:>{column.width}}" for column in table.columns))
        found.append("-" * table.rule)
        found += [" | ".join(column.cell(row) for column in table.columns) for row in table.rows]
    return "\n".join([*found, *table.notes])


def values(table: Table) -> dict[str, Any]:
    """The numbers of a table at full precision, for files and other programs."""
    return {
        "name": table.name,
        "section": table.section,
        "title": table.title,
        "values": {line.key: line.value for line in table.lines},
        "rows": [dict(row) for row in table.rows],
    }


def over(function: Callable[..., Any], **inputs: Sequence[Value]) -> list[dict[str, Value]]:
    """Rows of a loop: the function of each set of inputs, mapped over all of them at once.

    Args:
        function: of the inputs by keyword; returns a number or a container of numbers.
        inputs: values by name, all of one length; they stay in the rows as they are.

    Returns:
        A dictionary per row: the inputs, then the results by the name of their field ("value" for a number).
    """
    arrays = {name: jnp.asarray(np.asarray(given, float)) for name, given in inputs.items()}
    results = jax.vmap(lambda given: fields(function(**given)))(arrays)
    columns = {name: np.asarray(column).tolist() for name, column in results.items()}
    count = len(next(iter(inputs.values())))
    return [
        {name: column[row] for name, column in columns.items()} | {name: given[row] for name, given in inputs.items()}
        for row in range(count)
    ]


def fields(result: Any) -> dict[str, Any]:
    """Numbers of a result by the name of their field, "value" for a single one."""
    if isinstance(result, Mapping):
        return dict(result)
    return dict(vars(result)) if dataclasses.is_dataclass(result) else {"value": result}


def numbers(result: Any) -> dict[str, Value]:
    """The same as Python's numbers.

    Example:
        >>> numbers(jnp.asarray(2.0))
        {'value': 2.0}
    """
    return {name: np.asarray(value).item() for name, value in fields(result).items()}
