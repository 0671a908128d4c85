"""Where data sets lie on this machine: a folder that is named, the one of ``TNRANK_DATA``, the cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tnrank._check import instance
from tnrank.data._sources import DataSet, SourceFile

VARIABLE = "TNRANK_DATA"
Told = bool | Callable[[str], None]


def cache_folder() -> Path:
    """The folder into which data sets are downloaded: ``tnrank`` in the user's folder for caches.

    That is ``XDG_CACHE_HOME`` where it is set, else ``~/.cache``, ``~/Library/Caches`` on macOS and ``LOCALAPPDATA``
    on Windows. It can be removed at any time.

    Raises:
        ValueError: if the user has no home.

    Example:
        >>> from tnrank.data import cache_folder
        >>> cache_folder().name
        'tnrank'
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # relative ones are to be ignored, says the XDG specification
        return Path(given) / "tnrank"
    local = os.environ.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    if local:
        return Path(local) / "tnrank"
    home = os.path.expanduser("~")
    if home == "~":
        raise ValueError(
            "there is no home folder for a cache of data sets: set XDG_CACHE_HOME=DIR, or pass data_dir=DIR"
        )
    return Path(home, *(("Library", "Caches") if sys.platform == "darwin" else (".cache",)), "tnrank")


def find(
    source: DataSet, split: str, data_dir: str | os.PathLike[str] | None, download: bool, progress: Told
) -> list[Path]:
    """The files of a split, all from one folder; what is missing is downloaded if that was asked for.

    Files that are there are taken as they are. In the cache, which is ours, ``download`` compares their checksums first
    and replaces damaged ones.

    Raises:
        FileNotFoundError: if a file is missing; the folders and the call that gets it are named.
        OSError: if it cannot be downloaded.
    """
    instance(download, "download", bool, "True or False")
    if not isinstance(progress, bool) and not callable(progress):
        instance(progress, "progress", bool, "True, False or a function of a line of text")
    files = source.splits[split]
    named = _named(source, data_dir)
    paths = named and _complete(named, files)
    if paths:
        return paths
    # Looked up only now: who has no home folder may still have the files.
    target = named if named and data_dir is not None else cache_folder() / source.folder
    if not download:
        paths = _complete(target, files)
        if not paths:
            folders = [folder for folder in (named, target) if folder]
            raise FileNotFoundError(_missing(source, split, list(dict.fromkeys(folders)), data_dir))
        return paths
    return [_present_or_fetched(file, source, target, data_dir is None, progress) for file in files]


def _named(source: DataSet, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The folder of the set in ``data_dir``, or else in that of the environment variable; either may be that folder
    itself, if it has its name: MNIST and Fashion-MNIST have files of the same names."""
    if data_dir is None:
        given = os.environ.get(VARIABLE)
        if not given:
            return None
        folder = Path(given)
    else:
        from tnrank._files import check_path

        check_path(data_dir, "data_dir", "the path of a folder")
        folder = Path(os.fsdecode(data_dir))
    inner = folder / source.folder
    return folder if folder.name == source.folder and not os.path.exists(inner) else inner


def _complete(folder: Path, files: tuple[SourceFile, ...]) -> list[Path] | None:
    """The paths of all files, ``None`` if one is missing."""
    paths = [path for path in (_present(folder, file) for file in files) if path]
    return paths if len(paths) == len(files) else None


def _present(folder: Path, file: SourceFile) -> Path | None:
    names = (file.name, *file.instead)
    return next((folder / name for name in names if os.path.exists(folder / name)), None)


def _present_or_fetched(file: SourceFile, source: DataSet, folder: Path, ours: bool, progress: Told) -> Path:
    # Imported here, with the modules for checksums and servers that it needs.
    from tnrank.data._download import fetch, matches

    path = _present(folder, file)
    if path and not (ours and path.name == file.name and not matches(path, file.md5)):
        return path
    return fetch(file, source.mirrors, folder, progress)


def _missing(source: DataSet, split: str, folders: list[Path], data_dir: str | os.PathLike[str] | None) -> str:
    files = source.splits[split]
    # The folder that has most of the files is the one that was meant.
    best = max(folders, key=lambda folder: sum(_present(folder, file) is not None for file in files))
    file = next(file for file in files if _present(best, file) is None)
    others = "without .gz" if file.instead == (file.name.removesuffix(".gz"),) else " or ".join(file.instead)
    given = "" if data_dir is None else f", data_dir={os.fsdecode(data_dir)!r}"
    size = sum(file.megabytes for file in files)
    text = (
        f"no file {file.name} (or {others}) in {' or '.join(map(str, folders))}: "
        f"tnrank.data.{source.call}({split!r}{given}, download=True) downloads {size:.0f} MB into {folders[-1]}; "
        f"or pass data_dir=DIR, or set {VARIABLE}=DIR, with the files in DIR/{source.folder}/"
    )
    pickled = next((folder / name for folder in folders for name in _PICKLED if os.path.exists(folder / name)), None)
    if source.folder == "cifar10" and pickled:
        text += f". {pickled} holds pickles, which could run code and are not read"
    return text


_PICKLED = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
