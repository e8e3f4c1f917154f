"""Requests against a server that fails in every way: what is tried again, for how long, and what the error says."""

from __future__ import annotations

import re
import socket
import time

import pytest

from jaxstake.data import web

QUICK = web.Client(connect_s=1.0, read_s=0.2, body_s=1.0, retries=1, longest_wait_s=2.0)


def fetch(url: str, client: web.Client = QUICK, **options: object) -> bytes:
    with web.session(client) as pool:
        return web.fetch(pool, url, client=client, **options)


def refused(url: str, message: str, client: web.Client = QUICK) -> web.WebError:
    """The error, which is one line that begins with the URL."""
    with pytest.raises(web.WebError, match=re.escape(message)) as caught:
        fetch(url, client)
    text = str(caught.value)
    assert text.startswith(f"{url}: ")
    assert "\n" not in text
    assert "object at 0x" not in text
    assert caught.value.url == url
    return caught.value


def test_gets_a_body(server) -> None:
    server.replies(server.Reply(body=b"[1, 2]"))
    assert fetch(f"{server.url}/list?a=1") == b"[1, 2]"
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query, asked.body) == ("GET", "/list", {"a": ["1"]}, b"")
    assert asked.headers["Accept"] == "application/json"


def test_gets_an_empty_and_a_chunked_and_a_large_body(server) -> None:
    large = bytes(range(256)) * 4096
    server.replies(server.Reply(), server.Reply(body=b"abc", chunked=True), server.Reply(body=large))
    assert [fetch(server.url) for _ in range(3)] == [b"", b"abc", large]


def test_posts_json_and_headers(server) -> None:
    server.replies(server.Reply(body=b"{}"))
    client = web.Client(headers={"Authorization": "Bearer abc"})
    fetch(server.url, client, post=["1", "2"])
    (asked,) = server.asked
    assert (asked.method, asked.body, asked.headers["Content-Type"]) == ("POST", b'["1", "2"]', "application/json")
    assert asked.headers["Authorization"] == "Bearer abc"
    assert "abc" not in repr(client)


def test_one_connection_serves_many_requests(server) -> None:
    server.replies(server.Reply(body=b"{}"))
    with web.session(QUICK) as pool:
        for _ in range(3):
            web.fetch(pool, server.url, client=QUICK)
        (connections,) = map(pool.pools.get, pool.pools.keys())
        assert connections.num_connections == 1
        assert connections.num_requests == 3


def test_waits_as_long_as_the_server_asks(server) -> None:
    server.replies(server.Reply(status=429, headers={"Retry-After": "1"}), server.Reply(body=b"[]"))
    assert fetch(server.url) == b"[]"
    first, second = server.asked
    assert 1.0 <= second.at - first.at < 1.9


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_tries_again_once(server, status: int) -> None:
    server.replies(server.Reply(status=status), server.Reply(body=b"[]"))
    assert fetch(server.url) == b"[]"
    assert len(server.asked) == 2


def test_tries_a_post_again(server) -> None:
    server.replies(server.Reply(status=503), server.Reply(body=b"{}", cut=1), server.Reply(body=b"{}"))
    assert fetch(server.url, web.Client(retries=2, longest_wait_s=0.1), post=["1"]) == b"{}"
    assert [asked.body for asked in server.asked] == [b'["1"]'] * 3


def test_too_many_requests_for_ever(server) -> None:
    server.replies(server.Reply(status=429, headers={"Retry-After": "0"}, body={"message": "slow\ndown"}))
    client = web.Client(retries=2, longest_wait_s=0.1)
    error = refused(server.url, "HTTP 429 Too Many Requests: slow down", client)
    assert error.status == 429
    assert len(server.asked) == 3


def test_a_pause_that_is_too_long_is_not_waited_for(server) -> None:
    server.replies(server.Reply(status=429, headers={"Retry-After": "3600"}))
    start = time.monotonic()
    error = refused(server.url, "HTTP 429 Too Many Requests; it asks for a pause of 3600 s, longer than 2 s")
    assert time.monotonic() - start < 1.0
    assert error.status == 429
    assert len(server.asked) == 1


def test_a_pause_that_cannot_be_read(server) -> None:
    server.replies(server.Reply(status=503, headers={"Retry-After": "soon"}))
    refused(server.url, "Invalid Retry-After header: soon")


