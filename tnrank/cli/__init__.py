"""The command ``tnrank``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command; the entry point of the ``tnrank`` script."""
    try:
        import rich
        import typer  # noqa: F401
    except ImportError as error:
        print(
            f'the tnrank command needs {error.name}, which is not installed: pip install "tnrank[cli]"',
            file=sys.stderr,
        )
        sys.exit(1)
    del rich
    from tnrank.cli._app import app

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is shown by its codes.
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="tnrank")
