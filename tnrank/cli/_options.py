"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Backend = Annotated[
    str | None,
    typer.Option("--backend", help="numpy, jax or torch; else what suits, of those installed."),
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or float64 (on JAX this turns x64 on).")]
OwnDtype = Annotated[
    str | None, typer.Option("--dtype", help="float32 or float64 (on JAX this turns x64 on); else the recipe's own.")
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="quick (under a minute) or paper (the published settings); quick if not given."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="The most steps of each model; else the preset's.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe; repeatable."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.toml", help="Fields of the recipe; preset, backend, dtype. Flags win."),
]
Threads = Annotated[
    int,
    typer.Option("--threads", help="Threads of NumPy and PyTorch; 0: all cores. Small arrays are fastest on one."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder that the run folder is written into.")]
Key = Annotated[str | None, typer.Option("--key", help="Name of the array in an .npz file.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that is at work in the same folder, and then go on.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output file that exists.")]
