"""``tnrank complete``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank._reading import reading
from tnrank.cli import _console, _options
from tnrank.cli._ranks import read_tree

if TYPE_CHECKING:
    from tnrank.experiments import Run
    from tnrank.experiments.recipes.completion import Completion


def complete(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help=".npy, .npz, .csv (matrix) or image; not needed with --resume.", show_default=False),
    ] = None,
    missing: Annotated[
        str,
        typer.Option(metavar="nan|MASK", help="nan: NaN entries are missing. Or a file of 0 and 1: 1 is missing."),
    ] = "nan",
    model: Annotated[str, typer.Option(help="mf (matrices), cp or htf; auto: mf for matrices, else cp.")] = "auto",
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank",
            "--width",
            help="Hidden size of mf, components of cp, local components of htf; else chosen.",
        ),
    ] = None,
    depth: Annotated[int, typer.Option(help="Layers of mf.")] = 3,
    tree: Annotated[
        str | None,
        typer.Option(help="Of htf: balanced, linear, star, or nested modes such as '(0,(1,2))'.", show_default=False),
    ] = None,
    steps: Annotated[int, typer.Option(help="The most steps.")] = 10_000,
    std: Annotated[
        float | None,
        typer.Option(help="Of the initial weights; else such that the initial end tensor is small."),
    ] = None,
    backend: _options.Backend = None,
    dtype: _options.Dtype = "float32",
    seed: Annotated[int, typer.Option(help="Of the initial weights and of what is held out.")] = 0,
    hold_out: Annotated[
        float,
        typer.Option(help="Share of observed entries held out: half choose when to stop, half measure the error."),
    ] = 0.1,
    center: Annotated[bool, typer.Option("--center", help="Subtract the mean of the observed entries first.")] = False,
    key: _options.Key = None,
    delimiter: _options.Delimiter = None,
    decimal: _options.Decimal = ".",
    thousands: _options.Thousands = None,
    header: _options.Header = None,
    index_column: _options.IndexColumn = None,
    out: Annotated[Path | None, typer.Option(help="Also write the completed tensor to this .npy file.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder that the run folder is written into.")] = Path("runs"),
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of a run that did not end: go on there, with its settings."),
    ] = None,
    overwrite: _options.Overwrite = False,
    threads: _options.Threads = 1,
    wait: _options.Wait = False,
) -> None:
    """Fill in the missing entries of your own tensor by a factorization trained from small weights.

    Observed entries stay as they are. The error is measured on entries held out, beside that of the mean
    predictor, which puts the mean of the observed entries everywhere.
    """
    _console.limit_threads(threads)
    _options.whole(rank, "--rank", 1, 10**6, "every factor has so many columns; leave it out to have it chosen")
    _options.whole(seed, "--seed", 0, 2**63 - 1, "generators are seeded by 64 bits")
    if std is not None and not 0 < std < float("inf"):
        raise ValueError(f"--std is a finite number above 0, got {std}; leave it out to have it chosen")
    csv = _options.csv_fields(delimiter, decimal, thousands, header, index_column)
    fields = {
        "rank": rank or 0,
        "std": std or 0.0,
        "depth": depth,
        "steps": steps,
        "seed": seed,
        "hold_out": hold_out,
        "center": center,
        "model": model,
        "missing": missing,
        "key": key,
        "dtype": dtype,
        "csv": None if csv is None else tuple(csv.items()),
    }
    if out is not None:
        _console.check_new_file(out, (".npy",), overwrite)
    if resume is not None:
        show_completion(_resume(resume, file, backend, tree, out, _typed(context, fields), wait), out)
        return
    if file is None:
        raise ValueError("a FILE to complete is needed, or --resume FOLDER of a run that did not end")
    show_completion(complete_file(file, backend, tree, runs, out, fields), out)


def complete_file(
    file: Path, backend: str | None, tree: str | None, runs: Path, out: Path | None, fields: dict[str, Any]
) -> Run:
    """Run the completion under a progress line, and write ``out``."""
    from tnrank.experiments.recipes.completion import Completion

    # Refused before a backend is imported.
    Completion(source=str(file), **fields)
    ready = _ready(backend, fields["dtype"])
    nested = None if tree is None else _tree(file, fields["key"], tree, fields.get("csv"))
    return _carry_out(Completion(source=str(file), backend=ready, tree=nested, **fields), runs, out)


def _ready(backend: str | None, dtype: str) -> str:
    with _console.progress_line("importing what trains"):
        return _console.ready_backend(backend, dtype)


def _tree(file: Path, key: str | None, tree: str, csv: Any) -> Any:
    from tnrank.data import CsvFormat, read_array

    return read_tree(tree, read_array(file, key, csv=None if csv is None else CsvFormat(**dict(csv))).ndim).nested


def _carry_out(recipe: Completion, runs: Path, out: Path | None, resume: Path | None = None, wait: bool = False) -> Run:
    from tnrank._files import write_atomically
    from tnrank.experiments import run

    with _console.progress_line(f"completing {recipe.source} within {recipe.steps:,} steps") as progress:
        done = run(recipe, runs, progress=progress, resume=resume, wait=_console.waiting(wait, progress))
    if out is not None:
        write_atomically(out, (done.folder / "completed.npy").read_bytes())
    return done


def _typed(context: typer.Context, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields whose options were given."""
    sources = {field: context.get_parameter_source(field) for field in fields}
    given = {
        field: value
        for field, value in fields.items()
        if (source := sources[field]) is not None and source.name == "COMMANDLINE"
    }
    return given if fields["csv"] is None else {**given, "csv": fields["csv"]}


