"""Imports point down: every import of the package is read from its source and held against the table of floors.

Beside that: no JAX value and no JAX setting at import time, no slow import behind `import jaxstake`, and sizes. The
checker takes sources as text, so that each of its rules is itself tested on a source that breaks it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import jax
import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {"core": 0, "protocol": 1, "beacon": 1, "economy": 2, "microstaking": 2, "calibration": 3}
MODELS = frozenset(FLOORS)
SIDEWAYS = {
    "beacon": ["jaxstake.protocol.forks"],
    "microstaking": ["jaxstake.economy"],
    "calibration": ["jaxstake.analysis"],
}
BESIDE = {"analysis": {"core"}, "articles": {"core"}, "data": MODELS, "report": MODELS | {"data", "analysis", "face"}}
ROOMS = MODELS | BESIDE.keys() | {"cli", "face"}
READS_ARTICLES = "jaxstake.report.compare"
HEAVY = {"matplotlib", "xarray", "zarr", "optax", "scipy", "pandas", "plotly", "typer", "rich"}
MAKES_VALUES = ("jax.numpy", "jax.random", "jax.lax", "jax.nn", "jax.scipy", "jax.device_put")
NO_VALUES = {"jax.numpy.dtype", "jax.numpy.finfo", "jax.numpy.iinfo"}
LONGEST_BODY, LONGEST_FILE = 55, 350


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module; `runs` says whether importing the importer imports it, outside functions and type checks."""

    target: str
    line: int
    runs: bool


# --- Reading one source ---------------------------------------------------------------------------------------------


def module_name(path: str) -> str:
    """`jaxstake/core/__init__.py` is `jaxstake.core`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_type_check(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def walk(node: ast.AST, *, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes below, each with whether importing the module evaluates it (decorators and defaults it does)."""
    lazy: list[ast.AST] = []
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        lazy = node.body if isinstance(node.body, list) else [node.body]
    elif is_type_check(node):
        lazy = node.body
    for child in ast.iter_child_nodes(node):
        now = runs and not any(child is other for other in lazy)
        yield child, now
        yield from walk(child, runs=now)


