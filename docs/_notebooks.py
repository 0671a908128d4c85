"""Run the notebooks of examples/ and keep what they print and draw: ``python docs/_notebooks.py``."""

from __future__ import annotations

import ast
import base64
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(cells: list[dict[str, Any]]) -> None:
    """Execute the code cells in one namespace, and put their outputs into them."""
    space: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        count += 1
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(tree, "cell", "exec"), space)
            value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), space)
        outputs = []
        if printed.getvalue():
            outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
        if value is not None:
            outputs.append(
                {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": _shown(value)}
            )
        cell["outputs"], cell["execution_count"] = outputs, count


def _shown(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(True)}
    if hasattr(value, "savefig"):
        picture = io.BytesIO()
        value.savefig(picture, format="png", dpi=80)
        data["image/png"] = base64.b64encode(picture.getvalue()).decode()
        data["text/plain"] = ["a figure"]
    return data


def main() -> None:
    for file in sorted(EXAMPLES.glob("*.ipynb")):
        content = json.loads(file.read_text())
        run(content["cells"])
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