def _resume(
    folder: Path,
    file: Path | None,
    backend: str | None,
    tree: str | None,
    out: Path | None,
    typed: dict[str, Any],
    wait: bool,
) -> Run:
    """Go on with a run; what was typed besides has to be as it was, which the run checks."""
    from tnrank.experiments import read_config
    from tnrank.experiments._recipe import read_field
    from tnrank.experiments.recipes.completion import Completion
    from tnrank.runs import partial_of

    config = read_config(folder)
    if config.get("recipe") != Completion.name:
        name = config.get("recipe")
        raise ValueError(f"the run in {folder} is of the recipe {name!r}: tnrank reproduce {name} --resume {folder}")
    with reading(partial_of(folder) / "config.json", "cannot be read"):
        saved = config["fields"]
        own = {key: read_field(Completion, key, value) for key, value in saved.items() if key != "preset"}
        Completion(**own)
    own |= typed
    own |= {} if file is None else {"source": str(file)}
    ready = _ready(backend or own["backend"], own["dtype"])
    if tree is not None:
        own["tree"] = _tree(Path(own["source"]), own["key"], tree, own.get("csv"))
    return _carry_out(Completion(**{**own, "backend": ready}), folder.parent, out, folder, wait)


def show_completion(done: Run, out: Path | None) -> None:
    """The error beside the mean predictor's, and where the files lie."""
    console = _console.out()
    facts = done.outcome.summary
    console.print()
    for table in done.outcome.tables:
        _console.show_table(table, console)
    shape = " x ".join(map(str, facts["shape"]))
    console.print(
        f"{facts['model']} factorization of {shape}, {facts['parameters']:,} parameters, "
        f"{facts['steps']:,} steps ({facts['stopped']}), {done.seconds:.0f} s"
    )
    if "held_out_error" in facts and facts["held_out_error"] >= facts["mean_predictor_error"]:
        console.print(
            _console.styled(
                ("not better than the mean:", "yellow"),
                " the tensor may not be of low rank, or too few entries are observed; try another --model, a smaller "
                "--rank or --center",
            )
        )
    _console.say("completed tensor: ", (out or done.folder / "completed.npy", "bold"))
    if out is not None:
        _console.say(f"run folder: {done.folder}")
    _console.say(f"factorization: {done.folder / 'factorization.safetensors'}")
