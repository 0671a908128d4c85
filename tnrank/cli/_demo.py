"""``tnrank demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tnrank.cli import _console, _options

_MISSING = 0.4
_TREE = "(0,(1,2))"


def demo(backend: _options.Backend = None, out: _options.Out = Path("runs"), threads: _options.Threads = 1) -> None:
    """The main job in a minute: the quick dynamics figure, then ranks and completion of real digit images."""
    _console.limit_threads(threads)
    from tnrank.cli._complete import complete_file, show_completion
    from tnrank.cli._ranks import draw_spectra, rank_file
    from tnrank.cli._reproduce import reproduce_run, show_run
    from tnrank.data import digits

    console = _console.out()
    # Before the first minute is spent: this says what to install where scikit-learn is missing.
    images, _ = digits()
    console.rule("1 of 3: singular values and component norms appear one after the other", align="left")
    show_run(reproduce_run("dynamics", "quick", backend, None, "float32", None, {}, out))

    console.print()
    console.rule("2 of 3: ranks of 1,797 handwritten digits, a tensor of 1797 x 8 x 8", align="left")
    whole, holed, hidden = _files(images, out)
    command = f"tnrank ranks {whole} --tree '{_TREE}' --rtol 1e-2"
    _console.say((f"$ {command}", "dim"))
    report = rank_file(whole, _TREE, 1e-2)
    print(report)
    picture = out / "digits-spectra.png"
    draw_spectra(report, picture)
    _console.say("singular values drawn in ", (picture, "bold"))

    console.print()
    console.rule("3 of 3: the same images with 40 % of their pixels missing", align="left")
    _console.say((f"$ tnrank complete {holed} --model htf --tree '{_TREE}' --steps 6000 --runs {out}", "dim"))
    fields = {"model": "htf", "steps": 6000, "dtype": "float32", "key": None}
    done = complete_file(holed, backend, _TREE, out, None, fields)
    show_completion(done, None)
    recovered, mean = _recovery(images, hidden, done.folder / "completed.npy")
    share = 1 - (recovered / mean) ** 2
    console.print(
        _console.styled(
            "The pixels that we hid: root mean squared error ",
            (f"{recovered:.3f}", "bold"),
            f", mean predictor {mean:.3f} ({share:.0%} of the variance recovered)",
        )
    )
    _console.say("\nAll files lie in ", (out.resolve(), "bold"))


def _files(images: Any, out: Path) -> tuple[Path, Path, Any]:
    """The digits as they are, and with pixels hidden, as files."""
    import io

    import numpy as np

    from tnrank._files import write_atomically

    hidden = np.random.default_rng(0).random(images.shape) < _MISSING
    paths = out / "digits.npy", out / "digits-with-holes.npy"
    for path, array in zip(paths, (images, np.where(hidden, np.nan, images)), strict=True):
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomically(path, buffer.getvalue())
    return *paths, hidden


def _recovery(images: Any, hidden: Any, completed: Path) -> tuple[float, float]:
    """Root mean squared errors over the hidden pixels: ours, and that of the mean of the others."""
    import numpy as np

    truth, found = images[hidden], np.load(completed)[hidden]
    mean = images[~hidden].mean()
    return float(np.sqrt(np.mean((found - truth) ** 2))), float(np.sqrt(np.mean((truth - mean) ** 2)))
