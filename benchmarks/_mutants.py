"""Which changes of a line are tried, and where a line stands in another checkout."""

from __future__ import annotations

import ast
import copy
import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PAIRS = [("Lt", "LtE"), ("LtE", "Lt"), ("Gt", "GtE"), ("GtE", "Gt"), ("Eq", "NotEq"), ("NotEq", "Eq"), ("Is", "IsNot")]
PAIRS += [("IsNot", "Is"), ("In", "NotIn"), ("NotIn", "In"), ("Add", "Sub"), ("Sub", "Add"), ("Mult", "Div")]
PAIRS += [("Div", "Mult"), ("FloorDiv", "Mult"), ("Mod", "Mult"), ("Pow", "Mult"), ("And", "Or"), ("Or", "And")]
SWAPS = dict(PAIRS)
Mutant = dict[str, Any]


def changes(node: ast.AST) -> Iterator[tuple[str, Any, Any]]:
    """What may be done to a node: the kind, the node replaced, and by what."""
    op = node.ops[0] if isinstance(node, ast.Compare) else getattr(node, "op", None)
    if isinstance(node, (ast.Compare, ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(op).__name__ in SWAPS:
        other, name = copy.deepcopy(node), SWAPS[type(op).__name__]
        if isinstance(other, ast.Compare):
            other.ops[0] = getattr(ast, name)()
        else:
            other.op = getattr(ast, name)()
        yield f"{type(op).__name__} to {name}", node, other
    elif isinstance(node, ast.UnaryOp) and isinstance(op, ast.Not):
        yield "without not", node, node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        truth = isinstance(node.value, bool)
        yield "other truth" if truth else "one more", node, ast.Constant(not node.value if truth else node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "negated if", node.test, ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "dropped call", node.value, ast.Constant(None)
    elif isinstance(node, ast.Return) and node.value is not None:
        nothing = isinstance(node.value, ast.Constant) and node.value.value is None
        yield "other return", node.value, ast.Constant(0 if nothing else None)


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file: in bodies of functions, but not in what they raise, f-strings or annotations."""
    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]

    def visit(node: ast.AST, scope: str, inside: bool) -> Iterator[Mutant]:
        for kind, old, new in changes(node) if inside else ():
            line = lines[old.lineno - 1]
            start, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
            before, after = source[start:end].decode(), ast.unparse(new)
            mutant = {"file": file, "line": old.lineno, "function": scope, "text": line.decode().strip()}
            mutant |= {"column": old.col_offset - (len(line) - len(line.lstrip())), "kind": kind}
            value = old.value if isinstance(old, ast.AugAssign) else old
            mutant |= {"before": before, "after": after, "_bytes": (start, end)}
            yield mutant | {"_probe": starts[value.lineno - 1] + value.col_offset}
        children: Iterable[ast.AST | None] = ast.iter_child_nodes(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            scope, inside, children = f"{scope}.{node.name}", inside or not isinstance(node, ast.ClassDef), node.body
        elif isinstance(node, ast.AnnAssign):
            children = [node.value]
        elif isinstance(node, ast.Lambda):
            children = [node.body]
        elif isinstance(node, ast.match_case):
            children = [node.guard, *node.body]
        elif isinstance(node, (ast.Raise, ast.JoinedStr)):
            children = []
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            children = node.orelse
        for child in filter(None, children):
            yield from visit(child, scope, inside)

    return visit(ast.parse(source), "", False)


def choose(tree: Path, count: int, seed: int, excluded: list[str]) -> list[Mutant]:
    """One mutant each of lines that are drawn from all that have any."""
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for path in sorted([*tree.glob("tnrank/**/*.py"), *tree.glob("backends/**/*.py")]):
        file = path.relative_to(tree).as_posix()
        if not any(file.startswith(f"{name}/") or file == name for name in excluded):
            for mutant in mutants_of(file, path.read_bytes()):
                lines.setdefault((file, mutant["line"]), []).append(mutant)
    draw = random.Random(seed)
    chosen = [lines[place] for place in sorted(draw.sample(sorted(lines), count))]
    # None in place of what is returned is noticed by almost every test: only where the line has nothing else.
    return [draw.choice([m for m in found if m["kind"] != "other return"] or found) for found in chosen]


def find_again(tree: Path, old: Mutant) -> Mutant:
    """The mutant where it stands now; lines are known by what they say, not by their number."""
    same, path = ("text", "column", "kind", "before"), tree / old["file"]
    now = mutants_of(old["file"], path.read_bytes()) if path.is_file() else ()
    found = [mutant for mutant in now if all(mutant[key] == old[key] for key in same)]
    near = sorted(found, key=lambda new: (new["function"] != old["function"], abs(new["line"] - old["line"])))
    kept = {key: old[key] for key in ("file", "line", "function", *same, "after")}
    return near[0] if near else kept | {"status": "gone"}
