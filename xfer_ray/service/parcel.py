"""What travels with a job: the folder of its sweep file as one archive, without what was made there and what is hidden."""

from __future__ import annotations

import fnmatch
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from xfer_ray.errors import SetupError

LIMIT = 100 * 2**20  # bytes that a dashboard of Ray 2.60 takes at once
MOST_FILES = 20_000
LEFT_OUT = (".*", "results", "venv", "node_modules", "wandb", "__pycache__", "*.pyc", "*.egg-info", "*.pem")
RESULTS_OR_ENVIRONMENT = ("sweep.json", "pyvenv.cfg", "conda-meta")  # a folder that holds one of these was made and can be made again


def pack(folder: Path, archive: Path, exclude: Sequence[str] = ()) -> None:
    """Write an archive of a folder; the same files give the same bytes, so that they are sent once.

    Left out are hidden files, results, environments and caches, what `exclude` names, and what a .rayignore names.
    """
    files = _files(folder, (*LEFT_OUT, *exclude, *_ignored(folder)))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (folder.joinpath(name).stat().st_mode & 0o777) << 16
            with packed.open(entry, "w") as into, folder.joinpath(name).open("rb") as source:
                while block := source.read(2**20):
                    into.write(block)
            if archive.stat().st_size > LIMIT:
                raise _too_large(folder, files)


def _files(folder: Path, patterns: Sequence[str]) -> dict[str, int]:
    """Bytes of the files that travel, by their path in the folder."""
    files = {}
    for path in _walk(folder, folder, patterns):
        files[path.relative_to(folder).as_posix()] = path.stat().st_size
        if len(files) > MOST_FILES:
            raise SetupError(
                f"the folder {folder}, which travels with the job, holds more than {MOST_FILES} files; put the sweep file into a folder of "
                "its own, or leave some out with --exclude"
            )
    if sum(files.values()) > 20 * LIMIT:
        raise _too_large(folder, files)
    return files


def _walk(folder: Path, root: Path, patterns: Sequence[str], above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    here = above | {folder.resolve()}  # a link to one of these leads in a circle
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if any(fnmatch.fnmatch(path.name, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        if path.is_dir():
            if path.resolve() not in here and not any((path / mark).exists() for mark in RESULTS_OR_ENVIRONMENT):
                yield from _walk(path, root, patterns, here)
        elif path.is_file():
            yield path


def _ignored(folder: Path) -> list[str]:
    """The plain patterns of a .rayignore, as Ray's own tools read it."""
    file = folder / ".rayignore"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.lstrip().startswith(("#", "!"))]


def _too_large(folder: Path, files: dict[str, int]) -> SetupError:
    sizes: Counter[str] = Counter()
    for name, size in files.items():
        sizes[name.split("/")[0]] += size
    largest = ", ".join(f"{name} ({size / 2**20:.0f} MiB)" for name, size in sizes.most_common(3))
    return SetupError(
        f"the folder {folder} travels with the job, and packed it is larger than the {LIMIT // 2**20} MiB that Ray takes; the biggest: "
        f"{largest}; leave them out with --exclude NAME, and put data where every node finds it"
    )
