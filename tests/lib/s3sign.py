"""SigV4 in forty lines, apart from both our C code and botocore: what the test vectors and the probe of a server sign with.
It signs what it is told, also nonsense: that is the point."""
import hashlib
import hmac
import time
from urllib.parse import quote_from_bytes, unquote_to_bytes

EMPTY = hashlib.sha256(b"").hexdigest()


def iso(seconds):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def again(raw, safe):
    """Decoded once, encoded as SigV4 wants."""
    return quote_from_bytes(unquote_to_bytes(raw), safe=safe + "-._~")


def canonical(method, path, query, headers, signed, payload):
    """headers: pairs; signed: lower-case names."""
    pairs = sorted(tuple(again(x, "") for x in (p.partition("=")[0], p.partition("=")[2])) for p in query.split("&") if p)
    lines = []
    for name in sorted(signed):
        values = [" ".join(v.split()) for n, v in headers if n.lower() == name]
        lines.append(f"{name}:{','.join(values)}\n")
    return "\n".join([method, again(path, "/") or "/", "&".join("=".join(p) for p in pairs), "".join(lines),
                      ";".join(sorted(signed)), payload])


def signing_key(secret, scope):
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = mac(key, part)
    return key


def signature(text, secret, date, scope):
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(text.encode("utf-8")).hexdigest()])
    return mac(signing_key(secret, scope), to_sign).hex()


def chunk_signature(key, date, scope, previous, data):
    return mac(key, "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", date, scope, previous, EMPTY,
                               hashlib.sha256(data).hexdigest()])).hex()


def trailer_signature(key, date, scope, previous, trailers):
    text = "".join(f"{n}:{v}\n" for n, v in sorted(trailers))
    return mac(key, "\n".join(["AWS4-HMAC-SHA256-TRAILER", date, scope, previous,
                               hashlib.sha256(text.encode()).hexdigest()])).hex()
