"""Downloading from a server on this machine that is slow, broken, lying or just right."""

import fcntl
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from click.testing import CliRunner
from data_standin import Standin, contents, packed
from rich.console import Console
from torchvision.datasets import CIFAR10

from repro.cli import main
from repro.data import cache, cifar10, download
from repro.errors import UserError
from repro.progress import download as bar


@pytest.fixture
def standin(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "CHUNK", 1 << 10)
    return Standin(monkeypatch)


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the server's script says; the last entry goes for all that follow."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        way = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        if way == 404:
            return self.send_error(404, "Not Found")
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and way != "no ranges" else 0
        if start >= len(server.content):
            return self.send_error(416, "Range Not Satisfiable")
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if way != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if way == "mute":
            server.over.wait(20)
        elif isinstance(way, tuple):  # so many bytes, then silence or the end of the line
            count, then = way
            self.wfile.write(body[:count])
            self.wfile.flush()
            if then == "stall":
                server.over.wait(20)
        else:
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_rest):
        pass


@pytest.fixture
def serve(standin):
    """Return a function that starts a server for a script, and gives it and its URL."""
    servers = []

    def start(*script, content=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.script, server.asked, server.over = list(script), [], threading.Event()
        server.content = packed(standin.blobs) if content is None else content
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server, f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def reference(standin, folder):
    cifar10.import_from(standin.archive(folder / "reference.tar.gz"), folder / "reference")
    return contents(folder / "reference")


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        (["whole"], [None]),
        (["no length"], [None]),
        ([(5000, "close"), "whole"], [None, "bytes=5000-"]),
        ([(5000, "stall"), "whole"], [None, "bytes=5000-"]),
        ([(5000, "close"), (5000, "close"), "whole"], [None, "bytes=5000-", "bytes=10000-"]),
        ([(5000, "close"), "no ranges"], [None, "bytes=5000-"]),
    ],
)
def test_what_arrives_is_the_same_cache(standin, serve, tmp_path, script, asked):
    server, url = serve(*script)
    seen = []
    dataset = cifar10.fetch(tmp_path / "home", lambda *told: seen.append(told), url, timeout=0.3)
    assert contents(tmp_path / "home") == reference(standin, tmp_path)
    assert dataset.order == "official"
    assert np.array_equal(dataset.x_test[dataset.official_test], standin.arrays["x_test"])
    assert server.asked == asked
    assert seen[-1] == (len(server.content), None if script == ["no length"] else len(server.content))


def test_a_later_call_goes_on_where_an_earlier_one_broke_off(standin, serve, tmp_path):
    home = tmp_path / "home"
    server, url = serve((5000, "close"), (0, "close"))
    with pytest.raises(UserError, match=r"closed after 0\.0 of .* MB\); the same command goes on at 0\.0 MB; .*import"):
        cifar10.fetch(home, url=url)
    (part,) = (home / "data").iterdir()
    assert part.read_bytes() == server.content[:5000]
    server.script, server.asked = ["whole"], []
    cifar10.fetch(home, url=url)
    assert server.asked == ["bytes=5000-"]
    assert contents(home) == reference(standin, tmp_path)


def test_a_download_that_was_complete_but_not_imported_is_not_loaded_again(standin, serve, tmp_path):
    home = tmp_path / "home"
    server, url = serve("whole")
    (home / "data").mkdir(parents=True)
    standin.archive(home / "data" / "cifar-10-python.tar.gz.part")
    cifar10.fetch(home, url=url)
    assert server.asked == [f"bytes={len(server.content)}-"]
    assert contents(home) == reference(standin, tmp_path)


def test_of_two_downloads_at_once_the_second_takes_what_the_first_has_made(standin, serve, tmp_path, monkeypatch):
    home = tmp_path / "home"
    _, url = serve("whole")
    unpack = cifar10._unpack

    def late(part):  # meanwhile the other one stores the images and clears its download away
        monkeypatch.setattr(cifar10, "_unpack", unpack)
        cifar10.fetch(home, url=url)
        return unpack(part)

    monkeypatch.setattr(cifar10, "_unpack", late)
    assert cifar10.fetch(home, url=url).order == "official"
    assert contents(home) == reference(standin, tmp_path)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([404], "answered 404 Not Found"),
        (["mute"], "no byte for 0.2 s"),
        ([(0, "close")], "the connection closed after 0.0 of"),
    ],
)
def test_a_download_that_cannot_begin_writes_nothing(standin, serve, tmp_path, script, reason):
    server, url = serve(*script)
    with pytest.raises(UserError, match=re.escape(reason) + r".*`repro data import PATH`"):
        cifar10.fetch(tmp_path / "home", url=url, timeout=0.2)
    assert contents(tmp_path) == {}
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.tar.gz", "nonsense", "http://"])
def test_no_server_is_said(standin, tmp_path, url):
    with pytest.raises(UserError, match=r"CIFAR-10 could not be downloaded \(.*repro data import PATH"):
        cifar10.fetch(tmp_path / "home", url=url, timeout=0.5)
    assert contents(tmp_path) == {}


