"""An S3 server on the loopback, so much of one as reading a corpus needs.

It keeps objects in memory, writes down every request, and breaks what it is told to break. Signatures are not
checked: a bucket called "closed" and objects called "locked.txt" answer 403 to everyone.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Request(NamedTuple):
    method: str
    key: str
    size: int  # bytes of the object that were sent


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets: dict[str, dict[str, bytes]] = {"corpora": {}, "closed": {}}
        self.requests: list[Request] = []
        self.breaks: Counter[str] = Counter()  # by key: so many answers to come are cut in the middle

    def uri(self, place: str, user: str = "") -> str:
        return f"s3://{user}{place}?endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"

    def sent(self) -> int:
        return sum(request.size for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        bucket, key, query = self._target()
        if (objects := self._objects(bucket)) is None:
            return
        if not key:
            self._list(objects, query)
        elif key.endswith("locked.txt"):
            self._refuse(403, "AccessDenied")
        elif key in objects:
            self._send(key, objects[key])
        else:
            self._refuse(404, "NoSuchKey")

    do_HEAD = do_GET

    def _target(self) -> tuple[str, str, dict[str, list[str]]]:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        return bucket, key, parse_qs(url.query, keep_blank_values=True)

    def _objects(self, bucket: str) -> dict[str, bytes] | None:
        if bucket == "closed":
            return self._refuse(403, "AccessDenied")
        if bucket not in self.server.buckets:
            return self._refuse(404, "NoSuchBucket")
        return self.server.buckets[bucket]

    def _list(self, objects: dict[str, bytes], query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        after, limit = query.get("continuation-token", [""])[0], int(query.get("max-keys", ["1000"])[0])
        names = {_upto(key, prefix, delimiter) for key in objects if key.startswith(prefix)}
        left = sorted(name for name in names if name > after)
        page, more = left[:limit], len(left) > limit
        rows = [f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>"]
        rows += [f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"] if more else []
        for name in page:
            if name in objects:
                size = f"<Size>{len(objects[name])}</Size><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
                rows.append(f"<Contents><Key>{escape(name)}</Key>{size}</Contents>")
            else:
                rows.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
        body = f"<ListBucketResult>{''.join(rows)}</ListBucketResult>"
        self._answer(200, body.encode(), {"Content-Type": "application/xml"})

    def _send(self, key: str, content: bytes) -> None:
        start, stop = 0, len(content)
        if ranged := self.headers.get("Range"):
            first, _, last = ranged.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(stop, int(last) + 1)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"} if ranged else {}
        headers |= {"ETag": '"0"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        self._answer(206 if ranged else 200, content[start:stop], headers, key)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], key: str = "") -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            body = b""
        elif key and self.server.breaks[key]:
            self.server.breaks[key] -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        if key:
            self.server.requests.append(Request(self.command, key, len(body)))


def _upto(key: str, prefix: str, delimiter: str) -> str:
    """The key, or so much of it as reaches to the first delimiter behind the prefix: a folder."""
    place = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if place < 0 else key[: place + 1]


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
