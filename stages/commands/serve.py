"""Open the audit site on localhost. The site also works without a server, straight from the disk.

    promotion serve
    promotion serve --port 8800 --no-browser

Only this machine can reach it. Stop it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import sys
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stages.domain.errors import Refused
from stages.domain.names import SITE

#: Said aloud, because Windows takes types from its registry, where .js may be anything.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    "": "application/octet-stream",
}


class Handler(SimpleHTTPRequestHandler):
    """Files of the site and nothing else: no listings, no cache, no log of every request."""

    extensions_map = TYPES

    def end_headers(self) -> None:
        """A rebuilt site must show at once."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: object) -> None:
        """No listings: a folder without index.html is no page."""
        self.send_error(404, "no such page")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion serve`."""
    parser.add_argument("--port", type=int, default=8000, help="port on localhost; 0 takes a free one (8000)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def server(root: Path, port: int) -> ThreadingHTTPServer:
    """A server of `root` on localhost alone; `Refused` where the port is taken or the site is not built."""
    if not (root / "index.html").is_file():
        page = (root / "index.html").as_posix()
        raise Refused(f"{page} is missing; `promotion site` builds it, `dvc pull site` fetches it")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(root)))
    except (OSError, OverflowError) as error:
        raise Refused(f"port {port}: {error}; take another one: `promotion serve --port 0`") from None


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    with server(SITE, arguments.port) as httpd:
        url = f"http://127.0.0.1:{httpd.server_address[1]}/"
        print(f"{url}  (Ctrl-C stops it)", flush=True)
        if not arguments.no_browser:
            webbrowser.open(url)
        try:
            httpd.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0
