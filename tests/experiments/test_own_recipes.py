"""Recipes from outside: how they go wrong, files and packages that have them, the figure that nobody can draw."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tnrank
from tests.experiments.tiny import Tiny
from tnrank.experiments import Outcome, Recipe, Training, find_recipe, known_recipes, load_recipes, run, sweep
from tnrank.experiments._recipe import _KNOWN, ORIGINS

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_recipe.py"
MINE = """
from dataclasses import dataclass
from typing import ClassVar
from tnrank.experiments import Outcome, Recipe, register

@register
@dataclass(frozen=True, kw_only=True)
class Mine(Recipe):
    name: ClassVar[str] = "{name}"

    def execute(self, journal):
        return Outcome({{"seed": self.seed}})
"""


@pytest.fixture(autouse=True)
def as_before(tmp_path: Path) -> Iterator[None]:
    """What tests register and import from their own files is forgotten after them."""
    known, origins, path = dict(_KNOWN), dict(ORIGINS), list(sys.path)
    yield
    for registry, before in ((_KNOWN, known), (ORIGINS, origins)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "/")
        if file == EXAMPLE or tmp_path in file.parents:
            del sys.modules[name]


@dataclass(frozen=True, kw_only=True)
class Own(Recipe):
    name: ClassVar[str] = "own"

    backend: str = "numpy"
    how: str = "returns"

    def execute(self, journal: Any) -> Any:
        if self.how == "returns":
            return Outcome({"end": "0"})
        if self.how == "something else":
            return {"end": 0}
        return self._generate()

    def _generate(self) -> Generator[Any, Any, Any]:
        x = tnrank.MatrixFactorization.random((2, 2), depth=2, seed=0)
        if self.how == "catches":
            try:
                yield Training("one", x, [[5, 5]], [1.0])
            except ValueError as error:
                return Outcome({"end": str(error)})
        if self.how == "yields 3":
            yield 3
        result = yield Training("one", x, np.argwhere(np.ones((2, 2))), np.ones(4), steps=2)
        return result if self.how == "no outcome" else Outcome({"end": str(result.steps)})


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("yields 3", "the recipe 'own' yielded 3, needed Training(names, starts, indices, values) or Fitting"),
        ("something else", "the recipe 'own' gave a dict"),
        ("no outcome", "the recipe 'own' gave a CompletionResult"),
    ],
)
def test_generators_that_yield_or_return_something_else(tmp_path: Path, how: str, said: str, swept: bool) -> None:
    _KNOWN["own"] = Own
    if swept:
        (row,) = sweep("own", overrides={"how": how}, out=tmp_path).rows
        assert row["status"] == "failed"
        assert said.split(" a ")[0] in row["failure"]
        return
    with pytest.raises(TypeError, match=re.escape(said.split(" a ")[0])):
        run(Own(how=how), tmp_path)
    # What was trained is kept, whatever became of it.
    assert [p.name for f in tmp_path.iterdir() for p in f.glob("*.safetensors")] == (
        ["one.safetensors"] if how == "no outcome" else []
    )


@pytest.mark.parametrize(("how", "found"), [("returns", "0"), ("yields", "2"), ("catches", "index 5 of entry 0")])
def test_a_recipe_may_train_nothing_and_sees_what_goes_wrong(tmp_path: Path, how: str, found: str) -> None:
    """Errors of a training are raised where it was yielded, in runs and in sweeps."""
    _KNOWN["own"] = Own
    assert str(run(Own(how=how), tmp_path).outcome.summary["end"]).startswith(found)
    done = sweep("own", overrides={"how": how}, out=tmp_path)
    (row,) = done.rows
    assert json.loads((done.folder / row["folder"] / "summary.json").read_text())["end"].startswith(found)


def test_a_recipe_without_execute(tmp_path: Path) -> None:
    class Nothing(Recipe):
        name = "nothing"

    with pytest.raises(NotImplementedError, match="'nothing' has no execute"):
        run(Nothing(backend="numpy"), tmp_path)


def test_recipes_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run, say how they go on, and are found by processes that a sweep starts."""
    file = tmp_path / "mine_of_a_file.py"
    file.write_text(MINE.format(name="of-a-file"))
    assert load_recipes(file) == ["of-a-file"]
    assert load_recipes(str(file)) == ["of-a-file"]
    kind = find_recipe("of-a-file")
    assert kind(backend="numpy").command == f"reproduce of-a-file --module {file}"
    from tnrank.experiments._sweeps._workers import processes

    with processes(1) as pool:
        done = sweep("of-a-file", seeds=2, overrides={"backend": "numpy"}, out=tmp_path, executor=pool)
    assert [row["status"] for row in done.rows] == ["complete", "complete"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = (", "cannot be imported: SyntaxError"),
        ("raise SystemExit(2)", "cannot be imported: SystemExit: 2"),
        ("x = 1", "registers no recipe: decorate its class"),
    ],
)
def test_files_without_recipes(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine_that_fails.py"
    file.write_text(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        load_recipes(file)
    (tmp_path / "json.py").write_text(MINE.format(name="x"))
    with pytest.raises(ValueError, match="a module called 'json' is imported already, rename the file"):
        load_recipes(tmp_path / "json.py")
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere\.py"):
        load_recipes("nowhere.py")
    with pytest.raises(ValueError, match="nowhere_at_all cannot be imported"):
        load_recipes("nowhere_at_all")
    text = tmp_path / "note.txt"
    text.write_text("x = 1")
    with pytest.raises(ValueError, match=r"note.txt is no Python file by its name: rename it to note.py"):
        load_recipes(text)
    with pytest.raises(
        ValueError, match=r"unknown recipe 'mine.py'; tnrank.experiments.load_recipes\('mine.py'\) makes"
    ):
        find_recipe("mine.py")


def test_recipes_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution names them in the entry-point group."""
    (tmp_path / "package_with_recipes.py").write_text(MINE.format(name="elsewhere"))
    meta = tmp_path / "package_with_recipes-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: package-with-recipes\nVersion: 1.0\n")
    points = "[tnrank.recipes]\nelsewhere = package_with_recipes\n"
    (meta / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert "elsewhere" in known_recipes()
    assert run(tnrank.experiments.make_recipe("elsewhere", seed=3), tmp_path).outcome.summary == {"seed": 3}
    (meta / "entry_points.txt").write_text(points + "gone = package_that_is_gone\nsilent = json\n")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="'gone' cannot be imported from package_that_is_gone"):
        find_recipe("gone")
    with pytest.raises(ValueError, match="json registers no recipe 'silent'"):
        find_recipe("silent")


@pytest.mark.parametrize("swept", [False, True])
def test_a_missing_matplotlib_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    """Asked to, the run goes on without a figure, and the painters are not called."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    load_recipes(EXAMPLE)
    recipe = find_recipe("depth-and-rank")(backend="numpy", size=6, share=1.0)

    def go(**options: Any) -> Path:
        if not swept:
            return run(recipe.limited(5), tmp_path, **options).folder
        done = sweep(
            "depth-and-rank", overrides={"size": 6, "share": 1.0, "backend": "numpy"}, steps=5, out=tmp_path, **options
        )
        return done.folder / done.rows[0]["folder"]

    with pytest.raises(ImportError, match=r'pip install "tnrank\[cli\]"; or go without, figure=False'):
        go()
    assert list(tmp_path.iterdir()) == []
    folder = go(figure=False)
    assert json.loads((folder / "summary.json").read_text())["status"] == "complete"
    assert not list(folder.glob("figure.*"))


@pytest.mark.parametrize("swept", [False, True])
def test_float64_works_from_python_as_from_the_command(tmp_path: Path, swept: bool) -> None:
    """JAX's flag is on while the recipe runs, and as it was after that."""
    jax = pytest.importorskip("jax")
    _KNOWN["tiny"] = Tiny
    with jax.enable_x64(False):
        if swept:
            done = sweep("tiny", overrides={"backend": "jax", "dtype": "float64"}, steps=3, out=tmp_path)
            folder = done.folder / done.rows[0]["folder"]
        else:
            folder = run(Tiny(backend="jax", dtype="float64", steps=3), tmp_path).folder
        assert not jax.config.jax_enable_x64
    assert tnrank.load(folder / "cp.safetensors").dtype == "float64"


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    load_recipes(EXAMPLE)
    done = run(find_recipe("depth-and-rank")(backend="numpy"), tmp_path)
    assert done.outcome.holds
    assert (done.folder / "figure.png").is_file()
    ranks = [tnrank.effective_rank(tnrank.load(done.folder / f"depth-{k}.safetensors")) for k in (1, 2, 3)]
    np.testing.assert_allclose(done.outcome.summary["ranks"], ranks, rtol=1e-5)
    assert len(EXAMPLE.read_text().splitlines()) <= 66


def test_the_page_shows_the_example() -> None:
    page = Path(__file__).parents[2] / "docs" / "own_recipe.md"
    assert EXAMPLE.read_text().strip() in page.read_text()
