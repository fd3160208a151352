#!/usr/bin/env python3
"""Attacks a server's S3 door: every form of authentication, each with everything that could be wrong in it, over raw sockets
and with a signer of its own (tests/lib/s3sign.py), so that neither an SDK nor our own code tidies the requests up.

Runs against a server of its own, or against a running one when AWS_ENDPOINT_URL is set (with AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_REGION; it makes a bucket auth-probe-XXXXXXXX there and removes it at the end).
Each test prints every deviation, not only the first."""
import base64
import contextlib
import os
import re
import secrets
import socket
import sys
import time
import urllib.parse
import zlib

import harness
from harness import Failure, main, serving

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "lib"))
from s3sign import EMPTY, canonical, chunk_signature, iso, signature, signing_key, trailer_signature  # noqa: E402

UNSIGNED, CHUNKS = "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
CHUNKS_TRAILER, UNSIGNED_TRAILER = CHUNKS + "-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def sha(data):
    return harness.sha256(data)


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.1 (\d{3})", head)
        self.status = int(found.group(1)) if found else 0
        self.head = head.decode("latin-1")
        code = re.search(rb"<Code>(\w+)</Code>", self.body)
        self.code = code.group(1).decode() if code else ""

    def __str__(self):
        return f"{self.status or 'no answer'} {self.code}"


class Probe:
    """One server and one bucket in it; collects what deviates."""

    def __init__(self, endpoint, access, secret, region):
        parts = urllib.parse.urlsplit(endpoint)
        self.address, self.host = (parts.hostname, parts.port or 80), parts.netloc
        self.access, self.secret, self.region = access, secret, region
        self.bucket = "auth-probe-" + secrets.token_hex(4)
        self.failures, self.count = [], 0

    # ---- requests ----

    def send(self, method, target, headers, body=b"", half=False):
        """half: ends the sending side after the body, as a client that was cut off."""
        head = "".join(f"{n}: {v}\r\n" for n, v in headers)
        raw = f"{method} {target} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode("utf-8") + body
        got = b""
        with socket.create_connection(self.address, timeout=20) as s:
            with contextlib.suppress(OSError):  # an early refusal may reset what we still send
                s.sendall(raw)
                if half:
                    s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while data := s.recv(65536):
                    got += data
        while re.match(rb"HTTP/1\.1 100 ", got):
            got = got.partition(b"\r\n\r\n")[2]
        return Answer(got)

    def scope(self, date):
        return f"{date[:8]}/{self.region}/s3/aws4_request"

    def signed(self, method, path, query="", payload=UNSIGNED, extra=(), date=None, secret=None, access=None, **change):
        """Headers of a request signed in its header. change: authorization, unsigned (headers added after signing)."""
        date = date or iso(time.time())
        headers = [("Host", self.host), ("x-amz-date", date), ("x-amz-content-sha256", payload), *extra]
        names = sorted({n.lower() for n, v in headers})
        self.seed = signature(canonical(method, path, query, headers, names, payload), secret or self.secret, date,
                              self.scope(date))
        self.date = date
        authorization = change.get("authorization", "AWS4-HMAC-SHA256 Credential={c}, SignedHeaders={h}, Signature={s}")
        headers.append(("Authorization", authorization.format(c=f"{access or self.access}/{self.scope(date)}", h=";".join(names),
                                                              s=self.seed)))
        return headers + list(change.get("unsigned", ()))

    def call(self, method, path, query="", body=b"", payload=None, **change):
        headers = self.signed(method, path, query, payload or sha(body), **change)
        if body or method in ("PUT", "POST"):
            headers.append(("Content-Length", str(len(body))))
        return self.send(method, path + ("?" + query if query else ""), headers, body)

    def presign(self, method, path, expires=300, date=None, query=(), extra=()):
        date = date or iso(time.time())
        names = ";".join(sorted({"host", *(n.lower() for n, v in extra)}))
        params = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{self.access}/{self.scope(date)}"),
                  ("X-Amz-Date", date), ("X-Amz-Expires", str(expires)), ("X-Amz-SignedHeaders", names), *query]
        raw = "&".join(urllib.parse.quote(k, safe="") + "=" + urllib.parse.quote(v, safe="") for k, v in params)
        text = canonical(method, path, raw, [("Host", self.host), *extra], names.split(";"), UNSIGNED)
        return f"{path}?{raw}&X-Amz-Signature={signature(text, self.secret, date, self.scope(date))}"

    def key(self, name):
        return f"/{self.bucket}/{name}"

    # ---- judgement ----

    def expect(self, what, answer, status, code=None):
        self.count += 1
        statuses = status if isinstance(status, tuple) else (status,)
        if answer.status not in statuses or (code and answer.code not in (code if isinstance(code, tuple) else (code,))):
            self.failures.append(f"{what}: {answer}, expected {status} {code or ''}")
        if self.secret.encode() in answer.body:
            self.failures.append(f"{what}: the answer holds the secret key")
        if answer.status >= 400 and answer.body.startswith(b"<") and not re.search(rb"<Message>[^<]+</Message>", answer.body):
            self.failures.append(f"{what}: an empty <Message>")

    def absent(self, what, key):
        self.expect(f"{what} must leave no object", self.call("HEAD", key), 404)

    def holds(self, what, key, data):
        got = self.call("GET", key)
        self.expect(f"{what} is stored", got, 200)
        if got.status == 200 and got.body != data:
            self.failures.append(f"{what}: stored {len(got.body)} other bytes than the {len(data)} sent")

    def report(self):
        if self.failures:
            raise Failure(f"{len(self.failures)} of {self.count}\n      " + "\n      ".join(self.failures))