def imports(path: str, tree: ast.Module, known: frozenset[str]) -> list[Import]:
    """All imports of a source, relative ones resolved; of `from package import name` the name, if it is a module."""
    package = module_name(path).split(".")[: None if path.endswith("__init__.py") else -1]
    found = []
    for node, runs in walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = [full if (full := f"{start}.{alias.name}") in known else start for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        found += [Import(name, node.lineno, runs) for name in dict.fromkeys(names)]
    return found


def aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `jnp` for `jax.numpy`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Full name of `jnp.zeros` (`jax.numpy.zeros`), or "" of anything that is not a chain of names."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (start := dotted(node.value, names)):
        return f"{start}.{node.attr}"
    return ""


# --- Rules ----------------------------------------------------------------------------------------------------------


def room(module: str) -> str:
    """The folder of a module; the package itself is its face, and `python -m` part of the command line."""
    parts = module.split(".")
    if len(parts) == 1:
        return "face"
    return "cli" if parts[1] == "__main__" else parts[1]


def within(module: str, wanted: list[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in wanted)


def forbidden(source: str, target: str) -> str:
    """Why one module may not import another, or ""."""
    here, there = room(source), room(target)
    if unknown := {here, there} - ROOMS:
        return f"there is no room {unknown.pop()!r} in the table of floors"
    if here == there or here == "cli" or within(target, SIDEWAYS.get(here, [])):
        return ""
    if there == "cli":
        return "nothing imports the command line"
    if there == "articles":
        return "" if within(source, [READS_ARTICLES]) else "articles is sealed"
    if here == "face":
        return ""
    if here in BESIDE:
        return "" if there in BESIDE[here] else f"{here} may not import {there}"
    if there not in FLOORS:
        return f"{here} may not import {there}"
    if FLOORS[there] == FLOORS[here]:
        return f"sideways, from {here} to {there}"
    return "" if FLOORS[there] < FLOORS[here] else f"up, from floor {FLOORS[here]} to {FLOORS[there]}"


def cycles(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle of imports through each module that is in any, described."""
    found = []

    def search(module: str, path: list[str], done: set[str]) -> bool:
        for target in sorted(graph.get(module, set())):
            if target == path[0]:
                found.append(" -> ".join([*path, target]))
                return True
            if target not in done:
                done.add(target)
                if search(target, [*path, target], done):
                    return True
        return False

    for module in sorted(graph):
        search(module, [module], {module})
    return found


def values_at_import(tree: ast.Module) -> list[int]:
    """Lines that compute with JAX while the module is imported."""
    names = aliases(tree)
    calls = [
        (node.lineno, dotted(node.func, names)) for node, runs in walk(tree) if runs and isinstance(node, ast.Call)
    ]
    return [line for line, name in calls if within(name, list(MAKES_VALUES)) and name not in NO_VALUES]


def settings_changed(tree: ast.Module) -> list[int]:
    """Lines that may change a JAX setting: anything done with `jax.config` but reading one of its entries."""
    names = aliases(tree)
    reading = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and (node.attr.startswith("jax_") or node.attr in {"read", "values"})
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "jax" and any(a.name == "config" for a in node.names):
            found.append(node.lineno)
        name = dotted(node, names) if isinstance(node, ast.Attribute) else ""
        switches = name.startswith("jax.") and name.rsplit(".", 1)[-1] in {"enable_x64", "disable_x64"}
        if switches or (name == "jax.config" and id(node) not in reading):
            found.append(node.lineno)
    return found


def long_functions(tree: ast.Module) -> list[tuple[str, int, int]]:
    """Name, line and length of functions whose body, without its docstring, is too long."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if length > LONGEST_BODY:
                found.append((node.name, node.lineno, length))
    return found


def loaded_by(start: str, graph: Mapping[str, list[Import]]) -> set[str]:
    """Modules of the package that importing one of them loads, the packages around them included."""
    loaded, waiting = set(), [start]
    while waiting:
        parts = waiting.pop().split(".")
        for module in (".".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
            if module in graph and module not in loaded:
                loaded.add(module)
                waiting += [item.target for item in graph[module] if item.runs]
    return loaded


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule in a set of sources by path, as "path:line: what"."""
    trees = {path: ast.parse(text) for path, text in sources.items()}
    known = frozenset(module_name(path) for path in sources)
    paths = {module_name(path): path for path in sources}
    graph = {module_name(path): imports(path, tree, known) for path, tree in trees.items()}
    found = []
    for module, items in graph.items():
        inner = [item for item in items if within(item.target, ["jaxstake"])]
        reasons = [(item.line, item.target, forbidden(module, item.target)) for item in inner]
        found += [f"{paths[module]}:{line}: imports {target}: {why}" for line, target, why in reasons if why]
    inside = {module: {item.target for item in items if item.target in known} for module, items in graph.items()}
    found += [f"cycle: {cycle}" for cycle in cycles(inside)]
    for module in sorted(loaded_by("jaxstake", graph)):
        slow = [item for item in graph[module] if item.runs and item.target.split(".")[0] in HEAVY]
        found += [f"{paths[module]}:{item.line}: `import jaxstake` loads {item.target}" for item in slow]
    for path, tree in trees.items():
        found += [f"{path}:{line}: a JAX value at import time" for line in values_at_import(tree)]
        if room(module_name(path)) != "cli":
            found += [f"{path}:{line}: changes a JAX setting" for line in settings_changed(tree)]
        found += [f"{path}:{line}: {name} has {n} lines in its body" for name, line, n in long_functions(tree)]
        if (lines := len(sources[path].splitlines())) > LONGEST_FILE:
            found.append(f"{path}:{lines}: the file has {lines} lines")
    return found


# --- The package ----------------------------------------------------------------------------------------------------


def package_sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "jaxstake").rglob("*.py"))}


def test_the_package_keeps_its_rules():
    sources = package_sources()
    assert {"jaxstake/__init__.py", "jaxstake/core/pytree.py", "jaxstake/protocol/forks.py"} <= sources.keys()
    assert violations(sources) == []


def test_no_module_of_the_models_holds_a_jax_value():
    """What the source cannot show: a value made at import by a function of our own."""
    held = []
    for folder in sorted(MODELS | {"analysis", "articles", "data"}):
        if not (ROOT / "jaxstake" / folder / "__init__.py").exists():
            continue
        package = importlib.import_module(f"jaxstake.{folder}")
        names = [
            package.__name__,
            *(item.name for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")),
        ]
        for name in names:
            for key, value in vars(importlib.import_module(name)).items():
                inside = vars(value).values() if isinstance(value, type) else [value]
                held += [
                    f"{name}.{key}" for item in inside if any(isinstance(x, jax.Array) for x in jax.tree.leaves(item))
                ]
    assert held == []


# --- The checker: each rule on a source that breaks it ----------------------------------------------------------------

FACE = "jaxstake/__init__.py"
EMPTY = {
    FACE: "",
    **{f"jaxstake/{folder}/__init__.py": "" for folder in sorted(ROOMS - {"face"})},
    **{f"jaxstake/{folder}/a.py": "" for folder in sorted(ROOMS - {"face"})},
    "jaxstake/core/b.py": "",
    "jaxstake/protocol/forks.py": "",
    "jaxstake/report/compare/__init__.py": "",
    "jaxstake/__main__.py": "",
}


def broken(path: str, text: str, more: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The violations of an empty package with one source, and perhaps more, put in."""
    return violations({**EMPTY, path: text, **more})


def test_an_empty_package_is_clean():
    assert violations(EMPTY) == []


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("protocol", "core.b"), ("beacon", "protocol.forks"), ("economy", "protocol.a"), ("economy", "beacon.a"),
        ("microstaking", "economy.a"), ("calibration", "microstaking.a"), ("calibration", "analysis.a"),
        ("analysis", "core.a"), ("articles", "core.a"), ("data", "calibration.a"), ("report", "data.a"),
        ("report", "analysis.a"), ("cli", "articles.a"), ("cli", "report.a"), ("cli", "data.a"),
    ],
)  # fmt: skip
def test_downward_imports_are_allowed(source, target):
    assert broken(f"jaxstake/{source}/a.py", f"import jaxstake.{target}") == []


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("core/a", "protocol.a", "up, from floor 0 to 1"), ("core/a", "analysis.a", "core may not import analysis"),
        ("protocol/a", "economy.a", "up"), ("protocol/a", "beacon.a", "sideways"),
        ("protocol/a", "analysis.a", "may not"),
        ("beacon/a", "protocol.a", "sideways"), ("economy/a", "microstaking.a", "sideways"),
        ("economy/a", "calibration.a", "up"), ("economy/a", "analysis.a", "may not"),
        ("microstaking/a", "data.a", "may not"),
        ("analysis/a", "protocol.a", "analysis may not import protocol"), ("analysis/a", "data.a", "may not"),
        ("articles/a", "economy.a", "articles may not import economy"), ("calibration/a", "data.a", "may not"),
        ("data/a", "analysis.a", "data may not import analysis"), ("data/a", "report.a", "may not"),
        ("report/a", "articles.a", "articles is sealed"), ("economy/a", "articles.a", "articles is sealed"),
        ("analysis/a", "articles.a", "sealed"), ("__init__", "articles.a", "sealed"),
        ("report/a", "cli.a", "nothing imports the command line"), ("__init__", "cli.a", "nothing imports the command"),
        ("data/a", "cli.a", "nothing"), ("core/a", "new.a", "there is no room 'new'"),
        ("data/a", "__main__", "nothing"),
    ],
)  # fmt: skip
def test_every_other_import_is_refused(source, target, why):
    found = broken(f"jaxstake/{source}.py", f"import jaxstake.{target}", {"jaxstake/new/a.py": ""})
    assert len(found) == 1
    assert found[0].startswith(f"jaxstake/{source}.py:1: imports jaxstake.{target}: ")
    assert why in found[0]


