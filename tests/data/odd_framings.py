"""What Python's http.client may send and must be able to read, on as few connections as possible."""

import http.client
import io
import sys

host, port = sys.argv[1].split(":")
BODY = open(sys.argv[2], "rb").read()


def connect():
    return http.client.HTTPConnection(host, int(port), timeout=20)


def ask(connection, method, path, body=None, headers={}, **options):
    connection.request(method, path, body, headers, **options)
    answer = connection.getresponse()
    return answer, answer.read()


def check(condition, what):
    if not condition:
        sys.exit(f"not so: {what}")


kept = connect()
kept.connect()
socket = kept.sock
# Bodies of all framings, which nobody needs, and the next answer is the next request's.
bodies = [None, b"", b"abc", io.BytesIO(b"abc" * 1000), iter([b"abc", b"", b"defg"])]
for body in bodies:
    answer, text = ask(kept, "GET", "/a.txt", body)
    check((answer.status, text) == (200, BODY), f"GET with {body!r}")
answer, text = ask(kept, "GET", "/a.txt", [b"x" * 100, b"y"], {"Transfer-Encoding": "chunked"}, encode_chunked=True)
check((answer.status, text) == (200, BODY), "chunks that it encodes")
for method in ["POST", "PUT", "DELETE", "PATCH"]:
    answer, _ = ask(kept, method, "/a.txt", b"abc")
    check((answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS"), method)
answer, text = ask(kept, "HEAD", "/a.txt")
check((answer.status, answer.length, text) == (200, 0, b""), "HEAD")
check(answer.headers["Content-Length"] == str(len(BODY)), "HEAD has the length")
answer, text = ask(kept, "OPTIONS", "*")
check((answer.status, text) == (204, b""), "OPTIONS")
answer, text = ask(kept, "GET", "/a.txt", headers={"Range": "bytes=1-3"})
check((answer.status, text) == (206, BODY[1:4]), "a part")
etag = answer.headers["ETag"]
answer, text = ask(kept, "GET", "/a.txt", headers={"If-None-Match": etag})
check((answer.status, text, answer.headers["ETag"]) == (304, b"", etag), "unchanged")
answer, _ = ask(kept, "GET", "/folder")
check((answer.status, answer.headers["Location"]) == (301, "/folder/"), "a redirect")
check(kept.sock is socket, "all of that on one connection")

# A header that it does not put together itself: two hosts, none, several values.
broken = connect()
broken.putrequest("GET", "/a.txt", skip_host=True)
broken.putheader("Host", "a")
broken.putheader("Host", "b")
broken.endheaders()
answer = broken.getresponse()
check((answer.status, answer.will_close) == (400, True), "two hosts")
broken = connect()
broken.putrequest("GET", "/a.txt", skip_accept_encoding=True)
broken.putheader("X-Folded", "a", "b")
broken.endheaders()
check(broken.getresponse().status == 400, "a folded field")
answer, _ = ask(connect(), "GET", "/a.txt", headers={"X-Large": "x" * 30000})
check((answer.status, answer.will_close) == (431, True), "a large field")
answer, _ = ask(connect(), "POST", "/a.txt", b"x" * 3_000_000)
check(answer.status == 413, "a large body")

# HTTP/1.0, which it can speak as well.
old = connect()
old._http_vsn, old._http_vsn_str = 10, "HTTP/1.0"
answer, text = ask(old, "GET", "/a.txt")
check((answer.status, text, answer.will_close) == (200, BODY, True), "HTTP/1.0")
answer, text = ask(old, "GET", "/a.txt", headers={"Connection": "keep-alive"})
check((text, answer.headers["Connection"], answer.will_close) == (BODY, "keep-alive", False), "1.0 that keeps")