def test_a_line_that_breaks_off_again_and_again_is_given_up(standin, serve, tmp_path):
    server, url = serve((100, "close"))
    with pytest.raises(UserError, match="the same command goes on"):
        cifar10.fetch(tmp_path / "home", url=url)
    assert len(server.asked) == download.ATTEMPTS
    assert [len(part.read_bytes()) for part in (tmp_path / "home" / "data").iterdir()] == [100 * download.ATTEMPTS]


@pytest.mark.parametrize("begun", [b"", b"bytes of something else"])
def test_a_damaged_download_is_refused_and_removed(standin, serve, tmp_path, begun):
    home = tmp_path / "home"
    cifar10.import_from(standin.npz(tmp_path / "x.npz"), home)
    before = contents(home)
    content = packed(standin.blobs)
    _, url = serve("whole", content=content if begun else content[:-1] + b"?")
    (home / "data" / "cifar-10-python.tar.gz.part").write_bytes(begun)
    with pytest.raises(UserError, match=r"the download: not the official .*`repro data import PATH`"):
        cifar10.fetch(home, url=url)
    assert contents(home) == before


def test_what_is_here_is_not_downloaded_again_unless_damaged(standin, serve, tmp_path):
    home = tmp_path / "home"
    server, url = serve("whole")
    cifar10.import_from(standin.npz(tmp_path / "x.npz"), home)
    assert cifar10.fetch(home, url=url).order == "official"  # only the order was missing
    assert cifar10.fetch(home, url=url).order == "official"
    assert len(server.asked) == 1
    cifar10.cache_path(home).write_bytes(b"damaged")
    cifar10.fetch(home, url=url)
    assert len(server.asked) == 2
    assert contents(home) == reference(standin, tmp_path)


def test_two_downloads_do_not_mix(standin, serve, tmp_path):
    _, url = serve("whole")
    part = tmp_path / "home" / "data" / "cifar-10-python.tar.gz.part"
    part.parent.mkdir(parents=True)
    with open(part, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being downloaded by another process"):
            cifar10.fetch(tmp_path / "home", url=url)
    assert part.read_bytes() == b""


def test_a_full_disk_is_said_before_the_download(standin, serve, tmp_path, monkeypatch):
    server, url = serve("whole")
    usage = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"17\d MB are needed and 5 MB are free"):
        cifar10.fetch(tmp_path / "home", url=url)
    assert server.asked == []
    assert contents(tmp_path) == {}


def test_the_command_shows_progress_and_refuses_in_a_sentence(standin, serve, tmp_path, monkeypatch):
    server, url = serve("whole", 404)
    monkeypatch.setattr(CIFAR10, "url", url)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    told = CliRunner().invoke(main, ["data", "fetch"], catch_exceptions=False)
    assert told.exit_code == 0
    assert "official order of the test images: known" in told.stdout
    assert "(100 %)" in told.stderr
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "other"))
    told = CliRunner().invoke(main, ["data", "fetch"], catch_exceptions=False)
    assert told.exit_code == 2
    assert told.stderr.startswith("repro: CIFAR-10 could not be downloaded (http://127.0.0.1")
    assert len(told.stderr.splitlines()) == 1
    assert len(server.asked) == 2


@pytest.mark.parametrize(("total", "lines"), [(170_000_000, 11), (None, 11)])
def test_a_log_gets_a_line_every_ten_percent(total, lines):
    out = io.StringIO()
    with bar.shown("CIFAR-10", Console(file=out, width=100)) as told:
        for done in range(0, 170_000_001, 100_000):
            told(done, total)
    found = out.getvalue().splitlines()
    assert len(found) == lines
    assert found[0] == ("CIFAR-10: 0 of 170 MB (0 %)" if total else "CIFAR-10: 0 MB")
    assert found[-1] == ("CIFAR-10: 170 of 170 MB (100 %)" if total else "CIFAR-10: 160 MB")


@pytest.mark.parametrize("total", [170_000_000, None])
def test_a_terminal_gets_a_bar(total):
    out = io.StringIO()
    with bar.shown("CIFAR-10", Console(file=out, width=100, force_terminal=True)) as told:
        told(85_000_000, total)
        told(170_000_000, total)
    assert "CIFAR-10" in out.getvalue()
    assert ("170.0/170.0 MB" if total else "170.0/?") in out.getvalue()


def test_a_bar_that_is_told_nothing_shows_nothing():
    out = io.StringIO()
    with bar.shown("CIFAR-10", Console(file=out, width=100, force_terminal=True)):
        pass
    assert "CIFAR-10" not in out.getvalue()
