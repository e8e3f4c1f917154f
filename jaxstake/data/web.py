"""Requests to public APIs over HTTP, bounded in tries, time and size; every failure is one line that names the URL."""

from __future__ import annotations

import contextlib
import dataclasses
import http
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    import urllib3

_CHUNK = 1 << 16
_LONGEST_MESSAGE = 200


class WebError(ValueError):
    """A request that failed.

    Attributes:
        url: what was asked for.
        status: the HTTP status of the last answer; None if there was none, or its body could not be used.
    """

    def __init__(self, url: str, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.status = status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Client:
    """How requests are made.

    Attributes:
        connect_s: longest wait for a connection, seconds, per try.
        read_s: longest wait for the next bytes of an answer, seconds, per try.
        body_s: longest time for a whole body, seconds, per try.
        retries: further tries after a failed connection, a time-out, a body that is cut off, and the statuses 429 and
            500 to 599. Before the second of them there is a pause of one second, which doubles each time.
        longest_wait_s: longest pause between tries, seconds. The pause that an answer asks for with `Retry-After`
            is kept; one that is longer than this is not waited for, the request fails.
        largest_bytes: largest body.
        headers: sent with every request, such as an authorization; not shown when a client is printed.
    """

    connect_s: float = 5.0
    read_s: float = 30.0
    body_s: float = 300.0
    retries: int = 3
    longest_wait_s: float = 60.0
    largest_bytes: int = 2**31
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


DEFAULT = Client()


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a URL and not a file.

    Example:
        >>> is_url("https://relay.example"), is_url("relay.json")
        (True, False)
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def address(base: str, path: str, query: Mapping[str, object] = MappingProxyType({})) -> str:
    """The URL of a path below a base.

    Args:
        base: such as "https://relay.example"; may have a path, but no query and no user.
        path: begins with a slash.
        query: parameters; those that are None are left out, and a sequence gives one for each of its values.

    Raises:
        ValueError: the base has a query, a fragment, a user or no host.

    Example:
        >>> address("https://relay.example/", "/relay/v1", {"slot": 7, "cursor": None})
        'https://relay.example/relay/v1?slot=7'
    """
    parts = urlsplit(base)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL must have no user and no password; give them as a header")
    if parts.query or parts.fragment or not parts.hostname:
        raise ValueError(f"a base URL must be http(s)://host[:port][/path], got {base}")
    given = {name: value for name, value in query.items() if value is not None}
    return base.rstrip("/") + path + ("?" + urlencode(given, doseq=True) if given else "")


@contextlib.contextmanager
def session(client: Client = DEFAULT) -> Iterator[urllib3.PoolManager]:
    """Connections that stay open between requests, as a context."""
    import urllib3

    timeout = urllib3.Timeout(connect=client.connect_s, read=client.read_s)
    with urllib3.PoolManager(timeout=timeout) as pool:
        yield pool


def fetch(
    pool: urllib3.PoolManager,
    url: str,
    *,
    post: Sequence[str] | Mapping[str, Any] | None = None,
    client: Client = DEFAULT,
) -> bytes:
    """The body of an answer with status 200.

    Args:
        pool: from `session`.
        url: from `address`.
        post: what to post, as JSON; default a GET request.
        client: bounds of tries, time and size.

    Raises:
        WebError: no connection, no answer in time, a status other than 200 (429 and 5xx after all tries; with the
            `message` of a JSON answer), a pause asked for that is too long, a body that is cut off, too slow or too
            large.
    """
    from urllib3.exceptions import HTTPError, LocationValueError, MaxRetryError

    headers = {**client.headers, "Accept": "application/json"}
    body = None
    if post is not None:
        headers["Content-Type"], body = "application/json", json.dumps(post).encode()
    method, retries = "GET" if post is None else "POST", _retries(url, client)
    while True:
        try:
            response = pool.request(method, url, body=body, headers=headers, retries=retries, preload_content=False)
            try:
                content = _content(response, url, client)
            except HTTPError as error:  # a body that breaks off is outside of what the pool tries again
                retries = (response.retries or retries).increment(method, url, error=error)
                retries.sleep()
                continue
            finally:
                response.close()
        except MaxRetryError as error:
            raise WebError(url, _reason(error.reason or error, client)) from error
        except (HTTPError, LocationValueError) as error:
            raise WebError(url, _reason(error, client)) from error
        if response.status == 200:
            return content
        raise WebError(url, _refusal(response.status, content), status=response.status)


def _retries(url: str, client: Client) -> urllib3.Retry:
    import urllib3

    class Bounded(urllib3.Retry):
        """Refuses a pause that is too long, where its base would wait for hours."""

        def get_retry_after(self, response: Any) -> float | None:
            seconds = super().get_retry_after(response)
            if seconds is not None and seconds > client.longest_wait_s:
                wait = f"asks for a pause of {seconds:.0f} s, longer than {client.longest_wait_s:g} s"
                raise WebError(url, f"{_refusal(response.status, b'')}; it {wait}", status=response.status)
            return seconds

    return Bounded(
        total=client.retries,
        redirect=3,
        status_forcelist={429, *range(500, 600)},
        allowed_methods=None,
        raise_on_status=False,
        backoff_factor=0.5,
        backoff_max=client.longest_wait_s,
    )


def _content(response: urllib3.BaseHTTPResponse, url: str, client: Client) -> bytes:
    """The body, read as it comes so that a slow drip of bytes meets the time limit too."""
    end = time.monotonic() + client.body_s
    parts: list[bytes] = []
    size = 0
    while part := response.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > client.largest_bytes:
            raise WebError(url, f"the body is larger than {client.largest_bytes} bytes")
        if time.monotonic() > end:
            raise WebError(url, f"the body is not complete within {client.body_s:g} s, {size} bytes have come")
    return b"".join(parts)


def _refusal(status: int, content: bytes) -> str:
    """A status in words, with the message of the API if there is one."""
    known = {entry.value: entry.phrase for entry in http.HTTPStatus}
    text = f"HTTP {status} {known.get(status, '')}".rstrip()
    try:
        message = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
    return f"{text}: {' '.join(message.split())[:_LONGEST_MESSAGE]}" if isinstance(message, str) else text


def _reason(error: Exception, client: Client) -> str:
    from urllib3 import exceptions

    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return f"no connection within {client.connect_s:g} s"
    if isinstance(error, exceptions.ReadTimeoutError):
        return f"no answer within {client.read_s:g} s"
    if isinstance(error, (exceptions.NewConnectionError, exceptions.ProxyError, exceptions.SSLError)):
        cause = error.__cause__ or error
        return f"no connection: {' '.join(str(getattr(cause, 'strerror', None) or cause).split())}"
    if isinstance(error, exceptions.ProtocolError):
        return f"the answer is cut off: {' '.join(str(error).split())}"
    return f"the request failed: {' '.join(str(error).split())}"
