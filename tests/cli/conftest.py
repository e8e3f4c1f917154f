"""Run the command line in this process, with the suite's precision restored after it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
import pytest

from jaxstake.cli.main import app
from tests.cli.simulations import MINE


@dataclasses.dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        def refuse(token: str) -> None:
            raise AssertionError(f"{token} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    x64 = jax.config.jax_enable_x64

    def run(*args: Any) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            app([str(arg) for arg in args], prog_name="jaxstake")
        captured = capsys.readouterr()
        return Result(code=end.value.code, out=captured.out, err=captured.err)  # type: ignore[arg-type]

    yield run
    jax.config.update("jax_enable_x64", x64)


@pytest.fixture
def refused(cli: Callable[..., Result]) -> Callable[..., str]:
    """Run a command line that must be refused; return its one line."""

    def run(*args: Any) -> str:
        result = cli(*args)
        assert result.code == 2
        assert result.out == ""
        assert result.err.endswith("\n")
        assert result.err.count("\n") == 1
        assert result.err.startswith("jaxstake: ")
        return result.err.removeprefix("jaxstake: ").rstrip("\n")

    return run


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.toml"
    path.write_text(MINE)
    return path


@pytest.fixture(scope="module")
def whole(x64, mine, tmp_path_factory):
    """The simulation in one go: its folder, and what it printed as JSON."""
    if not x64:
        pytest.skip("needs double precision")
    out, printed = tmp_path_factory.mktemp("whole") / "out", io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as end:
        app(["simulate", str(mine), "--out", str(out), "--json"])
    assert end.value.code == 0
    return out, json.loads(printed.getvalue())