@pytest.mark.parametrize(
    ("status", "body", "message", "tries"),
    [
        (400, {"code": 400, "message": "cannot specify both slot and cursor"}, "HTTP 400 Bad Request: cannot spec", 1),
        (404, b"not json", "HTTP 404 Not Found", 1),
        (404, ["list"], "HTTP 404 Not Found", 1),
        (404, {"message": 5}, "HTTP 404 Not Found", 1),
        (404, b"[" * 100_000, "HTTP 404 Not Found", 1),
        (404, {"message": "x" * 1000}, "HTTP 404 Not Found: " + "x" * 200, 1),
        (500, {"message": "internal server error"}, "HTTP 500 Internal Server Error: internal server error", 2),
        (204, b"", "HTTP 204 No Content", 1),
        (299, b"", "HTTP 299", 1),
    ],
)
def test_other_statuses(server, status: int, body: object, message: str, tries: int) -> None:
    server.replies(server.Reply(status=status, body=body))
    error = refused(server.url, message)
    assert error.status == status
    assert len(server.asked) == tries
    assert len(str(error)) < 300


def test_follows_a_redirect_but_not_for_ever(server) -> None:
    there = server.Reply(status=302, headers={"Location": "/there"})
    server.replies(there, server.Reply(body=b"[]"))
    assert fetch(server.url) == b"[]"
    assert server.asked[1].path == "/there"
    server.replies(there)
    refused(server.url, "too many redirects")


def test_no_answer_in_time(server) -> None:
    server.replies(server.Reply(delay=5.0))
    start = time.monotonic()
    assert refused(server.url, "no answer within 0.2 s").status is None
    assert time.monotonic() - start < 2.0
    assert len(server.asked) == 2


def test_slow_once(server) -> None:
    server.answer = lambda _: server.Reply(body=b"[]", delay=5.0 if len(server.asked) == 1 else 0.0)
    assert fetch(server.url) == b"[]"


def test_a_drip_of_bytes_meets_the_time_limit(server) -> None:
    """Each byte comes in time, all of them never would."""
    server.replies(server.Reply(body=b"x" * 10_000, drip=0.1))
    start = time.monotonic()
    refused(server.url, "the body is not complete within 1 s")
    assert time.monotonic() - start < 3.0


def test_a_body_that_stops(server) -> None:
    """The headers come, then nothing."""
    server.replies(server.Reply(body=b"x" * 100, drip=5.0))
    refused(server.url, "no answer within 0.2 s")
    assert len(server.asked) == 2


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 40])
def test_a_body_that_is_cut_off(server, chunked: bool, cut: int) -> None:
    server.replies(server.Reply(body=b"x" * 100, cut=cut, chunked=chunked))
    refused(server.url, "the answer is cut off")
    assert len(server.asked) == 2


def test_cut_off_once(server) -> None:
    server.replies(server.Reply(body=b"[1, 2]", cut=3), server.Reply(body=b"[1, 2]"))
    assert fetch(server.url) == b"[1, 2]"


def test_a_body_that_is_too_large(server) -> None:
    server.replies(server.Reply(body=b"x" * 1001))
    refused(server.url, "the body is larger than 1000 bytes", web.Client(largest_bytes=1000))
    assert len(fetch(server.url, web.Client(largest_bytes=1001))) == 1001


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_connection_refused() -> None:
    assert refused(f"http://127.0.0.1:{free_port()}", "no connection: Connection refused").status is None


def test_no_such_host() -> None:
    refused("http://nowhere.invalid", "no connection: ")


def test_no_connection_in_time() -> None:
    """A listener whose queue is full answers no further connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        name = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(name)
            refused(f"http://127.0.0.1:{name[1]}", "no connection within 0.2 s", web.Client(connect_s=0.2, retries=0))
        finally:
            for one in waiting:
                one.close()


def test_what_speaks_no_http(server) -> None:
    refused(server.url.replace("http:", "https:"), "no connection: ", web.Client(retries=0))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("https://relay.example?key=1", "a base URL must be http(s)://host[:port][/path], got https://relay.example?"),
        ("https://relay.example#part", "a base URL must be http(s)://host"),
        ("https://", "a base URL must be http(s)://host"),
        ("https:///path", "a base URL must be http(s)://host"),
        ("https://user:secret@relay.example", "a base URL must have no user and no password"),
    ],
)
def test_base_urls_that_are_none(base: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        web.address(base, "/path")
    assert "secret" not in str(caught.value)


def test_addresses() -> None:
    assert web.address("http://host:1/pre/", "/a", {"id": ["1", "2"], "x": None}) == "http://host:1/pre/a?id=1&id=2"
    assert web.address("http://host", "/a", {"q": "a&b"}) == "http://host/a?q=a%26b"
    assert [web.is_url(one) for one in ("HTTP://x", "https://x", "ftp://x", "http.json")] == [True, True, False, False]
