"""CIFAR-10 from any source into one verified cache with one image order: what the rest of the suite calls."""

from pathlib import Path

from repro.data import official, sources
from repro.data.cache import cache_path, load, require_room, size, store, writing
from repro.data.download import Broken, Progress, download, silent
from repro.data.identity import Dataset, canonical, digests, fingerprint
from repro.data.sources import Source
from repro.errors import UserError

__all__ = ["Dataset", "cache_path", "canonical", "digests", "fetch", "fingerprint", "import_from", "load"]

ARCHIVE_BYTES = 170_498_071
OFFLINE = "on a machine without a connection use `repro data import PATH` with a copy from elsewhere"


def import_from(path: Path, home: Path) -> Dataset:
    """Verify CIFAR-10 from an archive, a folder or an .npz, and make it the cache."""
    require_room(cache_path(home).parent, size())
    return store(sources.read(path), home)


def fetch(home: Path, progress: Progress = silent, url: str | None = None, timeout: float = 30.0) -> Dataset:
    """Download the official archive and make it the cache; where both images and order are here, just check them.

    A download that breaks off is kept and gone on with by the next call. `timeout` is in seconds without a byte.
    """
    if (here := _complete(home)) is not None:
        return here
    known = official.facts()
    part = cache_path(home).with_name(f"{known.archive}.part")
    held = part.stat().st_size if part.exists() else 0
    require_room(part.parent, max(ARCHIVE_BYTES - held, 0) + size())
    try:
        with writing(part):
            download(url or known.url, part, progress, timeout)
    except Broken as error:
        kept = f"; the same command goes on at {part.stat().st_size / 1e6:.1f} MB" if part.exists() else ""
        raise UserError(f"CIFAR-10 could not be downloaded ({error}){kept}; {OFFLINE}") from None
    try:
        dataset = store(_unpack(part), home)
    except FileNotFoundError:  # another process has fetched it meanwhile, and cleared away
        if (here := _complete(home)) is None:
            raise
        return here
    part.unlink(missing_ok=True)
    return dataset


def _complete(home: Path) -> Dataset | None:
    """Return the cache if it is whole and its official order known; a damaged one is there to be replaced."""
    try:
        dataset = load(home)
    except UserError:
        return None
    return dataset if dataset.order == "official" else None


def _unpack(part: Path) -> Source:
    """Read a finished download; a damaged one is removed, because more bytes would not mend it."""
    with open(part, "rb") as file:
        try:
            return Source(official.read_archive(file, "the download"), True, "the download")
        except UserError as error:
            part.unlink(missing_ok=True)
            raise UserError(f"{error}, or {OFFLINE}") from None
