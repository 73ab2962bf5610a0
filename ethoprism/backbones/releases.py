"""Where released weights are had: a path the user gives, what is kept from before, or the hub.

A download is resumed where it was cut, also by another process: `huggingface_hub.hf_hub_download`
throws a partial file away when its process ends (since 2.0), which on a slow line means that
1.4 GB never arrive. The look-up of the file, its revision and its checksum, and the HTTP session
with its proxies and tokens are the hub library's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from ethoprism.backbones.weights import read_made_by
from ethoprism.errors import StorageError, WeightsError
from ethoprism.progress import Progress


@dataclass(frozen=True)
class Release:
    """A published checkpoint: its Hugging Face repository, file, revision and checksum."""

    repo: str
    file: str
    revision: str = "main"
    """A commit, or a branch; what a branch stood for at the download goes into the card's note."""
    sha256: str | None = None
    """Of the file. Where it is not known, the hub's own checksum guards the transfer alone."""
    url: str = ""
    """Where the file is, if that is not the hub; ``repo`` then only names its folder here."""


RELEASES = {
    "videoprism-base": Release("google/videoprism-base-f16r288", "flax_base_f16r288_repeated.npz"),
    "videoprism-large": Release("google/videoprism-large-f8r288", "flax_large_f8r288_repeated.npz"),
    "videoprism-lvt-base": Release(
        "google/videoprism-lvt-base-f16r288", "flax_lvt_base_f16r288_repeated.npz"
    ),
    "videoprism-lvt-large": Release(
        "google/videoprism-lvt-large-f8r288", "flax_lvt_large_f8r288_repeated.npz"
    ),
}

TOKENIZER = "c4_en"
TOKENIZERS = {
    TOKENIZER: Release(
        "t5-data/vocabs/cc_en.32000",
        "sentencepiece.model",
        url="https://storage.googleapis.com/t5-data/vocabs/cc_en.32000/sentencepiece.model",
    ),
}
"""The SentencePiece model of the released video–text models; it is not in their repositories."""

ATTEMPTS = 5
RETRY_SECONDS = 1.0
_CHUNK = 1 << 16  # what a cut costs: the HTTP client drops a chunk that is not full


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint on this computer, and where it came from in words for the card."""

    path: Path
    note: str


def find_weights(
    name: str, weights: str | None = None, *, cache: Path | None = None
) -> WeightsFile:
    """The checkpoint of a backbone on this computer, downloaded if need be.

    Once downloaded, a checkpoint is used without asking the hub again, so a project's weights
    don't change under it. A file in the Hugging Face cache is used where it stands.

    Parameters
    ----------
    name
        A backbone, such as ``videoprism-base``.
    weights
        Path of a checkpoint to use instead of the release.
    cache
        Folder to keep downloads in; by default the user's cache folder.

    Raises
    ------
    WeightsError
        There is no such file, it can't be downloaded, or it is not the one that was released.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"There is no checkpoint at {path}", remedy="Check the path given as --weights"
            )
        note, made_by = f"weights from {path.name}, given by the user", read_made_by(path)
        return WeightsFile(path, f"{note}; {made_by}" if made_by else note)
    release = _release(name)
    folder = _folder(release, cache)
    found = _kept(release, folder) or _in_hub_cache(release)
    if found is None:
        for _ in download(name, cache=cache):
            pass
        found = _kept(release, folder)
    if found is None:
        raise WeightsError(f"{_what(name)} vanished from {folder} after the download")
    return found


def find_tokenizer(
    name: str = TOKENIZER, *, beside: Path | None = None, cache: Path | None = None
) -> Path:
    """The SentencePiece model of texts on this computer, downloaded if need be.

    Parameters
    ----------
    name
        Of `TOKENIZERS`.
    beside
        A checkpoint. A file ``sentencepiece.model``, or one of the checkpoint's name that ends in
        ``.model``, in its folder comes first.
    cache
        As for `find_weights`.

    Raises
    ------
    WeightsError
        It can't be downloaded.
    """
    file = _release(name).file
    if beside is not None:
        for path in (beside.with_suffix(".model"), beside.with_name(file)):
            if path.is_file():
                return path
    return find_weights(name, cache=cache).path


