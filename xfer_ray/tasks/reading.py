"""Rows of Parquet repositories of the hub, of a mirror of it, or of a folder of one's own, as columns."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray.core import is_commit
from xfer_ray.errors import DataError, SetupError, XferRayError, demand

if TYPE_CHECKING:
    from datasets import DatasetBuilder

_ROWS = 10_000  # at a time; a file as long as XNLI's training sets takes about a second
_STAND_IN = "a folder laid out like the hub can stand in for it: --mirror DIR"
_Batch = Mapping[str, Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One split of one configuration of a repository.

    `files` is a pattern of paths in the repository, where it declares no configurations; `branch` is the one to read
    where that is not the main one and `revision` names no commit of it.
    """

    repository: str
    configuration: str
    split: str
    files: str = ""
    branch: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}, configuration {self.configuration!r}, split {self.split!r}"


def demand_revision(repository: str, revision: str | None) -> None:
    """Refuse a declared revision that is not a commit."""
    demand(
        revision is None or is_commit(revision),
        f"revision {revision!r} of {repository} is not a commit of 40 hex digits; branches move, so give one or None",
    )


def resolve(repository: str, revision: str | None = None, branch: str = "") -> str:
    """The commit to read, 40 hex digits: `revision`, else the hub's newest; `mirror` under a mirror, `local` for a folder."""
    import huggingface_hub

    mirror = os.environ.get("XFER_RAY_MIRROR")
    if mirror:
        _folder(repository, Path(mirror))
        return "mirror"
    if Path(repository).is_dir():
        return "local"
    if revision is not None:
        return revision
    try:
        if branch:
            return str(huggingface_hub.HfApi().dataset_info(repository, revision=branch).sha)
        # the folder of a downloaded file is named after the commit, also when the hub is out of reach
        return Path(huggingface_hub.hf_hub_download(repository, "README.md", repo_type="dataset")).parent.name
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SetupError(f"data set {repository}: {' '.join(str(error).split())}; {_STAND_IN}") from error


def columns(place: Place, names: Sequence[str]) -> dict[str, list[object]]:
    """The named columns of a place, in the order of its rows; DataError or SetupError where they are not to be had."""
    mirror = os.environ.get("XFER_RAY_MIRROR")
    return _named(_batches(place, Path(mirror) if mirror else None), names, str(place))


def columns_of_file(file: Path, names: Sequence[str]) -> dict[str, list[object]]:
    """The named columns of one Parquet file."""
    from datasets.exceptions import DatasetsError

    try:
        builder = _builder("parquet", data_files={"all": str(file)}, batch_size=_ROWS)
        return _named(list(builder.as_streaming_dataset("all").iter(batch_size=_ROWS)), names, str(file))
    except XferRayError:
        raise
    except (ValueError, OSError, DatasetsError) as error:
        raise DataError(f"{file}: {' '.join(str(error).split())}") from error


def in_mirror(repository: str) -> str:
    """Why a repository cannot be read from the mirror that is in use; "" where it can, or where there is no mirror."""
    mirror = os.environ.get("XFER_RAY_MIRROR")
    return "" if not mirror or (Path(mirror) / repository).is_dir() else f"the mirror {mirror} has no folder {repository}"


def _named(batches: Sequence[_Batch], names: Sequence[str], where: str) -> dict[str, list[object]]:
    for batch in batches:
        absent = [name for name in names if name not in batch]
        if absent:
            raise DataError(f"{where}: no column {', '.join(absent)}; found: {', '.join(batch)}")
    return {name: [value for batch in batches for value in batch[name]] for name in names}


def _batches(place: Place, mirror: Path | None) -> list[_Batch]:
    from datasets.exceptions import DatasetsError

    try:
        return _fetched(place) if mirror is None else _in_place(place, mirror=mirror)
    except XferRayError:
        raise
    except (ValueError, OSError, DatasetsError) as error:
        sentence = f"{place}: {' '.join(str(error).split())}"
        if mirror is not None or not isinstance(error, OSError):
            raise DataError(sentence) from error
        raise SetupError(f"{sentence}; {_STAND_IN}") from error


def _in_place(place: Place, *, mirror: Path) -> list[_Batch]:
    """Read from a mirror by streaming: nothing is copied to a cache, so a file that changes is seen as it is."""
    folder = _folder(place.repository, mirror)
    if place.files and not any(folder.glob(place.files)):
        raise DataError(f"{place}: no file {place.files} in {folder}")
    # without batch_size, a file of no rows is an error of pyarrow's
    builder = _builder(str(folder), **_which(place), batch_size=_ROWS)
    _demand_split(place, found=builder.config.data_files)
    return list(builder.as_streaming_dataset(place.split).iter(batch_size=_ROWS))


def _folder(repository: str, mirror: Path) -> Path:
    if (mirror / repository).is_dir():
        return mirror / repository
    held = sorted("/".join(path.parts[-2:]) for path in mirror.glob("*/*") if path.is_dir())
    raise SetupError(f"the mirror {mirror} has no folder {repository}; possible: {', '.join(held) or 'none'}")


def _fetched(place: Place) -> list[_Batch]:
    """Read from the hub, or from the cache that `datasets` keeps of it (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""
    builder = _builder(place.repository, **_which(place), revision=place.revision or place.branch or None)
    _demand_split(place, found=builder.config.data_files or builder.info.splits or ())
    builder.download_and_prepare()
    return list(builder.as_dataset(place.split).iter(batch_size=_ROWS))


def _which(place: Place) -> dict[str, str | dict[str, str]]:
    return {"data_files": {place.split: place.files}} if place.files else {"name": place.configuration}


def _builder(path: str, **options: int | str | dict[str, str] | None) -> DatasetBuilder:
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what goes wrong is said once, in one sentence, by the error
    return datasets.load_dataset_builder(path, **options)


def _demand_split(place: Place, *, found: Iterable[str]) -> None:
    names = list(found)
    if place.split not in names:
        raise DataError(
            f"{place.repository}, configuration {place.configuration!r}: no split {place.split!r}; found: {', '.join(names) or 'none'}"
        )
