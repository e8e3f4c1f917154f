"""The Python that the guide to the staking APR prints, taken out of its text and run, section by section.

The text has no fences. What starts in the first column like Python is code if it parses as far as it is indented;
formulas in prose do not parse (they have `×`, `²` or `⊕` in them), the conclusion, which has no code, is not read.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TITLE = "以太坊質押APR數學模型"
CONCLUSION = "結論"
MISNAMED, MEANT = "slash概率", "slash_probability"
"""A parameter, and what the body of its function calls it."""

_HEADING = re.compile(r"(\d+\.\d+) \S")
_START = re.compile(r"(?:import|from|class|def|for) |[A-Za-z_]\w*(?:, ?\w+)* = |[A-Za-z_][\w.]*\(", re.ASCII)
_CONTINUATION = re.compile(r"\s|$|[)\]}]")
_UNUSED = ("import matplotlib", "matplotlib.use(")


@dataclasses.dataclass(frozen=True, repr=False)
class Printed:
    """What the document's code leaves behind: its names, and what each section prints."""

    names: Mapping[str, Any]
    output: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None


def read(documents: Path) -> str:
    """Text of the guide, known by its first line."""
    texts = [path.read_text() for path in sorted(documents.glob("*.txt"))]
    (text,) = [text for text in texts if text.startswith(TITLE)]
    return text


def statements(text: str) -> dict[str, list[str]]:
    """Source of every printed statement at top level, in order, by section."""
    lines = text.split(f"\n{CONCLUSION}\n")[0].splitlines()
    found: dict[str, list[str]] = {}
    section, at = "", 0
    while at < len(lines):
        if heading := _HEADING.match(lines[at]):
            section = heading[1]
        end = _end(lines, at) if _START.match(lines[at]) else None
        if end is not None:
            found.setdefault(section, []).append("\n".join(lines[at:end]))
        at = end or at + 1
    return found


def run(code: Mapping[str, list[str]], *, corrected: bool = True) -> Printed:
    """The statements executed in order in one namespace, their output by section.

    `corrected` gives the misnamed parameter the name that its function uses.
    """
    names: dict[str, Any] = {}
    output = {}
    with global_generator_kept():
        for section, sources in code.items():
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                for source in sources:
                    execute(source, names, corrected=corrected)
            output[section] = printed.getvalue()
    return Printed(names, output)


def execute(source: str, names: dict[str, Any], *, corrected: bool = True) -> None:
    """One statement in a namespace; a figure library that the code imports and does not use is left out."""
    if not source.startswith(_UNUSED):
        exec(source.replace(MISNAMED, MEANT) if corrected else source, names)


@contextlib.contextmanager
def global_generator_kept() -> Iterator[None]:
    """Leave NumPy's global generator, which the code seeds, as it was."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _end(lines: list[str], start: int) -> int | None:
    """Line after the statement that starts there, or None if there is none."""
    found, end = None, start
    while end < len(lines) and (end == start or _CONTINUATION.match(lines[end])):
        end += 1
        if lines[end - 1].strip() and _parses("\n".join(lines[start:end])):
            found = end
    return found


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