def is_here(name: str, *, cache: Path | None = None) -> bool:
    """Whether a release is on this computer, so that `find_weights` downloads nothing."""
    release = _release(name)
    return bool(_kept(release, _folder(release, cache)) or _in_hub_cache(release))


def download(name: str, *, cache: Path | None = None) -> Iterator[Progress]:
    """Downloads a release into the cache, in bytes; going on where an earlier download was cut.

    Nothing is yielded when the release is there already.

    Raises
    ------
    WeightsError
        The hub can't be reached, or the file has another checksum than it should.
    StorageError
        The disk is too small.
    """
    # Imported here because the hub library loads an HTTP client, which reading a file needs not.
    from huggingface_hub.utils import WeakFileLock

    release = _release(name)
    folder = _folder(release, cache)
    if _kept(release, folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder / f"{release.file}.lock"):
        # Another process may have finished while this one waited.
        if not _kept(release, folder):
            yield from _download(name, release, folder)


def _download(name: str, release: Release, folder: Path) -> Iterator[Progress]:
    remote = _look_up(name, release)
    part = folder / f"{release.file}.{remote.tag}.part"
    if remote.size is not None:
        lacking = remote.size - _size(part)
        if lacking > shutil.disk_usage(folder).free:
            raise StorageError(
                f"There is no room in {folder} for the weights of {name}",
                expected=f"{lacking / 1e9:.1f} GB",
            )
    yield from _fetch(name, release, remote, part)
    yield Progress(_size(part), _size(part), "checking")
    sha256 = _sha256(part)
    wanted = release.sha256 or remote.sha256
    if wanted is not None and sha256 != wanted:
        part.unlink()
        raise WeightsError(
            f"The weights of {name} arrived damaged, or are not those that were released",
            expected=f"SHA-256 {wanted}",
            found=sha256,
            remedy="Try again; the damaged file was deleted",
        )
    record = {
        "repo": release.repo,
        "file": release.file,
        "revision": release.revision,
        "commit": remote.commit,
        "size": _size(part),
        "sha256": sha256,
    }
    # The record goes first: a file without one would be downloaded again, a record without its
    # file is only not used.
    temporary = folder / f"{release.file}.json.partial"
    temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")
    temporary.replace(folder / f"{release.file}.json")
    part.replace(folder / release.file)


@dataclass(frozen=True)
class _Remote:
    url: str
    commit: str
    size: int | None
    tag: str
    """The hub's mark of the content, as part of a file name."""
    sha256: str | None


def _look_up(name: str, release: Release) -> _Remote:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if release.url:
        return _look_up_elsewhere(name, release)
    try:
        url = hf_hub_url(release.repo, release.file, revision=release.revision)
        metadata = get_hf_file_metadata(url)
    # The hub library's transport is httpx or httpx2, whose errors share no base but this.
    except Exception as error:
        raise _unreachable(name, release, error) from error
    if metadata.commit_hash is None or metadata.etag is None:
        raise _unreachable(name, release, "the server does not answer like the hub")
    # Large files on the hub carry their SHA-256 as the tag.
    sha256 = metadata.etag if re.fullmatch("[0-9a-f]{64}", metadata.etag) else None
    if release.sha256 and sha256 and sha256 != release.sha256:
        raise WeightsError(
            f"The hub does not have the weights of {name} that this version was made for",
            expected=f"SHA-256 {release.sha256}",
            found=sha256,
            remedy="Update EthoPrism, or pass a checkpoint with --weights PATH",
        )
    tag = hashlib.sha256(metadata.etag.encode()).hexdigest()[:16]
    return _Remote(metadata.location, metadata.commit_hash, metadata.size, tag, sha256)


def _look_up_elsewhere(name: str, release: Release) -> _Remote:
    from huggingface_hub import constants, get_session

    try:
        response = get_session().head(
            release.url,
            headers={"Accept-Encoding": "identity"},
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            follow_redirects=True,
        )
        response.raise_for_status()
    except Exception as error:  # see `_look_up`
        raise _unreachable(name, release, error) from error
    headers = response.headers
    mark = headers.get("ETag", "")
    length = headers.get("Content-Length", "")
    tag = hashlib.sha256(mark.encode()).hexdigest()[:16]
    size = int(length) if length.isdigit() else None
    return _Remote(release.url, mark.strip('"'), size, tag, None)


