"""`promotion serve` gives out the files of the site, to this machine, and nothing else."""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.commands import serve
from stages.domain.errors import Refused

SECRET = "what no reader of the site may see"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of a page in a folder beside a file that is none of it."""
    (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
    root = tmp_path / "site"
    (root / "gates").mkdir(parents=True)
    for page in (root / "index.html", root / "gates" / "index.html"):
        page.write_text("<title>a page</title>", encoding="utf-8")
    return root


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    with serve.start_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, target: str, *hosts: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of a request with exactly these Host headers, the right one unless given."""
    lines = [f"{method} {target} HTTP/1.1", *(f"Host: {host}" for host in hosts or (f"127.0.0.1:{port}",))]
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, answer.read().decode("utf-8")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8000", "127.0.0.1:80"])
@pytest.mark.parametrize("target", ["/", "/index.html", "/gates/", "/gates/index.html?x=1#y"])
def test_a_page_is_given_to_who_asks_this_machine(port, host, target):
    assert ask(port, target, host) == (200, "<title>a page</title>")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1]", "0.0.0.0"]
)
def test_a_foreign_name_that_leads_here_gets_nothing(port, host):
    status, body = ask(port, "/", host)
    assert status == 403
    assert "a page" not in body


def test_a_request_with_two_hosts_or_none_is_refused(port):
    assert ask(port, "/", "localhost", "evil.example")[0] == 400
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"400"


@pytest.mark.parametrize("target", ["/%00", "/index.html%00.txt", "/%0d%0aX: y", "/gates%7f/"])
def test_a_path_with_control_characters_is_refused(port, target):
    assert ask(port, target)[0] == 400


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/gates/../../secret.txt",
        "//secret.txt",
        "/..%5csecret.txt",
        "/" + "x" * 5000,
        "/absent/",
    ],
)
def test_no_path_leads_out_of_the_site(port, target):
    status, body = ask(port, target)
    assert status == 404
    assert SECRET not in body


@pytest.mark.skipif(os.name != "posix", reason="Windows asks for a privilege to make links")
def test_no_link_leads_out_of_the_site_and_one_within_is_followed(port, site):
    (site / "secret.txt").symlink_to(site.parent / "secret.txt")
    (site / "up").symlink_to(site.parent)
    (site / "circle").symlink_to(site / "circle")
    (site / "same.html").symlink_to(site / "index.html")
    outside = site.parent / "outside"
    outside.mkdir()
    (outside / "index.html").write_text(SECRET, encoding="utf-8")
    (site / "page").symlink_to(outside)
    for target in ("/secret.txt", "/up/secret.txt", "/circle", "/page/", "/page", "/page/index.html"):
        assert ask(port, target)[0] == 404, target
    assert ask(port, "/same.html") == (200, "<title>a page</title>")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names there")
def test_what_is_no_file_is_no_page(port, site):
    os.mkfifo(site / "pipe")
    assert ask(port, "/pipe")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "CONNECT"])
def test_nothing_can_be_asked_but_to_read(port, method):
    assert ask(port, "/", method=method)[0] == 501


def test_head_is_answered_without_a_body(port):
    assert ask(port, "/", method="HEAD") == (200, "")


def test_a_request_that_has_no_end_is_cut_off(port):
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"GET /" + b"x" * 70_000)
        assert connection.makefile("rb").readline().split()[1] == b"414"


def test_so_many_connections_at_a_time_are_served_and_the_next_one_when_one_ends(site, monkeypatch):
    monkeypatch.setattr(serve, "MOST_CONNECTIONS", 2)
    with serve.start_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_address[1]
        idle = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port), 20) as third:
            third.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            third.settimeout(0.5)
            with pytest.raises(TimeoutError):
                third.recv(1)
            idle[0].close()
            third.settimeout(20)
            assert third.recv(12).startswith(b"HTTP/1.0 200")
        idle[1].close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("error", "shown"),
    [(ValueError("a mistake of ours"), True), (ConnectionResetError(), False), (TimeoutError(), False)],
)
def test_a_mistake_of_ours_is_shown_and_a_client_that_goes_away_is_not(port, monkeypatch, capsys, error, shown):
    def fail(handler):
        raise error

    monkeypatch.setattr(serve.SiteHandler, "send_head", fail)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(port, "/")
    monkeypatch.undo()
    assert ask(port, "/")[0] == 200, "the server goes on"
    assert ("a mistake of ours" in capsys.readouterr().err) is shown


