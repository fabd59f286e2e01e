"""Open the audit site on localhost. The site also works without a server, straight from the disk.

    promotion serve
    promotion serve --port 8800 --no-browser

Only this machine can reach it, and only under the names localhost and 127.0.0.1: another name that leads here gets
nothing. Links that lead out of site/ are not followed. Stop it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import re
import sys
import threading
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from stages.domain.errors import Refused
from stages.domain.names import SITE
from stages.repo.dvc_remote import restore_command

#: The names under which a browser on this machine asks.
HOSTS = ("127.0.0.1", "localhost")
MOST_CONNECTIONS = 64
#: Given here, because Windows takes types from its registry, where .js may be anything.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    "": "application/octet-stream",
}


class SiteHandler(SimpleHTTPRequestHandler):
    """Files of the site and nothing else: no listings, no cache, no log of every request."""

    extensions_map = TYPES
    #: Seconds that a client may take for its request or to read the answer.
    timeout = 30

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Check the request before anything is opened; the file to send, or None where an error was sent."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            self.send_error(400, "expected one Host header")
        elif _strip_port(hosts[0]) not in HOSTS:  # a foreign name that leads here: DNS rebinding
            self.send_error(403, "this server answers to localhost alone")
        elif _has_control_characters(unquote(self.path)):
            self.send_error(400, "expected a path without control characters")
        elif not self._is_in_site(Path(self.translate_path(self.path))):
            self.send_error(404, "no such page")
        else:
            return super().send_head()
        return None

    def _is_in_site(self, path: Path) -> bool:
        """Whether a path, its links followed, is a file of the site, or a folder of it, whose index.html is one."""
        try:
            if path.is_dir():
                path /= "index.html"
            return path.is_file() and path.resolve().is_relative_to(Path(self.directory).resolve())
        except (OSError, ValueError, RuntimeError):  # too long a name, or links in a circle
            return False

    def end_headers(self) -> None:
        """A rebuilt site must show at once."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """No listings: a folder without index.html is no page."""
        self.send_error(404, "no such page")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def _strip_port(host: str) -> str:
    return host.rpartition(":")[0] if re.search(r":[0-9]{1,5}$", host) else host


def _has_control_characters(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


class SiteServer(ThreadingHTTPServer):
    """A server on the loopback that answers so many connections at a time; others wait."""

    def __init__(self, root: Path, port: int) -> None:
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(("127.0.0.1", port), functools.partial(SiteHandler, directory=str(root)))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, once one is free."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What that thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or is too slow, is no error of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion serve`."""
    parser.add_argument("--port", type=int, default=8000, help="port on localhost; 0 takes a free one (8000)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def start_server(root: Path, port: int) -> SiteServer:
    """A server of `root` on the loopback; `Refused` where the port is taken or the site is not built."""
    if not (root / "index.html").is_file():
        bring = restore_command(Path())
        page = (root / "index.html").as_posix()
        raise Refused(f"{page} is missing; `promotion site` builds it from the artifacts, `{bring}` brings both")
    try:
        return SiteServer(root, port)
    except (OSError, OverflowError) as error:
        raise Refused(f"port {port}: {error}; take another one: `promotion serve --port 0`") from None


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    with start_server(SITE, arguments.port) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"{url}  (Ctrl-C stops it)", flush=True)
        if not arguments.no_browser:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0
