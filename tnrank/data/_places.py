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
    folders = _folders(source, data_dir)
    target = folders[-1]
    for folder in folders:
        found = [_present(folder, file) for file in files]
        if all(found) and not (download and folder == target and data_dir is None):
            return [path for path in found if path]
    if not download:
        raise FileNotFoundError(_missing(source, split, folders, data_dir))
    # Imported here, with the modules for checksums and servers that it needs.
    from tnrank.data._download import fetch, matches

    paths = []
    for file in files:
        path = _present(target, file)
        if path is None or (data_dir is None and path.name == file.name and not matches(path, file.md5)):
            path = fetch(file, source.mirrors, target, progress)
        paths.append(path)
    return paths


def _folders(source: DataSet, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folders to look into; the last is where a download goes."""
    if data_dir is not None:
        from tnrank._files import check_path

        check_path(data_dir, "data_dir", "the path of a folder")
        return [Path(os.fsdecode(data_dir)) / source.folder]
    given = os.environ.get(VARIABLE)
    return [Path(folder) / source.folder for folder in (given, cache_folder()) if folder]


def _present(folder: Path, file: SourceFile) -> Path | None:
    names = (file.name, *file.instead)
    return next((folder / name for name in names if os.path.exists(folder / name)), None)


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
