"""Released weights arrive whole over bad lines, stay as they are, and are refused when wrong.

The hub is a server on this computer that answers the routes of Hugging Face.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from ethoprism.backbones import releases
from ethoprism.backbones.releases import (
    RELEASES,
    TOKENIZERS,
    Release,
    download,
    find_tokenizer,
    find_weights,
    is_here,
)
from ethoprism.errors import StorageError, WeightsError

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RELEASE = Release("lab/tiny", "tiny.npz")


@dataclass
class Hub:
    """What the server holds and does; tests change it."""

    content: bytes = CONTENT
    etag: str = f'"{SHA256}"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next responses are cut."""
    store: str = ""
    """Address of another server to redirect to, as the hub does for large files."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range."""
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""

    def asked(self, method: str) -> list[str | None]:
        """Ranges of the requests for the file."""
        return [r for m, path, r in self.requests if m == method and "/api/" not in path]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def _answer(self, body: bool) -> None:
            asked = self.headers["Range"]
            hub.requests.append((self.command, self.path, asked))
            hub.tokens.append(self.headers["Authorization"])
            paths = [f"/lab/tiny/resolve/{revision}/tiny.npz" for revision in ("main", COMMIT)]
            if self.path not in [*paths, "/store"]:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and hub.ranges else 0
            if hub.store:
                self.send_response(302)
                self.send_header("Location", hub.store)
                self.send_header("X-Linked-ETag", hub.etag)
                self.send_header("X-Linked-Size", str(len(hub.content)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if start >= len(hub.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                last = len(hub.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(hub.content)}")
            self.send_header("Content-Length", str(len(hub.content) - start))
            if hub.etag:
                self.send_header("ETag", hub.etag)
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                end = start + hub.cuts.pop(0) if hub.cuts else None
                self.wfile.write(hub.content[start:end])
                if end is not None:
                    self.close_connection = True

    return Handler


def _serve(hub: Hub) -> Iterator[Hub]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        # Threads of kept connections would be waited for at the end.
        server.block_on_close = False
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hub
        _http.close_session()
        server.shutdown()
        thread.join()


@pytest.fixture
def store() -> Iterator[Hub]:
    yield from _serve(Hub())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    _http.close_session()  # of an earlier test, which may have had other proxies
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setitem(RELEASES, "tiny", RELEASE)
    monkeypatch.setattr(releases, "ATTEMPTS", 3)
    monkeypatch.setattr(releases, "RETRY_SECONDS", 0.01)
    for served in _serve(Hub()):
        _point_to(served.url, monkeypatch)
        yield served


def _point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both are made from HF_ENDPOINT when the library is imported.
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def _left(cache: Path) -> list[str]:
    """Names of what a download left, without the lock."""
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


def _cancelled_after(steps: int, cache: Path) -> int:
    """Bytes that were there when a download was cancelled after some steps."""
    task = download("tiny", cache=cache)
    assert isinstance(task, Generator)
    done = [next(task).done for _ in range(steps)][-1]
    task.close()
    return done


def test_downloaded_once_and_kept(hub: Hub, tmp_path: Path):
    cache = tmp_path / "weights"
    found = find_weights("tiny", cache=cache)
    assert found.path.read_bytes() == CONTENT
    assert found.path.is_relative_to(cache)
    assert found.note == f"lab/tiny, tiny.npz, commit {COMMIT}"
    assert _left(cache) == ["tiny.npz", "tiny.npz.json"]
    assert hub.asked("HEAD") == hub.asked("GET") == [None]
    hub.requests.clear()
    assert find_weights("tiny", cache=cache) == found
    assert list(download("tiny", cache=cache)) == []
    assert hub.requests == []


def test_progress_is_in_bytes(hub: Hub, tmp_path: Path):
    steps = list(download("tiny", cache=tmp_path))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)
    assert len(done) > 5
    assert {step.total for step in steps} == {len(CONTENT)}
    assert steps[0].note == "downloading tiny.npz"
    assert steps[-1].note == "checking"


def test_a_file_that_is_gone_or_cut_is_downloaded_again(hub: Hub, tmp_path: Path):
    path = find_weights("tiny", cache=tmp_path).path
    path.write_bytes(CONTENT[:-1])
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    path.unlink()
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    path.with_name("tiny.npz.json").write_text("[]")
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    assert len(hub.asked("GET")) == 4


def test_a_cut_transfer_is_resumed(hub: Hub, tmp_path: Path):
    hub.cuts = [500_000, 200_000]
    found = find_weights("tiny", cache=tmp_path)
    assert found.path.read_bytes() == CONTENT
    first, *others = hub.asked("GET")
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in others if r]
    assert first is None
    assert len(starts) == len(others) == 2
    # Nearly all that had arrived is used: at most the last chunk is asked for again.
    assert 400_000 < starts[0] <= 500_000
    assert 100_000 < starts[1] - starts[0] <= 200_000


def test_cuts_do_not_count_as_failures_while_something_arrives(hub: Hub, tmp_path: Path):
    hub.cuts = [100_000] * 8
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    assert len(hub.asked("GET")) == 9


def test_a_cancelled_download_is_resumed_by_the_next(hub: Hub, tmp_path: Path):
    done = _cancelled_after(3, tmp_path)
    assert 0 < done < len(CONTENT)
    [part] = _left(tmp_path)
    assert part.endswith(".part")
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    assert hub.asked("GET") == [None, f"bytes={done}-"]
    assert _left(tmp_path) == ["tiny.npz", "tiny.npz.json"]


def test_parts_of_another_content_are_not_continued(hub: Hub, tmp_path: Path):
    _cancelled_after(1, tmp_path)
    hub.content = CONTENT[::-1]
    hub.etag = f'"{hashlib.sha256(hub.content).hexdigest()}"'
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT[::-1]
    assert hub.asked("GET") == [None, None]


def test_a_server_without_ranges_sends_all_again(hub: Hub, tmp_path: Path):
    hub.ranges = False
    hub.cuts = [500_000]
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    assert len(hub.asked("GET")) == 2


def test_a_part_that_is_too_long_is_thrown_away(hub: Hub, tmp_path: Path):
    _cancelled_after(1, tmp_path)
    [part] = tmp_path.rglob("*.part")
    part.write_bytes(CONTENT + b"more")
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT


def test_a_store_elsewhere_gets_the_request_but_not_the_token(
    hub: Hub, store: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
    hub.store = f"{store.url}/store"
    store.cuts = [300_000]
    found = find_weights("tiny", cache=tmp_path)
    assert found.path.read_bytes() == CONTENT
    assert COMMIT in found.note
    assert "Bearer hf_of_this_test" in hub.tokens
    assert len(store.asked("GET")) == 2
    assert set(store.tokens) == {None}


def _assert_damaged(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        find_weights("tiny", cache=tmp_path)
    assert f"SHA-256 {SHA256}" in str(caught.value)
    assert "damaged" in str(caught.value)
    assert _left(tmp_path) == []


def test_damaged_content_is_not_kept(hub: Hub, tmp_path: Path):
    hub.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    _assert_damaged(tmp_path)
    hub.content = CONTENT
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT


def test_a_known_checksum_is_required(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(RELEASES, "tiny", Release("lab/tiny", "tiny.npz", sha256=SHA256))
    # Small files on the hub carry another mark than the SHA-256.
    hub.content, hub.etag = CONTENT[::-1], '"0f3b"'
    _assert_damaged(tmp_path)
    hub.etag = f'"{hashlib.sha256(hub.content).hexdigest()}"'
    with pytest.raises(WeightsError, match="this version was made for") as caught:
        find_weights("tiny", cache=tmp_path)
    assert f"SHA-256 {SHA256}" in str(caught.value)
    assert len(hub.asked("GET")) == 1
    hub.content, hub.etag = CONTENT, f'"{SHA256}"'
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT


def test_a_pinned_revision(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pinned = Release("lab/tiny", "tiny.npz", revision=COMMIT)
    monkeypatch.setitem(RELEASES, "tiny", pinned)
    found = find_weights("tiny", cache=tmp_path)
    assert found.note == f"lab/tiny, tiny.npz, commit {COMMIT}"
    assert {path for _, path, _ in hub.requests if "/api/" not in path} == {
        f"/lab/tiny/resolve/{COMMIT}/tiny.npz"
    }
    record = json.loads(found.path.with_name("tiny.npz.json").read_text())
    assert record == {
        "repo": "lab/tiny",
        "file": "tiny.npz",
        "revision": COMMIT,
        "commit": COMMIT,
        "size": len(CONTENT),
        "sha256": SHA256,
    }
    other = Release("lab/tiny", "tiny.npz", revision="f" * 40)
    monkeypatch.setitem(RELEASES, "tiny", other)
    with pytest.raises(WeightsError, match="404"):
        find_weights("tiny", cache=tmp_path)


def test_what_was_had_from_a_branch_serves_the_commit_it_stood_for(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = find_weights("tiny", cache=tmp_path)
    hub.requests.clear()
    monkeypatch.setitem(RELEASES, "tiny", Release("lab/tiny", "tiny.npz", COMMIT, SHA256))
    assert find_weights("tiny", cache=tmp_path) == found
    assert hub.requests == []


def test_the_hubs_own_cache_is_used_where_it_stands(hub: Hub, tmp_path: Path):
    path = Path(huggingface_hub.hf_hub_download("lab/tiny", "tiny.npz"))
    hub.requests.clear()
    found = find_weights("tiny", cache=tmp_path / "weights")
    assert found.path == path
    assert found.note == f"lab/tiny, tiny.npz, commit {COMMIT}"
    assert hub.requests == []
    assert not (tmp_path / "weights").exists()


def _assert_names_the_way_out(error: WeightsError) -> None:
    assert "The weights of tiny can't be downloaded (" in str(error)
    assert "https://huggingface.co/lab/tiny/resolve/main/tiny.npz" in str(error)
    assert "--weights PATH" in str(error)


def test_offline(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _point_to("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(WeightsError) as caught:
        find_weights("tiny", cache=tmp_path)
    _assert_names_the_way_out(caught.value)
    assert _left(tmp_path) == []


def test_a_line_that_stays_dead_after_the_look_up(hub: Hub, tmp_path: Path):
    hub.cuts = [500_000] + [0] * releases.ATTEMPTS
    with pytest.raises(WeightsError) as caught:
        find_weights("tiny", cache=tmp_path)
    _assert_names_the_way_out(caught.value)
    assert len(hub.asked("GET")) == 1 + releases.ATTEMPTS
    assert find_weights("tiny", cache=tmp_path).path.read_bytes() == CONTENT
    [last] = hub.asked("GET")[1 + releases.ATTEMPTS :]
    assert last is not None


def test_what_is_not_the_hub(hub: Hub, tmp_path: Path):
    hub.etag = ""
    with pytest.raises(WeightsError, match="does not answer like the hub") as caught:
        find_weights("tiny", cache=tmp_path)
    _assert_names_the_way_out(caught.value)


def test_a_disk_that_is_too_small(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage:
        free = len(CONTENT) - 1

    monkeypatch.setattr(releases.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(StorageError, match=r"no room in .* for the weights of tiny"):
        find_weights("tiny", cache=tmp_path)
    assert hub.asked("GET") == []


def test_two_at_once_download_once(hub: Hub, tmp_path: Path):
    found: list[bytes] = []

    def use() -> None:
        found.append(find_weights("tiny", cache=tmp_path).path.read_bytes())

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 3
    assert len(hub.asked("GET")) == 1


def test_a_path_of_the_user(tmp_path: Path):
    path = tmp_path / "mine.npz"
    np.savez(path, kernel=np.zeros(3))
    found = find_weights("tiny", str(path))
    assert found.path == path
    assert found.note == "weights from mine.npz, given by the user"
    with pytest.raises(WeightsError, match="--weights"):
        find_weights("tiny", str(tmp_path))


def test_a_backbone_that_was_never_released(tmp_path: Path):
    with pytest.raises(WeightsError, match="videoprism-base, videoprism-large") as caught:
        find_weights("prism-nano", cache=tmp_path)
    assert "--weights PATH" in str(caught.value)


def _tokenizer_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release("vocabs/tiny", "sentencepiece.model", url=url)
    monkeypatch.setitem(TOKENIZERS, "pieces", release)


def test_a_tokenizer_comes_from_a_plain_address_once(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _tokenizer_at(f"{hub.url}/store", monkeypatch)
    hub.cuts = [400_000]
    assert not is_here("pieces", cache=tmp_path)
    path = find_tokenizer("pieces", cache=tmp_path)
    assert path.read_bytes() == CONTENT and path.name == "sentencepiece.model"
    assert is_here("pieces", cache=tmp_path)
    first, second = hub.asked("GET")  # the cut transfer was resumed
    assert first is None and second is not None
    hub.requests.clear()
    assert find_tokenizer("pieces", cache=tmp_path) == path
    assert hub.requests == []


def test_a_tokenizer_that_is_not_there_is_told_of(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _tokenizer_at(f"{hub.url}/nothing", monkeypatch)
    with pytest.raises(WeightsError, match="The tokenizer pieces can't be downloaded") as caught:
        find_tokenizer("pieces", cache=tmp_path)
    assert f"{hub.url}/nothing" in str(caught.value) and "--tokenizer PATH" in str(caught.value)


def test_a_tokenizer_beside_the_weights_comes_first(tmp_path: Path):
    weights = tmp_path / "lvt.npz"
    general, own = tmp_path / "sentencepiece.model", tmp_path / "lvt.model"
    general.write_bytes(b"1")
    assert find_tokenizer(beside=weights) == general
    own.write_bytes(b"2")
    assert find_tokenizer(beside=weights) == own


def test_the_released_tokenizer_is_that_of_the_models():
    [release] = TOKENIZERS.values()
    assert release.url == (
        "https://storage.googleapis.com/t5-data/vocabs/cc_en.32000/sentencepiece.model"
    )
