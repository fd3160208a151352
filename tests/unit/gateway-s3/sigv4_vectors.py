#!/usr/bin/python3
"""Writes sigv4_vectors.h: requests signed by botocore, and requests that must be refused, signed by
tests/lib/s3sign.py (a second, independent implementation, itself compared with botocore here). Run by hand when the list changes:
    python3 tests/unit/gateway-s3/sigv4_vectors.py > tests/unit/gateway-s3/sigv4_vectors.h
"""
import calendar, datetime, random, sys, time
from pathlib import Path
from unittest import mock
from urllib.parse import quote, quote_from_bytes
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

sys.path.insert(0, str(Path(__file__).parents[2] / "lib"))
from s3sign import EMPTY, canonical, iso, signature

AK, SK = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW = "20260102T030405Z"
HOST = "127.0.0.1:9000"


def unix(text):
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


rows = []


def emit(name, want, method, target, headers, now=NOW, message=""):
    text = "\n".join([f"{method} {target}"] + [f"{n}: {v}" for n, v in headers])
    rows.append((name, want, unix(now) if isinstance(now, str) else now, text, message))


# ---- signed by botocore ----

class FrozenDate(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return cls.strptime(NOW, "%Y%m%dT%H%M%SZ")


def botocore_header(name, method, target, headers=(), body=b"", host=HOST):
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers), data=body)
    with mock.patch.object(botocore.auth.datetime, "datetime", FrozenDate):
        botocore.auth.S3SigV4Auth(Credentials(AK, SK), "s3", "us-east-1").add_auth(request)
    sent = [("Host", host)] + list(request.headers.items())
    emit(name, "OK", method, target, sent)
    path, _, query = target.partition("?")
    signed = request.headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    text = canonical(method, path, query, sent, signed, request.headers["X-Amz-Content-SHA256"])
    mine = signature(text, SK, NOW, f"{NOW[:8]}/us-east-1/s3/aws4_request")
    assert request.headers["Authorization"].endswith(mine), name


def botocore_query(name, method, target, headers=(), expires=3600, now=NOW, host=HOST):
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers))
    with mock.patch.object(botocore.auth.datetime, "datetime", FrozenDate):
        botocore.auth.S3SigV4QueryAuth(Credentials(AK, SK), "s3", "us-east-1", expires=expires).add_auth(request)
    emit(name, "OK", method, request.url[len("http://" + host):], [("Host", host)] + list(headers), now)