def test_a_request_whose_answer_cannot_begin_gives_its_place_back(site, monkeypatch):
    monkeypatch.setattr(serve, "MOST_CONNECTIONS", 1)

    def fail(server, request, client_address):
        raise RuntimeError("no thread")

    with serve.start_server(site, 0) as server:
        monkeypatch.setattr(serve.ThreadingHTTPServer, "process_request", fail)
        for _ in range(2):  # a place that is lost would be waited for for ever
            with pytest.raises(RuntimeError, match="no thread"):
                server.process_request(None, None)
        assert server._free.acquire(blocking=False)
        server._free.release()
        with pytest.raises(ValueError, match="released too many times"):
            server._free.release()


@pytest.mark.parametrize(("words", "opened"), [([], True), (["--no-browser"], False)])
def test_it_serves_until_interrupted_and_opens_a_browser_unless_told_not_to(site, monkeypatch, capsys, words, opened):
    pages: list[str] = []
    served: list[int] = []

    def interrupt(server):
        served.append(server.server_address[1])
        raise KeyboardInterrupt

    monkeypatch.chdir(site.parent)
    monkeypatch.setattr(serve.webbrowser, "open", pages.append)
    monkeypatch.setattr(serve.SiteServer, "serve_forever", interrupt)
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    assert parser.parse_args([]).port == 8000
    assert serve.run(parser.parse_args(["--port", "0", *words])) == 0
    (port,) = served
    assert pages == [f"http://127.0.0.1:{port}/"] * opened
    assert capsys.readouterr() == (f"http://127.0.0.1:{port}/  (Ctrl-C stops it)\n", "stopped\n")
    with serve.start_server(site, port):  # it was closed
        pass


def test_a_site_that_is_not_built_and_a_port_that_is_no_port_are_refused(site, monkeypatch):
    monkeypatch.chdir(site.parent)
    for port in (70_000, -1):
        with pytest.raises(Refused, match=rf"^port {port}: .+; take another one: `promotion serve --port 0`$"):
            serve.start_server(site, port)
    with serve.start_server(site, 0) as server:
        taken = server.server_address[1]
        with pytest.raises(Refused, match=rf"^port {taken}: .+; take another one"):
            serve.start_server(site, taken)
    (site / "index.html").unlink()
    with pytest.raises(Refused) as refusal:
        serve.start_server(Path("site"), 0)
    message = "site/index.html is missing; `promotion site` builds it from the artifacts, `dvc repro` brings both"
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.bin", "application/octet-stream"),
    ],
)
def test_a_file_has_its_type_and_is_not_kept(site, port, name, type_):
    (site / name).write_bytes(b"x")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"/{name}")
    answer = connection.getresponse()
    headers = [answer.getheader(key) for key in ("Content-Type", "Cache-Control", "X-Content-Type-Options")]
    assert headers == [type_, "no-store", "nosniff"]
    connection.close()


def test_a_request_is_not_logged_and_no_folder_is_listed(port, capsys):
    assert ask(port, "/absent.html")[0] == 404
    assert capsys.readouterr() == ("", "")
    errors = []
    handler = SimpleNamespace(send_error=lambda *words: errors.append(words))
    assert serve.SiteHandler.list_directory(handler, "gates") is None
    assert errors == [(404, "no such page")]


def test_an_error_has_its_reason(port):
    def reason(*lines):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
            return connection.makefile("rb").readline().decode().strip().partition(" ")[2]

    assert [
        reason("GET / HTTP/1.1"),
        reason("GET / HTTP/1.1", "Host: evil.example"),
        reason("GET /%00 HTTP/1.1", "Host: localhost"),
        reason("GET /absent HTTP/1.1", "Host: localhost"),
    ] == [
        "400 expected one Host header",
        "403 this server answers to localhost alone",
        "400 expected a path without control characters",
        "404 no such page",
    ]


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:8000", "localhost"), ("localhost", "localhost"), ("a:123456", "a:123456"), ("a:1", "a"), ("a:", "a:")],
)
def test_a_port_is_one_to_five_digits(host, name):
    assert serve._strip_port(host) == name


def test_control_characters_are_those_below_a_space_and_delete():
    assert [code for code in range(256) if serve._has_control_characters(chr(code))] == [*range(32), 127]
