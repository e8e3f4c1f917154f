"""Every formula of the documents by name: what was printed, where, how it differs, and its value at given inputs.

The text comes from the docstrings, the inputs from `inputs`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from jaxstake.articles.entries import CONTAINERS, DOCUMENTS
from jaxstake.articles.inputs import INPUTS, LIMITS, Input, of_container
from jaxstake.core.leaves import unknown_name

_HEADINGS = ("Printed", "Args", "Returns", "Raises", "Outside", "Protocol", "Source", "Example")
_HEADING = re.compile(rf"^({'|'.join(_HEADINGS)}):[ \n]", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One formula of a document.

    Attributes:
        name: of the function.
        document: "apr-guide" or "microstaking-analysis".
        function: what computes it.
        inputs: by name, in the order of the arguments.
        container: class of the first argument, if it is one; its fields are inputs too.
        limit: says in words what is wrong with a set of inputs, each of them in its domain; "" if nothing is.
    """

    name: str
    document: str
    function: Callable[..., Any]
    inputs: Mapping[str, Input]
    container: type | None = None
    limit: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def title(self) -> str:
        """First line of the docstring."""
        return inspect.cleandoc(self.function.__doc__ or "").splitlines()[0].rstrip(".")

    @functools.cached_property
    def sections(self) -> Mapping[str, str]:
        """Parts of the docstring by heading, each on one line but the arguments."""
        return MappingProxyType(docstring_sections(self.function.__doc__ or ""))

    @property
    def section(self) -> str:
        """The first section of the document that prints it, such as "2.1" or "A.2"."""
        found = re.search(r"(?:section|appendix) ([A-Z]?[\d.]*\d)", self.sections["Source"])
        return found.group(1) if found else ""

    @property
    def module(self) -> str:
        """Module and name of the function."""
        return f"{self.function.__module__}.{self.function.__name__}"

    @property
    def replacements(self) -> list[str]:
        """What of jaxstake to use instead, by dotted name."""
        return list(dict.fromkeys(re.findall(r"`(jaxstake\.[\w.]+)`", self.sections["Protocol"])))


@functools.cache
def entries_by_name() -> Mapping[str, Entry]:
    """All formulas in the documents' order."""
    found = {}
    for document, functions in DOCUMENTS.items():
        for function in functions:
            inputs, container = _inputs(function)
            limit = LIMITS.get(function.__name__)
            found[function.__name__] = Entry(
                name=function.__name__,
                document=document,
                function=function,
                inputs=MappingProxyType(inputs),
                container=container,
                limit=limit,
            )
    return MappingProxyType(found)


def get(name: str) -> Entry:
    """The formula of that name; hyphens count as underscores.

    Raises:
        ValueError: unknown name; the message lists the nearest.

    Example:
        >>> get("leak-penalty").section
        '3.3'
    """
    known = entries_by_name()
    if (key := name.replace("-", "_")) not in known:
        raise ValueError(unknown_name("formula", name, list(known)))
    return known[key]


def docstring_sections(docstring: str) -> dict[str, str]:
    """Text below each heading of a docstring.

    Example:
        >>> docstring_sections("Sum." + chr(10) * 2 + "Printed: `a" + chr(10) + "    + b`." + chr(10) + "Source: Here.")
        {'Printed': '`a + b`.', 'Source': 'Here.'}
    """
    text = inspect.cleandoc(docstring)
    marks = [*_HEADING.finditer(text)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = {}
    for mark, end in zip(marks, ends, strict=True):
        body = text[mark.end() : end]
        keep = mark.group(1) in ("Args", "Raises", "Example")
        found[mark.group(1)] = inspect.cleandoc("\n" + body) if keep else " ".join(body.split())
    return found


def settings(entry: Entry, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The inputs of a formula: those given as text, and the document's for the others.

    Raises:
        ValueError: an unknown input, text that is no number, a value outside its domain, or values that do not go
            together, by the ranges that the docstring states. The message names the input, the rule and the value.

    Example:
        >>> settings(get("leak_penalty"), {"distance": "10000"})
        Traceback (most recent call last):
        ...
        ValueError: distance must be at most 5792.62, at which nothing of the balance is left, got 10000
    """
    given = given or {}
    for name in given:
        if name not in entry.inputs:
            raise ValueError(unknown_name("input", name, list(entry.inputs)))
    found = {
        name: field.parse(name, given[name]) if name in given else field.sample for name, field in entry.inputs.items()
    }
    if entry.limit is not None and (wrong := entry.limit(found)):
        raise ValueError(wrong)
    return found


def evaluate(entry: Entry, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The formula at inputs from `settings`: its numbers by field, as Python's; vectors as lists."""
    arguments = {name: entry.inputs[name].argument(value) for name, value in inputs.items()}
    parameters = inspect.signature(entry.function).parameters
    positional: list[Any] = []
    if entry.container is not None:
        fields = [field.name for field in dataclasses.fields(entry.container)]
        positional.append(entry.container(**{name: arguments[name] for name in fields}))
        arguments = {name: value for name, value in arguments.items() if name in parameters or name not in fields}
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name in arguments:
            positional.append(arguments.pop(name))
    return _plain(entry.function(*positional, **arguments))


def _inputs(function: Callable[..., Any]) -> tuple[dict[str, Input], type | None]:
    """Inputs of a function, those of its container first."""
    found: dict[str, Input] = {}
    container = None
    for name, parameter in inspect.signature(function).parameters.items():
        if name in CONTAINERS:
            container = CONTAINERS[name]
            found |= of_container(container)
            continue
        declared = INPUTS.get(f"{function.__name__}.{name}", INPUTS.get(name))
        if declared is None:
            raise KeyError(f"{function.__name__} takes {name}, which is not declared")
        own = parameter.default
        found[name] = declared if own is parameter.empty else dataclasses.replace(declared, sample=own)
    return found, container


def _plain(result: Any) -> Any:
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: _leaf(getattr(result, field.name)) for field in dataclasses.fields(result)}
    return {"value": _leaf(result)}


def _leaf(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _leaf(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return value
    array = np.asarray(jax.device_get(value))
    return bytes(array).hex() if array.dtype == np.uint8 else array.tolist()