@contextlib.contextmanager
def probing():
    with contextlib.ExitStack() as stack:
        if "AWS_ENDPOINT_URL" in os.environ:
            p = Probe(os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"],
                      os.environ.get("AWS_REGION", "us-east-1"))
        else:
            p = Probe(stack.enter_context(serving()).endpoint, harness.ACCESS, harness.SECRET, harness.REGION)
        p.expect("making the bucket", p.call("PUT", f"/{p.bucket}"), 200)
        p.expect("putting an object", p.call("PUT", p.key("there"), body=b"hello"), 200)
        yield p
        p.holds("the object that was there", p.key("there"), b"hello")
        listing = p.call("GET", f"/{p.bucket}").body.decode()
        for found in re.findall(r"<Key>([^<]*)</Key>", listing):
            p.call("DELETE", p.key(urllib.parse.quote(found.replace("&amp;", "&"))))
        p.expect("removing the bucket", p.call("DELETE", f"/{p.bucket}"), 204)
        p.report()


# ---- every operation, every way not to be allowed ----

def operations(p):
    bucket, key = f"/{p.bucket}", p.key("there")
    rows = [("GET", "/", "")]
    rows += [("GET", bucket, q) for q in ("", "list-type=2", "location", "versions", "uploads", "acl", "policy", "cors", "tagging",
                                          "versioning", "lifecycle", "encryption", "policyStatus", "object-lock", "replication",
                                          "notification", "logging", "website", "accelerate", "requestPayment", "ownershipControls",
                                          "publicAccessBlock", "inventory", "metrics", "analytics", "intelligent-tiering")]
    rows += [("HEAD", bucket, ""), ("PUT", bucket, ""), ("PUT", bucket, "acl"), ("PUT", bucket, "policy"), ("PUT", bucket, "cors"),
             ("PUT", bucket, "versioning"), ("PUT", bucket, "lifecycle"), ("DELETE", bucket, ""), ("DELETE", bucket, "policy"),
             ("DELETE", bucket, "cors"), ("DELETE", bucket, "lifecycle"), ("DELETE", bucket, "tagging"), ("POST", bucket, "delete"),
             ("POST", bucket, "")]
    rows += [("GET", key, q) for q in ("", "acl", "tagging", "attributes", "torrent", "legal-hold", "retention", "uploadId=x", "partNumber=1",
                                       "versionId=x", "response-content-type=a")]
    rows += [("HEAD", key, ""), ("PUT", key, ""), ("PUT", key, "acl"), ("PUT", key, "tagging"), ("PUT", key, "partNumber=1&uploadId=x"),
             ("PUT", key, "retention"), ("PUT", key, "legal-hold"), ("DELETE", key, ""), ("DELETE", key, "tagging"),
             ("DELETE", key, "uploadId=x"), ("POST", key, "uploads"), ("POST", key, "uploadId=x"), ("POST", key, "restore"),
             ("POST", key, "select&select-type=2"), ("PATCH", key, ""), ("TRACE", key, "")]
    return rows


