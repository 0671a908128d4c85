"""``tnrank backends``."""

from __future__ import annotations

from tnrank.cli import _console


def backends() -> None:
    """List the backends: what is installed, its version, devices and default dtype."""
    from rich.table import Table

    import tnrank
    from tnrank._backend import _BUILT_IN, known_backends

    table = Table(box=None, pad_edge=False)
    for column in ("backend", "version", "devices", "default dtype", ""):
        table.add_column(column, header_style="dim", no_wrap=True)
    installed = tnrank.available_backends()
    for name in known_backends():
        if name not in installed:
            table.add_row(name, "not installed", "", "", f"pip install {_BUILT_IN[name][3]}")
            continue
        try:
            backend = tnrank.get_backend(name)
            table.add_row(name, backend.version(), ", ".join(backend.devices()), backend.default_dtype, "")
        except Exception as error:  # a broken installation of one framework must not hide the others
            table.add_row(name, "does not import", "", "", str(error).partition("\n")[0])
    _console.out().print(table)
