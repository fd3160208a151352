#!/usr/bin/env python3
"""What S3 promises and clients rely on, call by call: conditions, ranges, multipart rules, listings, checksums, errors."""
import base64
import hashlib
import socket
import time
import urllib.parse
import zlib

from harness import MIB, boto3_client, check, main, random_bytes, serving, sha256


def refused(code, status, call, **kwargs):
    from botocore.exceptions import ClientError
    try:
        call(**kwargs)
    except ClientError as e:
        got = e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
        check(got == (code, status), f"{kwargs}: {got}, expected {(code, status)}")
        return e.response
    check(False, f"{kwargs}: no error, expected {code}")


def conditions_and_ranges():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")
        body = random_bytes(1000)
        etag = c.put_object(Bucket="bkt", Key="k", Body=body)["ETag"]
        check(etag == '"' + hashlib.md5(body).hexdigest() + '"', etag)
        modified = c.head_object(Bucket="bkt", Key="k")["LastModified"]
        get = lambda **kw: c.get_object(Bucket="bkt", Key="k", **kw)
        check(get(IfMatch=etag)["ContentLength"] == 1000, "If-Match")
        refused("PreconditionFailed", 412, c.get_object, Bucket="bkt", Key="k", IfMatch='"0"')
        refused("304", 304, c.head_object, Bucket="bkt", Key="k", IfNoneMatch=etag)
        refused("304", 304, c.head_object, Bucket="bkt", Key="k", IfModifiedSince=modified)
        refused("412", 412, c.head_object, Bucket="bkt", Key="k", IfUnmodifiedSince="2001-01-01T00:00:00Z")
        for text, first, last in (("bytes=0-0", 0, 0), ("bytes=990-", 990, 999), ("bytes=-10", 990, 999), ("bytes=5-100000", 5, 999)):
            got = get(Range=text)
            check(got["Body"].read() == body[first:last + 1] and got["ContentRange"] == f"bytes {first}-{last}/1000", text)
        refused("InvalidRange", 416, c.get_object, Bucket="bkt", Key="k", Range="bytes=1000-")
        several = get(Range="bytes=0-1,10-11")
        text = several["Body"].read()
        check(several["ContentType"].startswith("multipart/byteranges") and body[10:12] in text, "two ranges")
        signed = c.generate_presigned_url("get_object", Params={"Bucket": "bkt", "Key": "k"})
        for header, want in ((etag, 206), ('"0"', 200)):
            status, _, got = s.get_url(signed, {"Range": "bytes=0-1", "If-Range": header})
            check(status == want and len(got) == (2 if want == 206 else 1000), f"If-Range {header}: {status}")
        refused("NoSuchKey", 404, c.get_object, Bucket="bkt", Key="absent")
        refused("404", 404, c.head_object, Bucket="bkt", Key="absent")
        refused("NoSuchBucket", 404, c.get_object, Bucket="absent", Key="k")
        empty = c.put_object(Bucket="bkt", Key="empty", Body=b"")
        check(empty["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"', "the empty object's ETag")
        refused("InvalidRange", 416, c.get_object, Bucket="bkt", Key="empty", Range="bytes=0-0")


def conditional_writes_and_metadata():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")

        def conditional(**headers):
            def add(request, **_):
                for name, value in headers.items():
                    request.headers[name.replace("_", "-")] = value
            c.meta.events.register_first("before-sign.s3.PutObject", add, unique_id="cond")
            try:
                return c.put_object(Bucket="bkt", Key="k", Body=b"x")
            finally:
                c.meta.events.unregister("before-sign.s3.PutObject", unique_id="cond")
        refused("NoSuchKey", 404, conditional, If_Match='"0"')
        etag = conditional(If_None_Match="*")["ETag"]
        refused("PreconditionFailed", 412, conditional, If_None_Match="*")
        refused("PreconditionFailed", 412, conditional, If_Match='"0"')
        refused("PreconditionFailed", 412, conditional, If_Match='""')
        conditional(If_Match=etag)
        c.put_object(Bucket="bkt", Key="m", Body=b"x", Metadata={"one": "1", "two": "zwei"}, CacheControl="max-age=5", ContentLanguage="de",
                     ContentDisposition='attachment; filename="x"', ContentEncoding="gzip", ContentType="text/x", Expires="2030-01-01T00:00:00Z")
        head = c.head_object(Bucket="bkt", Key="m")
        check(head["Metadata"] == {"one": "1", "two": "zwei"} and head["CacheControl"] == "max-age=5" and head["ContentLanguage"] == "de"
              and head["ContentEncoding"] == "gzip" and head["ContentDisposition"].startswith("attachment"), f"{head}")
        over = c.get_object(Bucket="bkt", Key="m", ResponseContentType="a/b", ResponseCacheControl="no-store")
        check(over["ContentType"] == "a/b" and over["CacheControl"] == "no-store", "response overrides")
        c.copy_object(Bucket="bkt", Key="m", CopySource="bkt/m", MetadataDirective="REPLACE", Metadata={"three": "3"}, ContentType="text/y")
        head = c.head_object(Bucket="bkt", Key="m")
        check(head["Metadata"] == {"three": "3"} and head["ContentType"] == "text/y" and head["ContentLength"] == 1, "REPLACE onto itself")
        refused("InvalidRequest", 400, c.copy_object, Bucket="bkt", Key="m", CopySource="bkt/m")
        refused("MetadataTooLarge", 400, c.put_object, Bucket="bkt", Key="big", Body=b"", Metadata={"x": "y" * 2100})
        refused("NoSuchKey", 404, c.copy_object, Bucket="bkt", Key="n", CopySource="bkt/absent")


def multipart_rules():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")
        bodies = [random_bytes(5 * MIB, seed=1), random_bytes(5 * MIB, seed=2), random_bytes(100, seed=3)]
        up = c.create_multipart_upload(Bucket="bkt", Key="k", ContentType="video/mp4", Metadata={"a": "b"})["UploadId"]
        where = {"Bucket": "bkt", "Key": "k", "UploadId": up}
        refused("NoSuchKey", 404, c.get_object, Bucket="bkt", Key="k")
        tags = [c.upload_part(**where, PartNumber=n * 10 + 1, Body=body)["ETag"] for n, body in enumerate(bodies)]
        parts = [{"PartNumber": n * 10 + 1, "ETag": tag} for n, tag in enumerate(tags)]
        listed = c.list_parts(**where, MaxParts=2)
        check([p["PartNumber"] for p in listed["Parts"]] == [1, 11] and listed["IsTruncated"], f"{listed}")
        check(c.list_multipart_uploads(Bucket="bkt")["Uploads"][0]["UploadId"] == up, "ListMultipartUploads")
        done = lambda p: {"MultipartUpload": {"Parts": p}, **where}
        refused("InvalidPartOrder", 400, c.complete_multipart_upload, **done(parts[::-1]))
        refused("InvalidPart", 400, c.complete_multipart_upload, **done([{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]))
        tail = c.upload_part(**where, PartNumber=31, Body=b"tail")["ETag"]  # part 21 has 100 bytes and is not the last now
        refused("EntityTooSmall", 400, c.complete_multipart_upload, **done([*parts, {"PartNumber": 31, "ETag": tail}]))
        etag = c.complete_multipart_upload(**done(parts))["ETag"]
        want = hashlib.md5(b"".join(hashlib.md5(b).digest() for b in bodies)).hexdigest() + "-3"
        check(etag == f'"{want}"', f"{etag}, expected {want}")
        check(c.complete_multipart_upload(**done(parts))["ETag"] == etag, "a retried Complete")
        got = c.get_object(Bucket="bkt", Key="k")
        check(sha256(got["Body"].read()) == sha256(b"".join(bodies)) and got["ContentType"] == "video/mp4" and got["Metadata"] == {"a": "b"}, "whole")
        second = c.get_object(Bucket="bkt", Key="k", PartNumber=2)
        check(second["Body"].read() == bodies[1] and second["PartsCount"] == 3, "partNumber")
        refused("NoSuchUpload", 404, c.upload_part, Bucket="bkt", Key="k", UploadId="absent", PartNumber=1, Body=b"")
        up = c.create_multipart_upload(Bucket="bkt", Key="gone")["UploadId"]
        c.upload_part(Bucket="bkt", Key="gone", UploadId=up, PartNumber=1, Body=b"x")
        c.abort_multipart_upload(Bucket="bkt", Key="gone", UploadId=up)
        refused("NoSuchUpload", 404, c.list_parts, Bucket="bkt", Key="gone", UploadId=up)
        up = c.create_multipart_upload(Bucket="bkt", Key="copy")["UploadId"]
        part = c.upload_part_copy(Bucket="bkt", Key="copy", UploadId=up, PartNumber=1, CopySource="bkt/k", CopySourceRange="bytes=100-5242979")
        c.complete_multipart_upload(Bucket="bkt", Key="copy", UploadId=up, MultipartUpload={"Parts": [
            {"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
        check(c.get_object(Bucket="bkt", Key="copy")["Body"].read() == b"".join(bodies)[100:5242980], "UploadPartCopy with a range")


def listings():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")
        keys = ["a", "a/", "a/1", "a/2/x", "a/2/y", "a0", "b c", "b+c", "é", "日本", "z" * 900, "A", "\U0001F3B9"]
        for key in keys:
            c.put_object(Bucket="bkt", Key=key, Body=b"")
        keys.sort(key=lambda k: k.encode())
        check([o["Key"] for o in c.list_objects(Bucket="bkt")["Contents"]] == keys, "V1 order")
        for size in (1, 2, 3, 5):
            pages = c.get_paginator("list_objects_v2").paginate(Bucket="bkt", PaginationConfig={"PageSize": size})
            check([o["Key"] for p in pages for o in p.get("Contents", [])] == keys, f"pages of {size}")
            entries = []
            for p in c.get_paginator("list_objects_v2").paginate(Bucket="bkt", Delimiter="/", PaginationConfig={"PageSize": size}):
                entries += [o["Key"] for o in p.get("Contents", [])] + [x["Prefix"] for x in p.get("CommonPrefixes", [])]
            want = sorted({k if "/" not in k else k[:k.index("/") + 1] for k in keys}, key=lambda k: k.encode())
            check(sorted(entries, key=lambda k: k.encode()) == want and len(entries) == len(want), f"delimiter, pages of {size}: {entries}")
        check([o["Key"] for o in c.list_objects_v2(Bucket="bkt", StartAfter="a/2/x")["Contents"]] == keys[keys.index("a/2/x") + 1:], "start-after")
        check(c.list_objects_v2(Bucket="bkt", MaxKeys=0)["KeyCount"] == 0, "max-keys 0")
        got = c.list_objects_v2(Bucket="bkt", Prefix="a/", Delimiter="/")
        check([x["Prefix"] for x in got["CommonPrefixes"]] == ["a/2/"] and [o["Key"] for o in got["Contents"]] == ["a/", "a/1"], f"{got}")
        check("Owner" in c.list_objects_v2(Bucket="bkt", FetchOwner=True)["Contents"][0], "fetch-owner")
        check([b["Name"] for b in c.list_buckets()["Buckets"]] == ["bkt"], "ListBuckets")
        refused("BucketNotEmpty", 409, c.delete_bucket, Bucket="bkt")
        refused("InvalidBucketName", 400, boto3_unvalidated(s).create_bucket, Bucket="Not_Valid")
        refused("BucketAlreadyOwnedByYou", 409, c.create_bucket, Bucket="bkt")
        check(c.get_bucket_location(Bucket="bkt")["LocationConstraint"] in (None, ""), "us-east-1 has no location constraint")


def boto3_unvalidated(server):
    client = boto3_client(server, parameter_validation=False)
    client.meta.events.unregister("before-parameter-build.s3", __import__("botocore.handlers").handlers.validate_bucket_name)
    return client


def checksums_are_verified_kept_and_given_back():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")
        body = random_bytes(100000)
        crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        put = c.put_object(Bucket="bkt", Key="k", Body=body, ChecksumAlgorithm="CRC32")
        check(put["ChecksumCRC32"] == crc, f"{put}")
        check(c.head_object(Bucket="bkt", Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc, "on HEAD")
        sha = base64.b64encode(hashlib.sha256(body).digest()).decode()
        check(c.put_object(Bucket="bkt", Key="s", Body=body, ChecksumSHA256=sha)["ChecksumSHA256"] == sha, "SHA256")
        wrong = base64.b64encode(b"\0" * 32).decode()
        refused("BadDigest", 400, c.put_object, Bucket="bkt", Key="w", Body=body, ChecksumSHA256=wrong)
        refused("BadDigest", 400, c.put_object, Bucket="bkt", Key="w", Body=body, ContentMD5=base64.b64encode(b"\0" * 16).decode())
        refused("InvalidDigest", 400, c.put_object, Bucket="bkt", Key="w", Body=body, ContentMD5="AAAA")
        refused("NoSuchKey", 404, c.get_object, Bucket="bkt", Key="w")
        url = c.generate_presigned_url("get_object", Params={"Bucket": "bkt", "Key": "k"})
        check(s.get_url(url)[0] == 200, "presigned")
        check(s.get_url(url + "x")[0] == 403, "an altered signature")
        late = c.generate_presigned_url("get_object", Params={"Bucket": "bkt", "Key": "k"}, ExpiresIn=1)
        parts = urllib.parse.urlsplit(late)
        old = late.replace(urllib.parse.parse_qs(parts.query)["X-Amz-Date"][0], "20200101T000000Z")
        check(s.get_url(old)[0] == 400, "a date that is not the scope's")
        time.sleep(2.1)
        status, _, text = s.get_url(late)
        check(status == 403 and b"<Code>AccessDenied</Code>" in text, f"expired: {status} {text}")


def virtual_host_style_and_what_is_not_built():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bucket-one")
        c.put_object(Bucket="bucket-one", Key="k", Body=b"body")
        sign = ["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{s.env()['AWS_ACCESS_KEY_ID']}:{s.env()['AWS_SECRET_ACCESS_KEY']}",
                "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--resolve", f"bucket-one.localhost:{s.s3_port}:127.0.0.1"]
        check(s.run(*sign, f"http://bucket-one.localhost:{s.s3_port}/k").stdout == b"body", "virtual-host style")
        refused("NotImplemented", 501, c.put_bucket_versioning, Bucket="bucket-one", VersioningConfiguration={"Status": "Enabled"})
        refused("NotImplemented", 501, c.put_bucket_policy, Bucket="bucket-one", Policy="{}")
        check(c.get_bucket_versioning(Bucket="bucket-one").get("Status") is None, "GetBucketVersioning")
        status, headers, _ = s.request("OPTIONS", "/bucket-one/k", headers={"Origin": "https://studio.example",
                                       "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type,x-amz-date"})
        check(status in (200, 204) and headers.get("access-control-allow-origin"), f"preflight: {status} {headers}")
        status, headers, body = s.request("GET", "/bucket-one/k", headers={"Origin": "https://studio.example"})
        check(status == 403 and b"<Message>" in body and b"<Message></Message>" not in body and headers.get("access-control-allow-origin"), f"{status} {body}")


def bodies_that_break_off_are_never_stored():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="bkt")
        url = c.generate_presigned_url("put_object", Params={"Bucket": "bkt", "Key": "short"})
        path = url[url.index("/bkt/"):]
        for keep in (0, 10, 70000):
            with socket.create_connection(("127.0.0.1", s.s3_port)) as raw:
                raw.sendall(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{s.s3_port}\r\nContent-Length: 100000\r\n\r\n".encode() + b"x" * keep)
        refused("NoSuchKey", 404, c.get_object, Bucket="bkt", Key="short")
        with socket.create_connection(("127.0.0.1", s.s3_port)) as raw:  # the refusal comes before the body
            bad = path[:-4] + "0000"
            raw.sendall(f"PUT {bad} HTTP/1.1\r\nHost: 127.0.0.1:{s.s3_port}\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n".encode())
            raw.settimeout(10)
            check(raw.recv(12) == b"HTTP/1.1 403", "Expect: 100-continue with a bad signature")


if __name__ == "__main__":
    main(conditions_and_ranges, conditional_writes_and_metadata, multipart_rules, listings, checksums_are_verified_kept_and_given_back,
         virtual_host_style_and_what_is_not_built, bodies_that_break_off_are_never_stored)