def no_operation_without_a_signature():
    with probing() as p:
        for method, path, query in operations(p):
            name = f"{method} {path}?{query}"
            target = path + ("?" + query if query else "")
            length = [("Content-Length", "0")] if method in ("PUT", "POST", "PATCH") else []
            joined = target + ("&" if query else "?")
            refusals = (400, 403, 405, 501)
            p.expect(f"{name}, anonymous", p.send(method, target, [("Host", p.host)] + length), refusals)
            p.expect(f"{name}, copy, anonymous", p.send(method, target, [
                ("Host", p.host), ("x-amz-copy-source", f"/{p.bucket}/there")] + length), refusals)
            wrong = p.signed(method, path, query, secret="guess")
            p.expect(f"{name}, wrong secret", p.send(method, target, wrong + length), refusals)
            made_up = p.signed(method, path, query, UNSIGNED_TRAILER, secret="guess")
            p.expect(f"{name}, unsigned trailer with a made-up signature", p.send(method, target, made_up + length), refusals)
            p.expect(f"{name}, unsigned trailer, no authorization, a credential in the query", p.send(
                method, joined + f"X-Amz-Credential={p.access}%2F{p.scope(p.date).replace('/', '%2F')}",
                [("Host", p.host), ("x-amz-content-sha256", UNSIGNED_TRAILER), ("x-amz-date", p.date)] + length), refusals)
            p.expect(f"{name}, streaming headers only", p.send(method, target, [
                ("Host", p.host), ("x-amz-content-sha256", CHUNKS), ("x-amz-date", p.date)] + length), refusals)
            p.expect(f"{name}, SigV2", p.send(method, target, [
                ("Host", p.host), ("Authorization", f"AWS {p.access}:frJIUN8DYpKDtOLCwo//yllqDzg=")] + length), refusals)
            p.expect(f"{name}, SigV2 in the query", p.send(
                method, joined + f"AWSAccessKeyId={p.access}&Signature=x&Expires=9999999999", [("Host", p.host)] + length), refusals)
            p.expect(f"{name}, bearer", p.send(method, target, [
                ("Host", p.host), ("Authorization", f"Bearer {harness.ADMIN}")] + length), refusals)
            presigned = p.presign(method, path, query=[tuple(q.split("=", 1)) if "=" in q else (q, "") for q in query.split("&") if q])
            p.expect(f"{name}, presigned and tampered", p.send(method, presigned[:-1] + ("0" if presigned[-1] != "0" else "1"),
                                                              [("Host", p.host)] + length), refusals)


def preflights_tell_nothing():
    """OPTIONS needs no signature (browsers cannot sign a preflight), so it must answer alike whatever is there."""
    with probing() as p:
        answers = set()
        for path in (p.key("there"), p.key("absent"), "/no-such-bucket/there"):
            answer = p.send("OPTIONS", path, [("Host", p.host), ("Origin", "https://x.example"), ("Access-Control-Request-Method", "PUT")])
            head = re.sub(r"(?mi)^(date|x-amz-[-a-z0-9]*id[-a-z0-9]*|x-request-id):.*\r?$", "", answer.head)
            answers.add((answer.status, head, re.sub(rb"<(RequestId|Resource)>[^<]*", b"", answer.body)))
        p.expect("preflight", answer, (200, 204, 403))
        if len(answers) != 1:
            p.failures.append(f"preflights differ: {answers}")


def no_door_beside():
    with probing() as p:
        for path in ["/metrics", "/debug/pprof/", "/v1/users", "/v1/status", "/admin", "/minio/bootstrap/v1/verify", "/minio/admin/v3/info",
                     "/openapi.json", "/rpc", "/.well-known/x", "/t/", "/t/x/y", "//", "/%2e%2e/", "/..", "/../../etc/passwd"]:
            answer = p.send("GET", path, [("Host", p.host)])
            p.expect(f"GET {path}, anonymous", answer, (400, 401, 403, 404, 405))


# ---- the signature in the header ----