def test_only_the_comparison_and_the_command_line_read_the_articles():
    assert broken("jaxstake/report/compare/__init__.py", "from jaxstake.articles import a") == []
    assert broken("jaxstake/report/compare/a.py", "from jaxstake.articles import a") == []
    assert "sealed" in broken("jaxstake/report/comparer.py", "from jaxstake.articles import a")[0]
    assert broken("jaxstake/__main__.py", "from jaxstake.cli.a import main") == []


@pytest.mark.parametrize(
    "text",
    [
        "from jaxstake.economy import a",
        "from jaxstake import economy",
        "import jaxstake.economy.a as short",
        "from jaxstake.economy.a import name, other",
        "from jaxstake.economy.a import *",
        "from ..economy import a",
        "from ..economy.a import name",
        "from .. import economy",
        "def f():\n    from jaxstake.economy.a import name",
        "class C:\n    def f(self):\n        if True:\n            import jaxstake.economy",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jaxstake.economy import a",
        "try:\n    pass\nexcept ImportError:\n    from jaxstake.economy import a",
        "import importlib\nimportlib.import_module('jaxstake.economy.a')",
        "f = lambda: __import__('jaxstake.economy')",
    ],
)
def test_every_spelling_of_an_import_is_seen(text):
    found = broken("jaxstake/protocol/a.py", text)
    assert len(found) == 1
    assert "up, from floor 1 to 2" in found[0]


def test_the_face_is_for_users():
    """`from jaxstake import name` inside the package is the face, unless the name is a module."""
    assert broken("jaxstake/protocol/a.py", "from jaxstake import core") == []
    assert "may not import face" in broken("jaxstake/protocol/a.py", "from jaxstake import __version__")[0]
    assert broken("jaxstake/cli/a.py", "from jaxstake import __version__") == []
    assert broken("jaxstake/__init__.py", "from jaxstake import core, protocol, data, analysis") == []


