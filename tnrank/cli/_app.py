"""All commands in one place. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tnrank.cli import (
    _backends,
    _circuit,
    _complete,
    _console,
    _demo,
    _entanglement,
    _ranks,
    _recipes,
    _reproduce,
    _sweep,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        import tnrank

        print(f"tnrank {tnrank.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Matrix, CP and hierarchical factorizations: train them, and measure every notion of their rank."""
    _console.settings["debug"] = debug


_COMMANDS = (
    _reproduce.reproduce,
    _recipes.recipes,
    _sweep.sweep,
    _ranks.ranks,
    _entanglement.entanglement,
    _complete.complete,
    _circuit.circuit,
    _backends.backends,
    _demo.demo,
)
for command in _COMMANDS:
    app.command()(_console.guarded(command))
