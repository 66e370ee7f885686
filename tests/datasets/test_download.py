"""Tests of the download against a server on this machine."""

import contextlib
import functools
import hashlib
import http.server
import pathlib
import threading
import zipfile

import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import download


class _CountingHandler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.num_requests += 1
        super().do_GET()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def _serve(folder):
    handler = functools.partial(_CountingHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.num_requests = 0
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The publisher's folder, and its server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "published"
    folder.mkdir()
    with _serve(folder) as server:
        server.folder = folder
        server.url = f"http://127.0.0.1:{server.server_port}/"
        yield server


def _publish(folder, members):
    path = folder / "tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return download.Archive("tiny", hashlib.sha256(path.read_bytes()).hexdigest())


def test_first_call_downloads_and_the_second_uses_the_cache(published, tmp_path):
    archive = _publish(published.folder, {"tiny/": "", "tiny/ratings.dat": "1::2"})
    for _ in range(2):
        folder = download.fetch(archive, published.url, tmp_path / "cache")
        assert folder == tmp_path / "cache" / "tiny"
        assert (folder / "ratings.dat").read_text() == "1::2"
        assert published.num_requests == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny"]


def test_only_the_folder_is_kept(published, tmp_path):
    archive = _publish(published.folder, {"tiny/good": "", "beside": ""})
    folder = download.fetch(archive, published.url, tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["good"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny"]
    archive = _publish(published.folder, {"beside": ""})
    with pytest.raises(errors.UserError, match="no folder tiny/"):
        download.fetch(archive, published.url, tmp_path / "other")


def test_wrong_checksum(published, tmp_path):
    _publish(published.folder, {"tiny/ratings.dat": "1::2"})
    archive = download.Archive("tiny", "0" * 64)
    with pytest.raises(errors.UserError, match=r"not what was expected.*--data_dir") as caught:
        download.fetch(archive, published.url, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_missing_file(published, tmp_path):
    with pytest.raises(errors.UserError, match=r"cannot download tiny .*404.*--data_dir"):
        download.fetch(download.Archive("tiny", "0" * 64), published.url, tmp_path / "cache")


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _serve(tmp_path) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
    with pytest.raises(errors.UserError, match=r"cannot download tiny .*--data_dir"):
        download.fetch(download.Archive("tiny", "0" * 64), url, tmp_path / "cache")


def test_no_room(published, tmp_path, monkeypatch):
    archive = _publish(published.folder, {"tiny/ratings.dat": "1::2"})

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full_disk)
    with pytest.raises(
        errors.UserError, match=r"\(No space left on device\).*FEDREC_TFF_CACHE_DIR"
    ):
        download.fetch(archive, published.url, tmp_path / "cache")
    assert not (tmp_path / "cache" / "tiny").exists()


def test_cache_that_is_no_folder(published, tmp_path):
    archive = _publish(published.folder, {"tiny/ratings.dat": "1::2"})
    (tmp_path / "cache").write_text("")
    with pytest.raises(errors.UserError, match="cannot keep tiny"):
        download.fetch(archive, published.url, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../evil", "/evil", "tiny/../../evil", "tiny\\..\\..\\evil"])
def test_members_outside_of_the_folder_are_refused(published, tmp_path, name):
    archive = _publish(published.folder, {"tiny/good": "", name: "bad"})
    with pytest.raises(errors.UserError, match="outside of its folder"):
        download.fetch(archive, published.url, tmp_path / "cache")
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "cache" / "tiny").exists()


def test_links_are_refused(published, tmp_path):
    link = zipfile.ZipInfo("tiny/link")
    link.external_attr = 0o120777 << 16
    archive = _publish(published.folder, {link: "/etc/passwd"})
    with pytest.raises(errors.UserError, match="outside of its folder"):
        download.fetch(archive, published.url, tmp_path / "cache")


def test_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDREC_TFF_CACHE_DIR", str(tmp_path))
    assert download.cache_dir() == tmp_path
    monkeypatch.delenv("FEDREC_TFF_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.cache_dir() == pathlib.Path(tmp_path / "xdg" / "fedrec_tff")


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [("other/x.txt", 10**9, "it holds no folder"), ("data/x.txt", 3, "unpacks to more than 3")],
)
def test_an_archive_that_is_not_what_was_asked_for_leaves_nothing(
    tmp_path, monkeypatch, name, limit, message
):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "four")
    monkeypatch.setattr(download, "_MAX_UNPACKED_BYTES", limit)
    (tmp_path / "kept").mkdir()
    with pytest.raises(ValueError, match=message):
        download._unpack(tmp_path / "a.zip", "data", tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())
