"""The Python in README and docs/ does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in (*ROOT.glob("README.md"), *sorted((ROOT / "docs").rglob("*.md")))
    if "```python\n" in page.read_text()
]


LONG = (
    "analogy",
    "choosing_a_tree",
    "completion",
    "dynamics",
    "from_function",
    "hierarchical_rank",
    "linear-regression",
    "matrix-completion",
    "network_ranks",
    "norms-to-infinity",
    "rank_of_architecture",
    "rank_radar",
    "sweeps",
    "tensor_rank",
    "tree-bias",
)
"""Pages whose examples train or search for seconds."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=pytest.mark.slow if page.stem in LONG else ()) for page in PAGES],
)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    namespace = {"__name__": "__main__"}
    for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        above = "\n" * (text[: block.start()].count("\n") + 1)  # tracebacks then give the line of the page
        exec(compile(above + block.group(1), page, "exec", dont_inherit=True), namespace)


def test_every_recipe_has_a_page_and_a_line() -> None:
    from tnrank.experiments import known_recipes

    docs = ROOT / "docs"
    lines = dict(re.findall(r"^\| \[`([\w-]+)`\]\(([\w/.-]+)\)", (docs / "experiments.md").read_text(), re.MULTILINE))
    assert set(lines) == {name for name, kind in known_recipes().items() if kind.__module__.startswith("tnrank.")}
    for name, page in lines.items():
        assert f"tnrank reproduce {name}" in (docs / page).read_text()