def tampered_headers():
    with probing() as p:
        path = p.key("there")
        p.expect("good", p.send("GET", path, p.signed("GET", path)), 200)
        clock = time.time()
        for name, kw, status, code in [
            ("15 minutes slow", {"date": iso(clock - 880)}, 200, None), ("15 minutes fast", {"date": iso(clock + 880)}, 200, None),
            ("too slow", {"date": iso(clock - 1000)}, 403, "RequestTimeTooSkewed"),
            ("too fast", {"date": iso(clock + 1000)}, 403, "RequestTimeTooSkewed"),
            ("last year", {"date": iso(clock - 366 * 86400)}, 403, "RequestTimeTooSkewed"),
            ("wrong secret", {"secret": "x"}, 403, "SignatureDoesNotMatch"),
            ("unknown key", {"access": "AKIANOBODY"}, 403, "InvalidAccessKeyId"),
            ("an added x-amz header", {"unsigned": [("x-amz-acl", "public-read")]}, 403, "AccessDenied"),
            ("a second Host", {"unsigned": [("Host", "evil")]}, 400, None),
            ("a session token", {"extra": [("x-amz-security-token", "t")]}, 400, "InvalidToken"),
            ("an ECDSA payload", {"payload": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, 501, "NotImplemented"),
            ("a payload word of its own", {"payload": "TRUST-ME"}, 400, "InvalidArgument"),
            ("two of them", {"unsigned": [("Authorization", "AWS4-HMAC-SHA256 x")]}, 400, "AuthorizationHeaderMalformed"),
            ("garbage", {"authorization": "AWS4-HMAC-SHA256 garbage"}, 400, "AuthorizationHeaderMalformed"),
            ("nothing but the algorithm", {"authorization": "AWS4-HMAC-SHA256"}, 400, "InvalidArgument"),
            ("a long one", {"authorization": "AWS4-HMAC-SHA256 " + "a" * 7000}, (400, 431), None),
        ]:
            payload = kw.pop("payload", UNSIGNED)
            p.expect(name, p.send("GET", path, p.signed("GET", path, "", payload, **kw)), status, code)
        good = p.signed("GET", path)
        for changed, want in (("PUT", 403), ("DELETE", 403), ("HEAD", 403)):
            p.expect(f"a GET's signature on {changed}", p.send(changed, path, good + [("Content-Length", "0")]), want)
        p.expect("another key's path", p.send("GET", p.key("other"), good), 403, "SignatureDoesNotMatch")
        p.expect("a query added", p.send("GET", path + "?acl", good), 403, "SignatureDoesNotMatch")
        p.expect("another Host", p.send("GET", path, [("Host", "evil:1")] + good[1:]), 403, "SignatureDoesNotMatch")
        p.expect("the other region", p.send("GET", path, [
            (n, v.replace(f"/{p.region}/", "/mars-1/")) for n, v in good]), 400, "AuthorizationHeaderMalformed")


def raw_paths():
    with probing() as p:
        for raw in ["a%20b", "a+b", "a%2Bb", "%E2%82%AC", "x//y", "x/./y", "x/../y", "..%2F..%2Fz", "%2e%2e/z", "x%2Fy", "tail/", "%25", "%2525",
                    "a%3Fb", "~", "a%0Ab", "k" * 1000]:
            data = raw.encode()
            p.expect(f"PUT {raw[:40]}", p.call("PUT", p.key(raw), body=data), 200)
            p.holds(f"{raw[:40]}", p.key(raw), data)
            p.expect(f"DELETE {raw[:40]}", p.call("DELETE", p.key(raw)), 204)
        p.expect("an over-long key", p.call("PUT", p.key("k" * 1025), body=b"x"), 400, "KeyTooLongError")
        for raw in ["%", "%zz", "%0", "a%00b"]:
            p.expect(f"PUT {raw}", p.call("PUT", p.key(raw), body=b"x"), 400)


# ---- presigned ----

def presigned_urls():
    with probing() as p:
        path, host = p.key("there"), [("Host", p.host)]
        good = p.presign("GET", path)
        now = time.time()
        p.expect("good", p.send("GET", good, host), 200)
        for method in ("PUT", "HEAD", "DELETE", "POST"):
            p.expect(f"a GET's URL used for {method}", p.send(method, good, host + [("Content-Length", "0")]), (403, 405))
        old = p.presign("GET", path, expires=60, date=iso(now - 120))
        p.expect("expired", p.send("GET", old, host), 403, "AccessDenied")
        p.expect("its expiry moved", p.send("GET", old.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"), host), 403, "SignatureDoesNotMatch")
        p.expect("not yet valid", p.send("GET", p.presign("GET", path, date=iso(now + 3600)), host), 403, "AccessDenied")
        for bad in (0, -1, 604801, "x", "", "99999999999999999999"):
            p.expect(f"expires {bad!r}", p.send("GET", p.presign("GET", path, expires=bad), host), 400, "AuthorizationQueryParametersError")
        p.expect("a week", p.send("GET", p.presign("GET", path, expires=604800), host), 200)
        p.expect("a parameter added", p.send("GET", good + "&versionId=x", host), 403, "SignatureDoesNotMatch")
        p.expect("a signature twice", p.send("GET", good + "&X-Amz-Signature=" + "0" * 64, host), 400, "AuthorizationQueryParametersError")
        p.expect("an override added", p.send("GET", good + "&response-content-type=text%2Fhtml", host), 403, "SignatureDoesNotMatch")
        p.expect("an x-amz header added", p.send("GET", good, host + [("x-amz-acl", "private")]), 403, "AccessDenied")
        p.expect("with an Authorization header, too", p.send("GET", good, p.signed("GET", path)), 400, "InvalidArgument")
        p.expect("another Host", p.send("GET", good, [("Host", "evil")]), 403, "SignatureDoesNotMatch")
        for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"):
            without = re.sub(rf"[?&]X-Amz-{name}=[^&]*", "", good).replace("there&", "there?", 1)
            p.expect(f"without {name}", p.send("GET", without, host), 400, "AuthorizationQueryParametersError")
        p.expect("PUT", p.send("PUT", p.presign("PUT", p.key("new")), host + [("Content-Length", "3")], b"new"), 200)
        p.holds("presigned PUT", p.key("new"), b"new")
        stream = p.presign("PUT", p.key("stream"), extra=[("x-amz-content-sha256", UNSIGNED_TRAILER)])
        p.expect("PUT of an unsigned trailer", p.send("PUT", stream, host + [
            ("x-amz-content-sha256", UNSIGNED_TRAILER), ("Content-Length", "5")], b"0\r\n\r\n"), (400, 403, 501))
        p.absent("a presigned stream", p.key("stream"))


# ---- bodies ----

def chunks_of(p, data, size=8192, sign=True):
    """(lines and data, last signature): aws-chunked without its end."""
    key, scope = signing_key(p.secret, p.scope(p.date)), p.scope(p.date)
    previous, out = p.seed, []
    for part in [data[i:i + size] for i in range(0, len(data), size)] + [b""]:
        previous = chunk_signature(key, p.date, scope, previous, part)
        line = f"{len(part):x};chunk-signature={previous}\r\n" if sign else f"{len(part):x}\r\n"
        out.append(line.encode() + (part + b"\r\n" if part else b""))
    return out, previous


def stream(p, name, payload, body, status, code=None, data=None, length=None, decoded=None, trailer=None, drop=(), half=False, te=False):
    """body: a function of (p) that makes the encoded body once the seed is known."""
    key = p.key(name.replace(" ", "-").replace(",", ""))
    extra = [("Content-Encoding", "aws-chunked"), ("x-amz-decoded-content-length", str(decoded))]
    if trailer:
        extra.append(("x-amz-trailer", trailer))
    headers = p.signed("PUT", key, "", payload, extra=[h for h in extra if h[0] not in drop])
    raw = body(p)
    if te:
        headers.append(("Transfer-Encoding", "chunked"))
        raw = b"".join(b"%x\r\n%s\r\n" % (len(raw[i:i + 1000]), raw[i:i + 1000]) for i in range(0, len(raw), 1000)) + b"0\r\n\r\n"
    else:
        headers.append(("Content-Length", str(len(raw) if length is None else length)))
    p.expect(f"{payload}, {name}", p.send("PUT", key, headers, raw, half), status, code)
    if data is None:
        p.absent(f"{payload}, {name}", key)
    else:
        p.holds(f"{payload}, {name}", key, data)


def signed_chunks():
    with probing() as p:
        data = harness.random_bytes(20000)
        good = lambda q: b"".join(chunks_of(q, data)[0]) + b"\r\n"

        def flip(at):
            def make(q):
                raw = bytearray(good(q))
                raw[at] ^= 1
                return bytes(raw)
            return make

        def parts(order, end=b"\r\n"):
            return lambda q: b"".join(chunks_of(q, data)[0][i] for i in order) + end

        sized = {"decoded": len(data)}
        stream(p, "good", CHUNKS, good, 200, data=data, **sized)
        stream(p, "good, chunked transfer", CHUNKS, good, 200, data=data, te=True, **sized)
        stream(p, "a byte changed", CHUNKS, flip(5000), 403, "SignatureDoesNotMatch", **sized)
        stream(p, "a byte of the last chunk changed", CHUNKS, flip(20000), 403, "SignatureDoesNotMatch", **sized)
        stream(p, "a digit of a signature changed", CHUNKS, flip(30), (400, 403), **sized)
        stream(p, "a chunk dropped", CHUNKS, parts([0, 2, 3]), 403, "SignatureDoesNotMatch", **sized)
        stream(p, "chunks swapped", CHUNKS, parts([1, 0, 2, 3]), 403, "SignatureDoesNotMatch", **sized)
        stream(p, "a chunk twice", CHUNKS, parts([0, 0, 1, 2, 3]), 403, "SignatureDoesNotMatch", **sized)
        stream(p, "no last chunk", CHUNKS, parts([0, 1, 2], b""), 400, "IncompleteBody", **sized)
        stream(p, "bytes after the end", CHUNKS, parts([0, 1, 2, 3], b"\r\nmore"), 400, **sized)
        stream(p, "a second stream after the end", CHUNKS, lambda q: good(q) + good(q), 400, **sized)
        stream(p, "no chunks at all", CHUNKS, lambda q: data, 400, **sized)
        stream(p, "unsigned chunks", CHUNKS, lambda q: b"".join(chunks_of(q, data, sign=False)[0]) + b"\r\n", 400, **sized)
        stream(p, "a size far above the data", CHUNKS, lambda q: good(q).replace(b"2000;", b"3fffff0;", 1), (400, 403), **sized)
        stream(p, "a size beyond 64 bits", CHUNKS, lambda q: b"f" * 17 + good(q), 400, **sized)
        stream(p, "an endless size line", CHUNKS, lambda q: b"0" * 100000, 400, **sized)
        stream(p, "an endless extension", CHUNKS, lambda q: b"5;" + b"x" * 100000, 400, **sized)
        stream(p, "fewer bytes than declared", CHUNKS, good, 400, decoded=len(data) + 1)
        stream(p, "more bytes than declared", CHUNKS, good, 400, decoded=len(data) - 1)
        stream(p, "a declared length that is none", CHUNKS, good, 400, decoded="x")
        stream(p, "a connection that ends early", CHUNKS, lambda q: good(q)[:9000], (0, 400), length=len(good(p)), half=True, **sized)
        for seed in ("0" * 64, "f" * 64):
            def other(q, seed=seed):
                q.seed = seed
                return good(q)
            stream(p, f"chained from {seed[:4]}", CHUNKS, other, 403, "SignatureDoesNotMatch", **sized)


def trailers():
    with probing() as p:
        data = harness.random_bytes(20000)
        right, wrong = crc32(data), crc32(b"x")

        def unsigned(value=right, name="x-amz-checksum-crc32", end=b"\r\n", more=b""):
            return lambda q: (b"".join(chunks_of(q, data, sign=False)[0]) + (f"{name}:{value}\r\n".encode() if value else b"")
                              + more + end)

        def signed(value=right, name="x-amz-checksum-crc32", sent=None, sign=None, send_signature=True):
            def make(q):
                parts, last = chunks_of(q, data)
                sig = sign or trailer_signature(signing_key(q.secret, q.scope(q.date)), q.date, q.scope(q.date), last, [(name, value)])
                lines = f"{name}:{sent or value}\r\n" + (f"x-amz-trailer-signature:{sig}\r\n" if send_signature else "")
                return b"".join(parts) + lines.encode() + b"\r\n"
            return make

        kw = {"decoded": len(data), "trailer": "x-amz-checksum-crc32"}
        for payload, make in ((UNSIGNED_TRAILER, unsigned), (CHUNKS_TRAILER, signed)):
            stream(p, "good", payload, make(), 200, data=data, **kw)
            stream(p, "good, chunked transfer", payload, make(), 200, data=data, te=True, **kw)
            stream(p, "a wrong checksum", payload, make(wrong), 400, "BadDigest", **kw)
            stream(p, "a malformed checksum", payload, make("AAAA"), 400, **kw)
            stream(p, "another checksum than announced", payload, make(name="x-amz-checksum-crc32c"), 400, **kw)
            stream(p, "more bytes than declared", payload, make(), 400, decoded=len(data) - 1, trailer=kw["trailer"])
            stream(p, "fewer bytes than declared", payload, make(), 400, decoded=len(data) + 1, trailer=kw["trailer"])
        stream(p, "good, no Content-Length, no declared length", UNSIGNED_TRAILER, unsigned(), (200, 411), te=True,
               drop=("x-amz-decoded-content-length",), data=data, **kw)
        stream(p, "no trailer", UNSIGNED_TRAILER, unsigned(value=None), 400, **kw)
        stream(p, "no end", UNSIGNED_TRAILER, unsigned(end=b""), 400, "IncompleteBody", **kw)
        stream(p, "bytes after the end", UNSIGNED_TRAILER, unsigned(end=b"\r\nmore"), 400, **kw)
        stream(p, "endless trailers", UNSIGNED_TRAILER, unsigned(more=b"x:" + b"y" * 100000), 400, **kw)
        stream(p, "many trailers", UNSIGNED_TRAILER, unsigned(more=b"".join(b"x%d:y\r\n" % i for i in range(1000))), 400, **kw)
        stream(p, "a size far above the data", UNSIGNED_TRAILER, lambda q: b"fffffffff\r\n" + data + b"\r\n0\r\n\r\n", 400, "IncompleteBody", **kw)
        stream(p, "a checksum changed after signing", CHUNKS_TRAILER, signed(sent=wrong), 403, "SignatureDoesNotMatch", **kw)
        stream(p, "a made-up trailer signature", CHUNKS_TRAILER, signed(sign="a" * 64), 403, "SignatureDoesNotMatch", **kw)
        stream(p, "no trailer signature", CHUNKS_TRAILER, signed(send_signature=False), 400, **kw)


def plain_bodies():
    with probing() as p:
        put = lambda name, payload, body=b"hello", **kw: p.call("PUT", p.key(name), body=body, payload=payload, **kw)
        p.expect("unsigned payload", put("unsigned", UNSIGNED), 200)
        p.expect("the hash of other bytes", put("other", sha(b"other")), 400, "XAmzContentSHA256Mismatch")
        p.expect("the hash of nothing", put("nothing", EMPTY), 400, "XAmzContentSHA256Mismatch")
        p.expect("a wrong Content-MD5", put("md5", UNSIGNED, extra=[("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")]), 400, "BadDigest")
        p.expect("a malformed Content-MD5", put("md5bad", UNSIGNED, extra=[("Content-MD5", "x")]), 400, "InvalidDigest")
        p.expect("a wrong checksum", put("crc", UNSIGNED, extra=[("x-amz-checksum-crc32", crc32(b"x"))]), 400, "BadDigest")
        p.expect("two checksums", put("two", UNSIGNED, extra=[("x-amz-checksum-crc32", crc32(b"hello")), (
            "x-amz-checksum-sha256", base64.b64encode(bytes.fromhex(sha(b"hello"))).decode())]), 400, "InvalidRequest")
        for name in ("other", "nothing", "md5", "md5bad", "crc", "two"):
            p.absent(name, p.key(name))
        p.expect("delete many, the hash of other bytes", p.call(
            "POST", f"/{p.bucket}", "delete", body=b"<Delete><Object><Key>there</Key></Object></Delete>", payload=sha(b"x")), 400)
        p.expect("a copy of a bucket that is not ours to read", p.call(
            "PUT", p.key("copy"), extra=[("x-amz-copy-source", "/no-such-bucket-here/x")]), 404)
        p.expect("an empty copy source", p.call("PUT", p.key("copy"), extra=[("x-amz-copy-source", "")]), 400)


if __name__ == "__main__":
    main(no_operation_without_a_signature, preflights_tell_nothing, no_door_beside, tampered_headers, raw_paths, presigned_urls, signed_chunks, trailers,
         plain_bodies)
