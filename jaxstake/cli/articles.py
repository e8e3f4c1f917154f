"""`jaxstake articles`: the two source documents as printed, and what the protocol says to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jaxstake.cli.common import ForkName, Json, bad_input, console, pairs, print_json, writable_folder

if TYPE_CHECKING:
    from jaxstake.articles.catalogue import Entry
    from jaxstake.report.compare import Comparison

Inputs = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="INPUT=VALUE", help="Set an input, such as total_stake=3e7. Repeatable."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `jaxstake articles list` names it.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write comparison.html and comparison.csv there.")
]

articles = typer.Typer(
    cls=TyperGroup, help="The two source documents exactly as printed, and the protocol's values beside them."
)


@articles.callback(invoke_without_command=True)
def articles_root(context: typer.Context) -> None:
    """The two source documents exactly as printed, and the protocol's values beside them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@articles.command("list")
def list_command(json: Json = False) -> None:
    """List every formula and every table of the documents."""
    _double_precision()
    from jaxstake.articles import catalogue, tables

    formulas = catalogue.entries_by_name()
    if json:
        print_json(
            {
                "formulas": [
                    {"name": e.name, "document": e.document, "section": e.section, "title": e.title}
                    for e in formulas.values()
                ],
                "tables": list(tables.TABLES),
            }
        )
        return
    from rich.table import Table

    out = console()
    for document in dict.fromkeys(entry.document for entry in formulas.values()):
        shown = Table(title=document, title_justify="left")
        for heading in ("section", "formula", "what it is"):
            shown.add_column(heading, no_wrap=heading != "what it is")
        for entry in formulas.values():
            if entry.document == document:
                shown.add_row(entry.section, entry.name, entry.title)
        out.print(shown)
    out.print("Tables: " + ", ".join(tables.TABLES))


@articles.command("show")
def show_command(name: Name, settings: Inputs = None, json: Json = False) -> None:
    """Show one formula: as printed, its value, how the protocol differs and what to use instead."""
    _double_precision()
    from jaxstake.articles import catalogue

    with bad_input():
        entry = catalogue.get(name)
        inputs = catalogue.settings(entry, pairs(settings))
        result = catalogue.evaluate(entry, inputs)
    if json:
        shown = {key: value for key, value in inputs.items() if entry.inputs[key].kind != "function"}
        print_json(
            {
                "name": entry.name,
                "document": entry.document,
                "section": entry.section,
                "title": entry.title,
                **{key.lower(): entry.sections[key] for key in ("Printed", "Returns", "Outside", "Protocol", "Source")},
                "function": entry.module,
                "instead": entry.replacements,
                "inputs": shown,
                "result": result,
            }
        )
        return
    _print_entry(entry, inputs, result)


@articles.command("table")
def table_command(name: Name, json: Json = False) -> None:
    """Reprint one of the documents' tables in its own layout."""
    _double_precision()
    from jaxstake.articles import tables
    from jaxstake.articles.tables import layout

    with bad_input():
        table = tables.get(name)
    if json:
        print_json(layout.values(table))
    else:
        typer.echo(layout.render(table))


@articles.command("compare")
def compare_command(out: Out = None, fork: ForkName = None, json: Json = False) -> None:
    """Put every printed claim beside the protocol's value at the same inputs."""
    _double_precision()
    with bad_input():
        from jaxstake.report import compare

        found = compare.run(fork=fork)
    paths: Mapping[str, Path] = {}
    if out is not None:
        writable_folder(out)
        with bad_input(OSError):
            paths = compare.write(found, out)
    if json:
        print_json({**compare.as_dict(found), "files": paths})
        return
    _print_comparison(found)
    for path in paths.values():
        typer.echo(str(path))


def _double_precision() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _print_entry(entry: Entry, inputs: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    from rich.table import Table

    out = console()
    out.print(f"[bold]{entry.name}[/bold]  {entry.title}", soft_wrap=True)
    shown = Table.grid(padding=(0, 2))
    for heading in ("Source", "Printed", "Returns", "Outside", "Protocol"):
        shown.add_row(f"[dim]{heading}[/dim]", _literal(entry.sections[heading]))
    shown.add_row("[dim]Function[/dim]", entry.module)
    shown.add_row("[dim]Arguments[/dim]", _literal(entry.sections["Args"]))
    out.print(shown)
    values = Table(show_header=False, box=None, padding=(0, 2))
    for key, value in inputs.items():
        field = entry.inputs[key]
        values.add_row("input", key, field.says if field.kind == "function" else _brief(value))
    for key, value in result.items():
        values.add_row("[bold]result[/bold]", key, _brief(value))
    out.print(values)


def _literal(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _brief(value: Any) -> str:
    """A value in a line; long vectors by their first elements."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_brief(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        head = ", ".join(_brief(element) for element in value[:6])
        return f"{head}, ... ({len(value)} in all)" if len(value) > 6 else head or "nothing"
    return f"{value:,.10g}" if isinstance(value, float) else str(value)


def _print_comparison(found: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from jaxstake.report import compare

    out = console()
    for chapter, rows in found.chapters.items():
        shown = Table(title=chapter, title_justify="left", show_lines=True)
        for heading, justify, width in (
            ("section", "left", 10),
            ("claim", "left", 30),
            ("printed", "right", 15),
            ("protocol", "right", 15),
            ("printed / protocol", "right", 10),
            ("why, and what is right", "left", None),
        ):
            shown.add_column(heading, justify=justify, width=width)  # type: ignore[arg-type]
        for row in rows:
            cells = compare.cells(row)
            verdict = "agrees" if row.agrees else cells["ratio"] or "differs"
            right = Text.assemble(f"{row.why}\n", (row.module, "dim"))
            shown.add_row(row.section, Text(row.claim), cells["printed"], cells["protocol"], verdict, right)
        out.print(shown)
    out.print(compare.summary(found))
