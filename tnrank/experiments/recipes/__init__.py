"""The recipes of the library, one module each; importing them registers them."""

# TEMPORARY while recipes move here one by one
from importlib import import_module
from pathlib import Path

__all__ = []
for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    import_module(f"tnrank.experiments.recipes.{_path.stem}")
