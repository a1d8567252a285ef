"""A web server on this machine that knows Range requests and can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `content` under every path, and writes down what it was asked for and what it sent."""

    daemon_threads = False  # server_close() waits for the answers: what was sent is then final

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.break_after: int | None = None  # bytes of the body, then the connection is closed
        self.honours_range = True
        self.range_shift = 0  # added to the place that the client asked for
        self.requests: list[tuple[str, str | None]] = []  # (path, Range)
        self.sent: list[int] = []  # bytes of each body

    @property
    def url(self) -> str:
        """The address of the folder it serves."""
        return f"http://127.0.0.1:{self.server_address[1]}/kriz"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        content, wanted = self.server.content, self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        start = 0
        if wanted and self.server.honours_range:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match is not None
            start = int(match[1]) + self.server.range_shift
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:][: self.server.break_after]
        self.server.sent.append(len(body))  # before the client can have it all and look here
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Run a server in a thread."""
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
