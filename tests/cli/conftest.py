"""Run the command line in this process, with the suite's precision restored after it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
import pytest

from jaxstake.cli.main import app


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