def botocore_all():
    targets = ["/", "/bucket", "/bucket/", "/bucket/key", "/bucket//", "/bucket//a//b", "/bucket/./a/../b", "/bucket/..",
               "/bucket/a%20b", "/bucket/a%2Bb", "/bucket/a%25b", "/bucket/a%2525b", "/bucket/a%3Fb%23c", "/bucket/%E2%82%AC",
               "/bucket/%F0%9F%98%80/x", "/bucket/~a-b_c.d", "/bucket/%21%22%24%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%40%5B%5C%5D",
               "/bucket/a%0Ab", "/bucket/trailing/", "/bucket/%C3%A9%CC%81", "/bucket/" + "k" * 900]
    for t in targets:
        botocore_header(f"botocore GET {t[:60]}", "GET", t)
    queries = ["acl", "acl=", "uploads", "list-type=2&prefix=a%2Fb&delimiter=%2F", "prefix=&marker=", "b=2&a=1", "a=2&a=1",
               "prefix=a%20b%2Bc", "a-b=1&a=2&a.b=3&A=4", "partNumber=1&uploadId=x%2By%3D%3D", "prefix=%E2%82%AC",
               "response-content-disposition=attachment%3B%20filename%3D%22x%20y.mp4%22", "x=%25", "q=~-._"]
    for q in queries:
        botocore_header(f"botocore GET ?{q}", "GET", "/bucket?" + q)
    botocore_header("botocore PUT", "PUT", "/bucket/key", [("Content-Type", "text/plain")], b"hello")
    botocore_header("botocore PUT with metadata", "PUT", "/bucket/key",
                    [("x-amz-meta-a", "  two   inner  spaces "), ("X-Amz-Meta-B", "caf\u00e9"[:3]), ("x-amz-meta-empty", ""),
                     ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), ("Cache-Control", "max-age=1,  public")], b"hello")
    botocore_header("botocore POST", "POST", "/bucket?delete", [("Content-Type", "application/xml")], b"<Delete/>")
    botocore_header("botocore DELETE", "DELETE", "/bucket/key")
    botocore_header("botocore HEAD", "HEAD", "/bucket/key", [("Range", "bytes=0-1")])
    botocore_header("botocore virtual host", "GET", "/key", host="bucket.s3.example:9000")
    botocore_header("botocore with a colon in the host", "GET", "/key", host="[::1]:9000")
    botocore_header("botocore unsigned payload", "PUT", "/bucket/key", [("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")], b"x")
    botocore_header("botocore unsigned trailer", "PUT", "/bucket/key",
                    [("X-Amz-Content-SHA256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("Content-Encoding", "aws-chunked"),
                     ("X-Amz-Trailer", "x-amz-checksum-crc32"), ("X-Amz-Decoded-Content-Length", "5")], b"x")
    random.seed(7)
    for i in range(40):
        key = bytes(random.choice(b"abcXYZ019-_.~/ +%&=?#!*'()\"<>;:@,$[]\\^`{|}\x01\x7f\xc3\xa9") for _ in range(20))
        value = bytes(random.choice(b"abc /+%&=?~\xc3\xa9") for _ in range(8))
        botocore_header(f"botocore random {i}", random.choice(["GET", "PUT", "DELETE", "HEAD"]),
                        "/b/" + quote_from_bytes(key, safe="/~") + "?p=" + quote_from_bytes(value, safe="~") + "&k")
    botocore_query("botocore presigned GET", "GET", "/bucket/key")
    botocore_query("botocore presigned GET odd key", "GET", "/bucket//a%20b/%E2%82%AC/../c")
    botocore_query("botocore presigned GET with query", "GET", "/bucket/key?response-content-type=video%2Fmp4&versionId=x")
    botocore_query("botocore presigned PUT", "PUT", "/bucket/key", [("Content-Type", "video/mp4"), ("x-amz-meta-a", "b c")])
    botocore_query("botocore presigned HEAD", "HEAD", "/bucket/key", expires=604800)
    botocore_query("presigned, last second", "GET", "/bucket/key", now=iso(unix(NOW) + 3600))
    botocore_query("presigned, a clock 15 minutes behind", "GET", "/bucket/key", now=iso(unix(NOW) - 900))


# ---- signed here: every odd form ----

def header(name, want="OK", message="", method="GET", path="/bucket/key", query="", extra=(), signed=None, date=NOW,
           date_header="x-amz-date", day=None, region="us-east-1", service="s3", terminal="aws4_request", access=AK, secret=SK,
           payload="UNSIGNED-PAYLOAD", send_payload=True, form=None, now=NOW, after=(), host=("Host", HOST), sign=None,
           shown=None):
    headers = [host] if host else []
    iso_date = date
    if date_header:
        headers.append((date_header, date))
    if not (len(date) == 16 and date[8] == "T"):
        try:
            iso_date = iso(calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")))
        except ValueError:
            iso_date = NOW
    if send_payload:
        headers.append(("x-amz-content-sha256", payload))
    headers += list(extra)
    if signed is None:
        signed = sorted({n.lower() for n, v in headers if n.lower() == "host" or n.lower().startswith("x-amz-")})
    scope = f"{day or iso_date[:8]}/{region}/{service}/{terminal}"
    text = canonical(method, path, query, headers, [s.lower() for s in signed], payload)
    sig = sign or signature(text, secret, iso_date, scope)
    form = form or "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
    auth = form.format(credential=f"{access}/{scope}", signed=shown or ";".join(signed), signature=sig)
    headers.append(("Authorization", auth))
    headers += list(after)
    emit(name, want, method, path + ("?" + query if query else ""), headers, now, message)


def presigned(name, want="OK", message="", method="GET", sent_method=None, path="/bucket/key", query=(), extra=(),
              signed=("host",), date=NOW, day=None, region="us-east-1", service="s3", terminal="aws4_request", access=AK,
              expires="3600", algorithm="AWS4-HMAC-SHA256", payload="UNSIGNED-PAYLOAD", drop=(), after_query=(), now=NOW,
              sign=None, names=None):
    headers = [("Host", HOST)] + list(extra)
    scope = f"{day or date[:8]}/{region}/{service}/{terminal}"
    params = [("X-Amz-Algorithm", algorithm), ("X-Amz-Credential", f"{access}/{scope}"), ("X-Amz-Date", date),
              ("X-Amz-Expires", expires), ("X-Amz-SignedHeaders", names or ";".join(signed))] + list(query)
    params = [(k, v) for k, v in params if k not in drop and v is not None]
    raw = "&".join(quote(k, safe="") + "=" + quote(v, safe="") for k, v in params)
    sig = sign or signature(canonical(method, path, raw, headers, signed, payload), SK, date, scope)
    if "X-Amz-Signature" not in drop:
        raw += "&X-Amz-Signature=" + sig
    for k, v in after_query:
        raw += "&" + quote(k, safe="") + "=" + quote(v, safe="")
    emit(name, want, sent_method or method, path + "?" + raw, headers, now, message)


ISO = unix(NOW)
MECHANISM = "The authorization mechanism you have provided is not supported"
THREE = "requires three components"
UNSIGNED = "headers present in the request which were not signed"


def accepted():
    header("header form")
    header("header form, commas without spaces",
           form="AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={signed},Signature={signature}")
    header("header form, spaces and order",
           form="AWS4-HMAC-SHA256   Signature={signature} ,  Credential={credential},SignedHeaders={signed}")
    header("date from Date, ISO", date_header="Date")
    header("date from Date, HTTP", date_header="Date", date="Fri, 02 Jan 2026 03:04:05 GMT")
    header("x-amz-date wins over Date", extra=[("Date", "Thu, 01 Jan 1998 00:00:00 GMT")])
    header("15 minutes slow", now=iso(ISO + 900))
    header("15 minutes fast", now=iso(ISO - 900))
    header("signed over sha256", payload=EMPTY)
    header("no payload hash and no body (curl 7.88)", payload=EMPTY, send_payload=False, after=[("Content-Length", "0")])
    header("signed over upper-case sha256", payload=EMPTY.upper())
    header("streaming signed", method="PUT", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    header("streaming signed with trailer", method="PUT", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
    header("streaming unsigned with trailer", method="PUT", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    header("repeated header", extra=[("x-amz-meta-a", "1"), ("X-Amz-Meta-A", "2")])
    header("tabs and spaces in a value", extra=[("x-amz-meta-a", "a \t b")])
    header("unsigned ordinary headers", extra=[("User-Agent", "x"), ("Accept-Encoding", "identity"), ("x-amzn-trace-id", "r")])
    header("signed ordinary headers", extra=[("Range", "bytes=0-1"), ("Content-Type", "a/b")],
           signed=["content-type", "host", "range", "x-amz-content-sha256", "x-amz-date"])
    header("SignedHeaders unsorted as sent, signed sorted", shown="x-amz-date;x-amz-content-sha256;host")
    header("path escaped less than needed", path="/bucket/a(b)!*'c")
    header("path escaped more than needed", path="/bucket/%61%62c%2Fd")
    header("path in lower-case hex", path="/bucket/%c3%a9")
    header("query in lower-case hex", query="prefix=%c3%a9%2f")
    header("plus in a query is a plus", query="prefix=a+b")
    header("duplicated query keys", query="b=2&a=2&a=1&b=1")
    header("query names that sort by case", query="a=1&B=2&A=3&b=4")
    header("valueless beside empty", query="acl&prefix=")
    header("asks for the region as if in us-east-1", query="location")
    header("empty path", path="/")
    presigned("presigned")
    presigned("presigned for a week", expires="604800", now=iso(ISO + 604800))
    presigned("presigned for a second", expires="1", now=iso(ISO + 1))
    presigned("presigned with a payload hash", query=[("X-Amz-Content-Sha256", EMPTY)], payload=EMPTY)
    presigned("presigned with UNSIGNED-PAYLOAD said", query=[("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")])
    presigned("presigned with a signed hash header", extra=[("x-amz-content-sha256", EMPTY)], payload=EMPTY,
              signed=("host", "x-amz-content-sha256"))
    presigned("presigned with hoisted headers", query=[("x-amz-acl", "private"), ("x-amz-meta-a", "b")])


def refused_header():
    sig64 = "0" * 64
    emit("anonymous", "AccessDenied", "GET", "/bucket/key", [("Host", HOST)])
    emit("anonymous with a query", "AccessDenied", "GET", "/bucket/key?x-amz-signature=1", [("Host", HOST)])
    header("wrong secret", "SignatureDoesNotMatch", secret="x")
    header("unknown access key", "InvalidAccessKeyId", access="AKIAUNKNOWN")
    header("access key of another case", "InvalidAccessKeyId", access=AK.lower())
    header("access key with a slash", "InvalidAccessKeyId", access="AKIA/SLASH")
    header("empty access key", "AuthorizationHeaderMalformed", "Credential is mal-formed", access="")
    header("long access key", "AuthorizationHeaderMalformed", "Credential is mal-formed", access="A" * 129)
    header("signature of zeros", "SignatureDoesNotMatch", sign=sig64)
    header("signature empty", "SignatureDoesNotMatch", sign=" ")
    header("signature not hex", "SignatureDoesNotMatch", sign="z" * 64)
    header("SigV2", "InvalidRequest", MECHANISM, form="AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=")
    header("ECDSA", "NotImplemented", form="AWS4-ECDSA-P256-SHA256 Credential={credential}, SignedHeaders={signed}, "
           "Signature={signature}")
    for form in ["Bearer abc", "Basic Og==", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1 x", "aws4-hmac-sha256 Credential=x", "AWS4",
                 "AWS4-HMAC-SHA256Credential=x", " "]:
        header(f"Authorization: {form}", "InvalidArgument", "Unsupported Authorization Type", form=form)
    c, h, s = "Credential={credential}", "SignedHeaders={signed}", "Signature={signature}"
    for name, parts in [("no signature", [c, h]), ("no signed headers", [c, s]), ("no credential", [h, s]), ("signature twice", [c, h, s, s]),
                        ("credential twice", [c, c, h, s]), ("a fourth component", [c, h, s, "Extra=1"]), ("no equals", [c, h, s, "x"]),
                        ("empty component", [c, h, s, ""]), ("lower-case names", [c.lower(), h, s])]:
        header(f"header with {name}", "AuthorizationHeaderMalformed", THREE,
               form="AWS4-HMAC-SHA256 " + ", ".join(parts))
    header("two Authorization headers", "AuthorizationHeaderMalformed", after=[("authorization", "AWS4-HMAC-SHA256 x")])
    for bad in ["AKID", "AKID/20260102", "AKID/20260102/us-east-1/s3", "/20260102/us-east-1/s3/aws4_request", "////", ""]:
        header(f"credential {bad!r}", "AuthorizationHeaderMalformed", "Credential is mal-formed",
               form="AWS4-HMAC-SHA256 Credential=" + bad + ", " + h + ", " + s)
    header("another region", "AuthorizationHeaderMalformed", "the region 'us-west-2' is wrong; expecting 'us-east-1'", region="us-west-2")
    header("an empty region", "AuthorizationHeaderMalformed", "the region '' is wrong", region="")
    header("a giant region", "AuthorizationHeaderMalformed", "is wrong", region="r" * 5000)
    header("another service", "AuthorizationHeaderMalformed", 'incorrect service "sts"', service="sts")
    header("another terminal", "AuthorizationHeaderMalformed", 'incorrect terminal "aws5_request"', terminal="aws5_request")
    header("scope of yesterday", "AuthorizationHeaderMalformed", 'Invalid credential date "20260101"', day="20260101")
    header("scope date longer", "AuthorizationHeaderMalformed", "Invalid credential date", day="202601020")
    header("slow by more than 15 minutes", "RequestTimeTooSkewed", now=iso(ISO + 901))
    header("fast by more than 15 minutes", "RequestTimeTooSkewed", now=iso(ISO - 901))
    header("a century off", "RequestTimeTooSkewed", date="19260102T030405Z".replace("1926", "2126"))
    header("no date", "AccessDenied", "valid Date or x-amz-date", date_header=None)
    for bad in ["", "20260102", "20260102T030405", "2026-01-02T03:04:05Z", "20260132T030405Z", "20260229T030405Z", "20261301T030405Z",
                "20260102T240000Z", "20260102T006000Z", "20260102 030405Z", "x0260102T030405Z", "99999999T999999Z", "+0260102T030405Z",
                "Fri, 99 Jan 2026 03:04:05 GMT"]:
        header(f"date {bad!r}", "AccessDenied", "valid Date or x-amz-date", date=bad, day=NOW[:8])
    header("two x-amz-date", "AccessDenied", "valid Date or x-amz-date", extra=[("X-Amz-Date", NOW)])
    header("two Date", "AccessDenied", "valid Date or x-amz-date", date_header="Date", extra=[("date", NOW)])
    missing = "Missing required header for this request: x-amz-content-sha256"
    header("no payload hash beside a body", "InvalidRequest", missing, method="PUT", payload=EMPTY, send_payload=False,
           after=[("Content-Length", "5")])
    header("no payload hash beside a chunked body", "InvalidRequest", missing, method="PUT", payload=EMPTY, send_payload=False,
           after=[("Transfer-Encoding", "chunked")])
    header("no payload hash, signed as if unsigned", "SignatureDoesNotMatch", send_payload=False)
    header("two payload hashes", "InvalidArgument", "more than once", extra=[("X-Amz-Content-Sha256", EMPTY)])
    for bad in ["", "abc", EMPTY[:-1], EMPTY + "0", "g" * 64, "unsigned-payload", "UNSIGNED-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD",
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILERS", "STREAMING-AWS4-HMAC-SHA256-EVENTS"]:
        header(f"payload {bad!r}", "InvalidArgument", "x-amz-content-sha256 must be", payload=bad)
    header("ECDSA chunks", "NotImplemented", payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")
    header("ECDSA chunks with trailer", "NotImplemented", payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER")
    header("host not signed", "AccessDenied", UNSIGNED, signed=["x-amz-content-sha256", "x-amz-date"])
    header("x-amz-date not signed", "AccessDenied", UNSIGNED, signed=["host", "x-amz-content-sha256"])
    header("payload hash not signed", "AccessDenied", UNSIGNED, signed=["host", "x-amz-date"])
    for n in ["x-amz-acl", "X-Amz-Meta-Evil", "X-AMZ-COPY-SOURCE", "x-amz-"]:
        header(f"{n} added on the way", "AccessDenied", UNSIGNED, after=[(n, "x")])
    header("a signed header is missing", "SignatureDoesNotMatch", signed=["host", "range", "x-amz-content-sha256", "x-amz-date"])
    header("no Host at all", "SignatureDoesNotMatch", host=None, signed=["host", "x-amz-content-sha256", "x-amz-date"])
    header("another Host", "SignatureDoesNotMatch", sign=signature(canonical("GET", "/bucket/key", "", [
        ("host", "other:9000"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", NOW)],
        ["host", "x-amz-content-sha256", "x-amz-date"], "UNSIGNED-PAYLOAD"), SK, NOW, NOW[:8] + "/us-east-1/s3/aws4_request"))
    for bad in ["", "Host;x-amz-content-sha256;x-amz-date", ";host", "host;;x-amz-date", "host;x-amz-date;", "host;host", "host x-amz-date",
                "h\u00f6st"]:
        header(f"SignedHeaders {bad!r}", "AuthorizationHeaderMalformed", "SignedHeaders" if bad else "", shown=bad or ";", sign=sig64)
    header("too many signed headers", "AuthorizationHeaderMalformed", shown=";".join(f"h{i}" for i in range(200)), sign=sig64)
    header("session token in a header", "InvalidToken", extra=[("x-amz-security-token", "t")])
    header("session token in the query", "InvalidToken", query="X-Amz-Security-Token=t")
    header("bad escape in the path", "InvalidURI", path="/bucket/%zz", sign=sig64)
    header("NUL in the path", "InvalidURI", path="/bucket/%00", sign=sig64)
    header("signed doubly encoded", "SignatureDoesNotMatch", path="/bucket/a%20b", sign=signature(canonical(
        "GET", "/bucket/a%2520b", "", [("host", HOST), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", NOW)],
        ["host", "x-amz-content-sha256", "x-amz-date"], "UNSIGNED-PAYLOAD"), SK, NOW, NOW[:8] + "/us-east-1/s3/aws4_request"))
    header("signed with the path normalised", "SignatureDoesNotMatch", path="/bucket/x/../key", sign=signature(canonical(
        "GET", "/bucket/key", "", [("host", HOST), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", NOW)],
        ["host", "x-amz-content-sha256", "x-amz-date"], "UNSIGNED-PAYLOAD"), SK, NOW, NOW[:8] + "/us-east-1/s3/aws4_request"))
    header("unsigned trailer with a made-up signature", "SignatureDoesNotMatch", method="PUT",
           payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", sign="a" * 64)
    header("unsigned trailer of a known key without its secret", "SignatureDoesNotMatch", method="PUT",
           payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", secret="guess")


def refused_presigned():
    once = "requires the X-Amz-Algorithm"
    query = "AuthorizationQueryParametersError"
    for name in ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"]:
        presigned(f"presigned without {name}", query, once, drop=(name,))
        presigned(f"presigned with {name} twice", query, once, after_query=[(name, "1")])
    emit("unsigned trailer with only X-Amz-Credential", query, "PUT",
         f"/bucket/key?X-Amz-Credential={AK}%2F{NOW[:8]}%2Fus-east-1%2Fs3%2Faws4_request",
         [("Host", HOST), ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], NOW, once)
    presigned("presigned, wrong signature", "SignatureDoesNotMatch", sign="0" * 64)
    presigned("presigned, unknown key", "InvalidAccessKeyId", access="AKIAUNKNOWN")
    presigned("presigned GET used as PUT", "SignatureDoesNotMatch", sent_method="PUT")
    presigned("presigned GET used as HEAD", "SignatureDoesNotMatch", sent_method="HEAD")
    presigned("presigned, a parameter added", "SignatureDoesNotMatch", after_query=[("versionId", "x")])
    presigned("presigned, expired", "AccessDenied", "Request has expired", now=iso(ISO + 3601))
    presigned("presigned in the future", "AccessDenied", "Request is not yet valid", now=iso(ISO - 901))
    for bad, why in [("0", "at least 1"), ("-1", "non-negative"), ("604801", "less than a week"), ("99999999999999999999999", "less than a week"),
                     ("", "should be a number"), ("1h", "should be a number"), ("+5", "should be a number"), (" 5", "should be a number"),
                     ("0x10", "should be a number"), ("1e3", "should be a number")]:
        presigned(f"X-Amz-Expires={bad!r}", query, why, expires=bad)
    for bad in ["", "20260102", "20260102T030405", "2026-01-02T03:04:05Z", "Fri, 02 Jan 2026 03:04:05 GMT"]:
        presigned(f"X-Amz-Date={bad!r}", query, "ISO8601", date=bad, day=NOW[:8])
    presigned("presigned for another region", query, "expecting 'us-east-1'", region="eu-west-1")
    presigned("presigned for another service", query, 'belongs to "s3"', service="ec2")
    presigned("presigned with another terminal", query, "aws4_request", terminal="aws4")
    presigned("presigned, scope of another day", query, "Invalid credential date", day="20260103")
    presigned("presigned, SigV4 with another algorithm", query, "X-Amz-Algorithm only supports", algorithm="AWS4-HMAC-SHA512")
    presigned("presigned, ECDSA", "NotImplemented", algorithm="AWS4-ECDSA-P256-SHA256")
    presigned("presigned, host not signed", "AccessDenied", UNSIGNED, signed=("range",), extra=[("Range", "bytes=0-1")])
    presigned("presigned, no signed headers", query, "", signed=(), names=";")
    presigned("presigned, an x-amz-* header added", "AccessDenied", UNSIGNED, extra=[("x-amz-acl", "public-read")])
    presigned("presigned, the hash header added", "AccessDenied", UNSIGNED, extra=[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")])
    presigned("presigned with a token", "InvalidToken", query=[("X-Amz-Security-Token", "t")])
    presigned("presigned, hash in query and header differ", "InvalidArgument", "more than once", query=[("X-Amz-Content-Sha256", EMPTY)],
              extra=[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], signed=("host", "x-amz-content-sha256"))
    presigned("presigned, hash twice", "InvalidArgument", "more than once", query=[("X-Amz-Content-Sha256", EMPTY)] * 2)
    for word in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]:
        presigned(f"presigned {word}", "NotImplemented", method="PUT", extra=[("x-amz-content-sha256", word)],
                  signed=("host", "x-amz-content-sha256"), payload=word)
    presigned("presigned, bad hash", "InvalidArgument", "must be", query=[("X-Amz-Content-Sha256", "x")], payload="x")
    presigned("both forms of auth", "InvalidArgument", "Only one auth mechanism allowed", extra=[("Authorization", "AWS4-HMAC-SHA256 x")])
    header("both forms of auth, a good header", "InvalidArgument", "Only one auth mechanism allowed", query="X-Amz-Signature=1")
    emit("SigV2 in the query", "InvalidRequest", "GET", "/bucket/key?AWSAccessKeyId=x&Expires=1&Signature=y", [("Host", HOST)],
         NOW, MECHANISM)
    emit("SigV2 in the query and a header", "InvalidArgument", "GET", "/bucket/key?AWSAccessKeyId=x&Expires=1&Signature=y",
         [("Host", HOST), ("Authorization", "AWS a:b")], NOW, "Only one auth mechanism")
    presigned("lower-case parameter names are no signature", "AccessDenied",
              drop=("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"), query=[("x-amz-signature", "0" * 64)])


def c_string(text):
    out = ""
    for b in text.encode("utf-8"):
        c = chr(b)
        out += "\\n" if c == "\n" else "\\" + c if c in '"\\' else c if 32 <= b < 127 else f"\\{b:03o}"
    return '"' + out.replace("??", '?""?') + '"'


botocore_all()
accepted()
refused_header()
refused_presigned()
print("/* Made by sigv4_vectors.py; do not edit. */\n/* clang-format off */")
print(f'#define VECTOR_ACCESS_KEY "{AK}"\n#define VECTOR_SECRET "{SK}"')
print("static const struct {\n    const char *name;\n    enum s3_error want;\n    uint64_t now_s;\n    const char *request, *message;\n"
      "} vectors[] = {")
for name, want, now, text, message in rows:
    lines = text.split("\n")
    body = "\n     ".join(c_string(l + ("\n" if i + 1 < len(lines) else "")) for i, l in enumerate(lines))
    print(f"    {{{c_string(name)}, S3_{want}, UINT64_C({now}),\n     {body},\n     {c_string(message)}}},")
print("};")