@pytest.mark.parametrize(
    "local", ["from jaxstake.core import {}", "from . import {}", "def f():\n    from .{} import x"]
)
def test_cycles_within_a_folder_are_refused(local):
    one_way = broken("jaxstake/core/a.py", local.format("b"))
    assert one_way == []
    found = broken("jaxstake/core/a.py", local.format("b"), {"jaxstake/core/b.py": "from jaxstake.core import a"})
    assert "cycle: jaxstake.core.a -> jaxstake.core.b -> jaxstake.core.a" in found
    longer = broken(
        "jaxstake/core/a.py",
        local.format("b"),
        {"jaxstake/core/b.py": "from . import c", "jaxstake/core/c.py": "from . import a"},
    )
    assert "cycle: jaxstake.core.a -> jaxstake.core.b -> jaxstake.core.c -> jaxstake.core.a" in longer


@pytest.mark.parametrize(
    "text",
    [
        "import jax.numpy as jnp\nX = jnp.zeros(3)",
        "from jax import numpy\nX = numpy.asarray(1.0)",
        "from jax.numpy import ones\nX = [ones(2)]",
        "import jax\nX = {'a': jax.random.key(0)}",
        "import jax\nX = jax.numpy.sqrt(2.0)",
        "import jax.numpy as jnp\ndef f(x=jnp.ones(2)):\n    return x",
        "import jax.numpy as jnp\nclass C:\n    x = jnp.array(1)",
        "import jax.numpy as jnp\nif True:\n    X = 2 * jnp.arange(3)[0]",
    ],
)
def test_values_at_import_are_refused(text):
    found = broken("jaxstake/core/a.py", text)
    assert len(found) == 1
    assert "a JAX value at import time" in found[0]


def test_what_is_no_value_at_import_is_allowed():
    text = (
        "from __future__ import annotations\nimport jax\nimport jax.numpy as jnp\nimport numpy as np\n"
        "DTYPE = jnp.float32\nEPS = jnp.finfo(jnp.float32).eps\nTABLE = np.zeros(3)\n"
        "@jax.jit\ndef f(x: jnp.ndarray = None):\n    return jnp.zeros(3)\ng = lambda: jnp.ones(2)\n"
    )
    assert broken("jaxstake/core/a.py", text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import jax\njax.config.update('jax_enable_x64', True)",
        "import jax\ndef f():\n    jax.config.update('jax_enable_x64', True)",
        "import jax\njax.config.jax_enable_x64 = True",
        "import jax\nsettings = jax.config",
        "from jax import config",
        "import jax\ndef f():\n    with jax.enable_x64(True):\n        pass",
        "from jax import experimental\ndef f():\n    return experimental.enable_x64()",
    ],
)
def test_settings_are_for_the_command_line(text):
    found = broken("jaxstake/analysis/a.py", text)
    assert len(found) == 1
    assert "changes a JAX setting" in found[0]
    assert broken("jaxstake/cli/a.py", text) == []


def test_reading_a_setting_is_allowed():
    text = "import jax\ndef f():\n    return jax.config.jax_enable_x64 or jax.config.read('jax_enable_x64')"
    assert broken("jaxstake/beacon/a.py", text) == []


def test_slow_imports_behind_the_face_are_refused():
    """Directly, and through modules that the face or one of their packages loads; not inside functions."""
    face = "from jaxstake import analysis\n"
    slow = "import xarray"
    assert "loads matplotlib" in broken("jaxstake/__init__.py", "import matplotlib.pyplot as plt")[0]
    assert broken("jaxstake/analysis/a.py", slow) == []
    for package in ("from jaxstake.analysis import a", "from . import a", "from .a import name"):
        found = broken("jaxstake/analysis/a.py", slow, {FACE: face, "jaxstake/analysis/__init__.py": package})
        assert found == ["jaxstake/analysis/a.py:1: `import jaxstake` loads xarray"]
    inside = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import xarray\ndef f():\n    import xarray"
    assert broken("jaxstake/analysis/__init__.py", inside, {FACE: face}) == []
    around = broken("jaxstake/core/__init__.py", "from scipy.stats import norm", {FACE: "from jaxstake.core import a"})
    assert "loads scipy.stats" in around[0]


def test_sizes_are_refused():
    body = "    x = 1\n" * LONGEST_BODY
    docstring = '    """' + "words\n" * 40 + '    """\n'
    assert broken("jaxstake/core/a.py", f"def f():\n{docstring}{body}") == []
    assert broken("jaxstake/core/a.py", f"def f():\n{docstring}{body}    y = 2\n") == [
        f"jaxstake/core/a.py:1: f has {LONGEST_BODY + 1} lines in its body"
    ]
    assert "method has" in broken("jaxstake/core/a.py", "class C:\n  def method(self):\n" + "      x = 1\n" * 56)[0]
    assert broken("jaxstake/core/a.py", "\n" * LONGEST_FILE) == []
    assert broken("jaxstake/core/a.py", "\n" * (LONGEST_FILE + 1)) == ["jaxstake/core/a.py:351: the file has 351 lines"]
