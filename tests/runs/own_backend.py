"""PyTorch with trainers of these tests: they stand in ``trainers/`` beside the backend."""

from typing import Any, ClassVar

from tnrank_torch._backend import TorchBackend


class OwnBackend(TorchBackend):
    """A backend of another package."""

    name: ClassVar[str] = "own"
    array_modules = ()

    def register_structure(self, cls: type[Any]) -> None:
        """PyTorch knows them already."""