def _fetch(name: str, release: Release, remote: _Remote, part: Path) -> Iterator[Progress]:
    stalled = 0
    failure: Exception | str = "the connection was cut"
    while remote.size is None or _size(part) != remote.size:
        before = _size(part)
        try:
            for done in _receive(remote, part):
                yield Progress(done, remote.size or done, f"downloading {release.file}")
            if remote.size is None:
                return
        except Exception as error:  # see `_look_up`
            failure = error
        if remote.size is not None and _size(part) > remote.size:
            part.unlink()
        stalled = 0 if _size(part) > before else stalled + 1
        if stalled == ATTEMPTS:
            raise _unreachable(name, release, failure)
        if stalled:
            time.sleep(RETRY_SECONDS)


def _receive(remote: _Remote, part: Path) -> Iterator[int]:
    """Appends to the partial file what it lacks; yields its size."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers

    own_host = urlsplit(remote.url).netloc == urlsplit(constants.ENDPOINT).netloc
    # The user's token is the hub's business alone, not that of the store it points to.
    headers = build_hf_headers(token=None if own_host else False)
    headers["Accept-Encoding"] = "identity"
    offset = _size(part)
    if offset:
        headers["Range"] = f"bytes={offset}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    request = get_session().stream(
        "GET", remote.url, headers=headers, timeout=timeout, follow_redirects=True
    )
    with request as response:
        response.raise_for_status()
        continued = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        with part.open("ab" if offset and continued else "wb") as file:
            for chunk in response.iter_bytes(_CHUNK):
                file.write(chunk)
                yield file.tell()


def _kept(release: Release, folder: Path) -> WeightsFile | None:
    path = folder / release.file
    try:
        record = json.loads((folder / f"{release.file}.json").read_text(encoding="utf-8"))
        fits = (
            record["size"] == path.stat().st_size
            and release.sha256 in (None, record["sha256"])
            and release.revision in (record["revision"], record["commit"])
        )
        note = _note(release, record["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return WeightsFile(path, note) if fits else None


def _in_hub_cache(release: Release) -> WeightsFile | None:
    from huggingface_hub import try_to_load_from_cache

    if release.url:
        return None
    found = try_to_load_from_cache(release.repo, release.file, revision=release.revision)
    if not isinstance(found, str):
        return None
    path = Path(found)
    if release.sha256 is not None and _sha256(path) != release.sha256:
        return None
    return WeightsFile(path, _note(release, path.parent.name))


def _note(release: Release, commit: str) -> str:
    return f"{release.repo}, {release.file}, commit {commit}"


def _release(name: str) -> Release:
    if name in TOKENIZERS:
        return TOKENIZERS[name]
    if name not in RELEASES:
        raise WeightsError(
            f"No released weights are known for {name}",
            expected=f"one of {', '.join(RELEASES)}",
            remedy="Pass a checkpoint with --weights PATH",
        )
    return RELEASES[name]


def _folder(release: Release, cache: Path | None) -> Path:
    cache = platformdirs.user_cache_path("ethoprism") / "weights" if cache is None else cache
    return cache / release.repo.replace("/", "--")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _what(name: str) -> str:
    return f"The tokenizer {name}" if name in TOKENIZERS else f"The weights of {name}"


def _unreachable(name: str, release: Release, reason: Exception | str) -> WeightsError:
    hub = f"https://huggingface.co/{release.repo}/resolve/{release.revision}/{release.file}"
    lines = str(reason).splitlines() or [type(reason).__name__]
    option = "--tokenizer" if name in TOKENIZERS else "--weights"
    return WeightsError(
        f"{_what(name)} can't be downloaded ({lines[0]})",
        remedy=f"Try again when online, or download {release.url or hub} on another computer, "
        f"copy it here and pass its path as {option} PATH",
    )
