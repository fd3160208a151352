#!/usr/bin/env python3
"""What AWS answers, call by call: listings at odd delimiters, copies, tags, settings that nobody set, parts and their checksums,
browsers' forms, and a connection that goes on after a refusal. Every deviation is told, not only the first."""
import base64
import hashlib
import http.client
import os
import urllib.parse
import zlib

from harness import MIB, boto3_client, check, main, random_bytes, serving, sha256

BUCKET = "compat"


def answer(call, **kwargs):
    """(code, status) of a call: ("OK", 200) when it succeeds."""
    from botocore.exceptions import ClientError
    try:
        return "OK", call(**kwargs)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]


class Deviations:
    """Collects; raises once at the end."""

    def __init__(self):
        self.found = []

    def equal(self, what, got, want):
        if got != want:
            self.found.append(f"{what}: {got!r:.300}, expected {want!r:.300}")

    def end(self):
        check(not self.found, "\n      ".join(["", *self.found]))


def keys(page):
    return [o["Key"] for o in page.get("Contents", [])]


def prefixes(page):
    return [p["Prefix"] for p in page.get("CommonPrefixes", [])]


def listings_at_odd_delimiters():
    names = sorted(["bar", "baz", "cab", "foo", "b ar", "b az", "b%ar", "b%az", "b.ar", "foo/bar", "foo/baz/xyzzy", "quux/thud",
                    "asdf", "foo\nbar", "thud"])
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)
        for name in names:
            c.put_object(Bucket=BUCKET, Key=name, Body=b"x")
        for what, query, want_keys, want_prefixes in (
                ("all", {}, names, []),
                ("delimiter a", {"Delimiter": "a"}, ["foo", "quux/thud", "thud"],
                 ["a", "b a", "b%a", "b.a", "ba", "ca", "foo\nba", "foo/ba"]),
                ("delimiter newline", {"Delimiter": "\n"}, [n for n in names if "\n" not in n], ["foo\n"]),
                ("empty delimiter", {"Delimiter": ""}, names, []),
                ("prefix that is a folder", {"Prefix": "foo/", "Delimiter": "/"}, ["foo/bar"], ["foo/baz/"]),
                ("prefix of nothing", {"Prefix": "d", "Delimiter": "a"}, [], []),
                ("marker between", {"Marker": "blah"}, [n for n in names if n > "blah"], []),
                ("marker behind", {"Marker": "zzz"}, [], [])):
            page = c.list_objects(Bucket=BUCKET, **query)
            d.equal(what, (keys(page), prefixes(page)), (want_keys, want_prefixes))
        entries, marker = [], ""
        for _ in range(40):
            page = c.list_objects(Bucket=BUCKET, Delimiter="/", MaxKeys=1, Marker=marker)
            entries += keys(page) + prefixes(page)
            if not page["IsTruncated"]:
                break
            marker = page["NextMarker"]
        d.equal("V1 by one", entries, sorted({n.split("/")[0] + "/" * ("/" in n) for n in names}))
        first = c.list_objects(Bucket=BUCKET, MaxKeys=1)
        d.equal("no NextMarker without a delimiter", (first["IsTruncated"], "NextMarker" in first), (True, False))
        d.equal("max-keys is cut", c.list_objects(Bucket=BUCKET, MaxKeys=5000)["MaxKeys"], 1000)
        d.equal("max-keys below 0", answer(c.list_objects, Bucket=BUCKET, MaxKeys=-1), ("InvalidArgument", 400))
        page = c.list_objects_v2(Bucket=BUCKET, StartAfter="foo/", Delimiter="/")
        d.equal("start-after a prefix", (keys(page), prefixes(page)), (["thud"], ["quux/"]))
        d.equal("a made-up token", answer(c.list_objects_v2, Bucket=BUCKET, ContinuationToken="made-up"), ("InvalidArgument", 400))
        pages = c.get_paginator("list_object_versions").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
        d.equal("versions", [(v["Key"], v["VersionId"]) for p in pages for v in p["Versions"]], [(n, "null") for n in names])
        d.end()


def what_is_not_there():
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)
        for call, kwargs, want in (
                (c.put_object, {"Bucket": "absent", "Key": "k", "Body": b"x"}, ("NoSuchBucket", 404)),
                (c.head_bucket, {"Bucket": "absent"}, ("404", 404)),
                (c.delete_object, {"Bucket": "absent", "Key": "k"}, ("NoSuchBucket", 404)),
                (c.list_objects_v2, {"Bucket": "absent"}, ("NoSuchBucket", 404)),
                (c.delete_bucket, {"Bucket": "absent"}, ("NoSuchBucket", 404)),
                (c.create_multipart_upload, {"Bucket": "absent", "Key": "k"}, ("NoSuchBucket", 404)),
                (c.list_multipart_uploads, {"Bucket": "absent"}, ("NoSuchBucket", 404)),
                (c.get_object, {"Bucket": BUCKET, "Key": "absent"}, ("NoSuchKey", 404)),
                (c.delete_object, {"Bucket": BUCKET, "Key": "absent"}, ("OK", 204)),
                (c.get_object, {"Bucket": BUCKET, "Key": "absent", "VersionId": "v"}, ("NoSuchVersion", 404)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k" * 1025, "Body": b""}, ("KeyTooLongError", 400)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k" * 1024, "Body": b""}, ("OK", 200)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "ACL": "public-read"}, ("NotImplemented", 501)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "ACL": "private"}, ("OK", 200)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "ServerSideEncryption": "AES256"}, ("NotImplemented", 501)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "StorageClass": "GLACIER"}, ("InvalidStorageClass", 400)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "Metadata": {"k": "v" * 2048}}, ("MetadataTooLarge", 400)),
                (c.put_object, {"Bucket": BUCKET, "Key": "k", "Body": b"", "Metadata": {"k": "v" * 2047}}, ("OK", 200)),
                (c.put_bucket_acl, {"Bucket": BUCKET, "ACL": "public-read"}, ("NotImplemented", 501)),
                (c.put_object_acl, {"Bucket": BUCKET, "Key": "k", "ACL": "private"}, ("OK", 200)),
                (c.create_bucket, {"Bucket": "elsewhere", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}},
                 ("IllegalLocationConstraintException", 400))):
            d.equal(f"{call.__name__} {str(kwargs):.80}", answer(call, **kwargs), want)
        for call, want in (
                (c.get_bucket_policy, "NoSuchBucketPolicy"), (c.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
                (c.get_bucket_cors, "NoSuchCORSConfiguration"), (c.get_bucket_tagging, "NoSuchTagSet"),
                (c.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
                (c.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
                (c.get_bucket_website, "NoSuchWebsiteConfiguration"), (c.get_bucket_replication, "ReplicationConfigurationNotFoundError")):
            d.equal(call.__name__, answer(call, Bucket=BUCKET), (want, 404))
        for call in (c.get_bucket_acl, c.get_bucket_versioning, c.get_bucket_logging, c.get_bucket_notification_configuration,
                     c.get_bucket_request_payment, c.get_bucket_accelerate_configuration, c.get_public_access_block,
                     c.get_bucket_ownership_controls, c.get_bucket_location):
            d.equal(call.__name__, answer(call, Bucket=BUCKET), ("OK", 200))
        d.equal("an ACL", c.get_object_acl(Bucket=BUCKET, Key="k")["Grants"][0]["Permission"], "FULL_CONTROL")
        d.end()


def descriptions_and_tags():
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)
        where = {"Bucket": BUCKET, "Key": "k"}
        c.put_object(**where, Body=b"body", Metadata={"Meta1": "bar", "UPPER": "Value With  Space"}, CacheControl="max-age=14400",
                     ContentDisposition="attachment", ContentEncoding="gzip", ContentLanguage="de", Expires="2030-01-01T00:00:00Z",
                     ContentType="text/x", Tagging="a=b&c%20d=e+f", WebsiteRedirectLocation="/x")
        described = lambda: {k: c.head_object(**where)[k] for k in ("Metadata", "CacheControl", "ContentDisposition",
                             "ContentEncoding", "ContentLanguage", "ContentType", "WebsiteRedirectLocation", "LastModified", "ETag")}
        first = described()
        d.equal("description", list(first.values())[:7], [{"meta1": "bar", "upper": "Value With  Space"}, "max-age=14400", "attachment",
                "gzip", "de", "text/x", "/x"])
        headers = c.head_object(**where)["ResponseMetadata"]["HTTPHeaders"]
        d.equal("counted", (headers["x-amz-tagging-count"], headers["expires"]), ("2", "Tue, 01 Jan 2030 00:00:00 GMT"))
        tags = lambda: [(t["Key"], t["Value"]) for t in c.get_object_tagging(**where)["TagSet"]]
        d.equal("tags of the PUT", tags(), [("a", "b"), ("c d", "e f")])
        c.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "n", "Value": "ü"}]})
        d.equal("new tags", tags(), [("n", "ü")])
        d.equal("new tags change nothing else", described(), first)
        d.equal("nor the bytes", c.get_object(**where)["Body"].read(), b"body")
        c.delete_object_tagging(**where)
        d.equal("no tags", tags(), [])
        for tag_set, want in (([{"Key": str(i), "Value": ""} for i in range(11)], ("BadRequest", 400)),
                              ([{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], ("InvalidTag", 400))):
            d.equal("too many or twice", answer(c.put_object_tagging, **where, Tagging={"TagSet": tag_set}), want)
        got = c.get_object(**where, ResponseContentType="a/b", ResponseContentDisposition='inline; filename="x y"', ResponseCacheControl="no-cache")
        d.equal("overrides", (got["ContentType"], got["ContentDisposition"], got["CacheControl"]), ("a/b", 'inline; filename="x y"', "no-cache"))
        d.equal("CRLF in an override", answer(c.get_object, **where, ResponseContentDisposition="a\r\nX-Evil: 1"), ("InvalidArgument", 400))
        d.end()


def copies():
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)
        c.create_bucket(Bucket="other")
        body = random_bytes(300000)
        etag = c.put_object(Bucket=BUCKET, Key="src", Body=body, Metadata={"a": "1"}, ContentType="text/a", Tagging="t=1")["ETag"]
        copy = lambda **kw: c.copy_object(**{"Bucket": BUCKET, "Key": "dst", "CopySource": f"{BUCKET}/src", **kw})
        head = lambda key, bucket=BUCKET: c.head_object(Bucket=bucket, Key=key)
        d.equal("ETag", copy()["CopyObjectResult"]["ETag"], etag)
        d.equal("described as the source", (head("dst")["Metadata"], head("dst")["ContentType"]), ({"a": "1"}, "text/a"))
        copy(MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/b")
        d.equal("described anew", (head("dst")["Metadata"], head("dst")["ContentType"]), ({"b": "2"}, "text/b"))
        d.equal("onto itself", answer(copy, Key="src"), ("InvalidRequest", 400))
        d.equal("onto itself with REPLACE", answer(copy, Key="src", MetadataDirective="REPLACE", Metadata={"z": "9"}), ("OK", 200))
        d.equal("only described anew", (head("src")["Metadata"], head("src")["ETag"], head("src")["ContentLength"]), ({"z": "9"}, etag, len(body)))
        copy(Bucket="other", Key="ü +%/x", CopySource={"Bucket": BUCKET, "Key": "src"})
        d.equal("another bucket", sha256(c.get_object(Bucket="other", Key="ü +%/x")["Body"].read()), sha256(body))
        for kwargs, want in (({"CopySource": "absent/src"}, ("NoSuchBucket", 404)), ({"CopySource": f"{BUCKET}/absent"}, ("NoSuchKey", 404)),
                             ({"CopySourceIfMatch": '"no"'}, ("PreconditionFailed", 412)),
                             ({"CopySourceIfNoneMatch": etag}, ("PreconditionFailed", 412)), ({"CopySourceIfMatch": etag}, ("OK", 200))):
            d.equal(f"{kwargs}", answer(copy, **kwargs), want)
        removed = c.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "dst"}, {"Key": "absent"}]})
        d.equal("deleted", [x["Key"] for x in removed["Deleted"]], ["dst", "absent"])
        d.equal("quiet", "Deleted" in c.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "x"}], "Quiet": True}), False)
        many = {"Objects": [{"Key": str(i)} for i in range(1001)]}
        d.equal("1,001 keys", answer(c.delete_objects, Bucket=BUCKET, Delete=many), ("MalformedXML", 400))
        d.end()


def crc32(data):
    return zlib.crc32(data).to_bytes(4, "big")


def parts_and_their_checksums():
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)
        where = {"Bucket": BUCKET, "Key": "k"}
        upload = {**where, "UploadId": c.create_multipart_upload(**where, ChecksumAlgorithm="CRC32")["UploadId"]}
        one, two = random_bytes(5 * MIB, seed=1), random_bytes(1000, seed=2)
        parts = [{"PartNumber": n, **{k: v for k, v in c.upload_part(**upload, PartNumber=n, Body=body, ChecksumAlgorithm="CRC32").items()
                                      if k in ("ETag", "ChecksumCRC32")}} for n, body in ((1, one), (2, two))]
        d.equal("a part's checksum", parts[1]["ChecksumCRC32"], base64.b64encode(crc32(two)).decode())
        wrong = [{**parts[0], "ChecksumCRC32": "AAAAAA=="}, parts[1]]
        for what, call, kwargs, want in (
                ("another algorithm", c.upload_part, {"PartNumber": 3, "Body": b"x", "ChecksumAlgorithm": "SHA256"}, ("InvalidRequest", 400)),
                ("part 0", c.upload_part, {"PartNumber": 0, "Body": b"x"}, ("InvalidArgument", 400)),
                ("part 10001", c.upload_part, {"PartNumber": 10001, "Body": b"x"}, ("InvalidArgument", 400)),
                ("no parts", c.complete_multipart_upload, {"MultipartUpload": {"Parts": []}}, ("MalformedXML", 400)),
                ("a wrong checksum", c.complete_multipart_upload, {"MultipartUpload": {"Parts": wrong}}, ("InvalidPart", 400))):
            d.equal(what, answer(call, **upload, **kwargs), want)
        done = c.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        composite = base64.b64encode(crc32(crc32(one) + crc32(two))).decode() + "-2"
        d.equal("COMPOSITE", (done["ChecksumCRC32"], c.head_object(**where, ChecksumMode="ENABLED")["ChecksumCRC32"]), (composite, composite))
        told = c.get_object_attributes(**where, ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"])
        d.equal("attributes", (told["ETag"], told["Checksum"]["ChecksumCRC32"], told["ObjectParts"]["TotalPartsCount"], told["ObjectSize"],
                told["StorageClass"]), (done["ETag"].strip('"'), composite, 2, len(one + two), "STANDARD"))
        second = c.get_object(**where, PartNumber=2, ChecksumMode="ENABLED")
        d.equal("part 2", (second["Body"].read(), second["PartsCount"], second["ChecksumCRC32"], second["ContentRange"]),
                (two, 2, parts[1]["ChecksumCRC32"], f"bytes {len(one)}-{len(one + two) - 1}/{len(one + two)}"))
        d.equal("part 3", answer(c.get_object, **where, PartNumber=3), ("InvalidPartNumber", 416))
        c.copy_object(**where, CopySource=f"{BUCKET}/k", MetadataDirective="REPLACE", Metadata={"t": "1"})
        touched = c.get_object(**where)
        d.equal("touched", (touched["Metadata"], touched["ETag"], sha256(touched["Body"].read())), ({"t": "1"}, done["ETag"], sha256(one + two)))
        plain = c.copy_object(Bucket=BUCKET, Key="plain", CopySource=f"{BUCKET}/k")
        d.equal("a copy is one part", plain["CopyObjectResult"]["ETag"], '"' + hashlib.md5(one + two).hexdigest() + '"')
        upload = {**where, "UploadId": c.create_multipart_upload(**where)["UploadId"]}  # no algorithm: CRC64NVME, as on AWS
        parts = [{"PartNumber": n, "ETag": c.upload_part(**upload, PartNumber=n, Body=body, **kw)["ETag"]}
                 for n, body, kw in ((1, one, {"ChecksumAlgorithm": "CRC32"}), (2, two, {}))]
        c.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        told = c.head_object(**where, ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
        c.put_object(Bucket=BUCKET, Key="whole", Body=one + two)
        once = c.head_object(Bucket=BUCKET, Key="whole", ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
        if "x-amz-checksum-crc64nvme" in once:  # the newest SDKs send CRC32 with this PUT
            d.equal("CRC64NVME of mixed parts", told.get("x-amz-checksum-crc64nvme"), once["x-amz-checksum-crc64nvme"])
        d.equal("its type", told.get("x-amz-checksum-type"), "FULL_OBJECT")
        upload = {**where, "UploadId": c.create_multipart_upload(**where)["UploadId"]}
        for rng, want in (("bytes=0-5243880", ("InvalidArgument", 400)), ("bytes=5-", ("InvalidArgument", 400)), ("bytes=0-9", ("OK", 200))):
            d.equal(rng, answer(c.upload_part_copy, **upload, PartNumber=1, CopySource=f"{BUCKET}/k", CopySourceRange=rng), want)
        c.abort_multipart_upload(**upload)
        d.equal("aborted twice", answer(c.abort_multipart_upload, **upload), ("NoSuchUpload", 404))
        for key in ("a/1", "a/2", "b", "c/x"):
            c.create_multipart_upload(Bucket=BUCKET, Key=key)
        pages = c.get_paginator("list_multipart_uploads").paginate(Bucket=BUCKET, Delimiter="/", PaginationConfig={"PageSize": 1})
        d.equal("uploads by one", [e for p in pages for e in [u["Key"] for u in p.get("Uploads", [])] + prefixes(p)], ["a/", "b", "c/"])
        d.end()


def forms_of_browsers():
    with serving() as s:
        c, d = boto3_client(s), Deviations()
        c.create_bucket(Bucket=BUCKET)

        def post(conditions=(), fields=None, data=b"hello\r\n--world\r\n", name="a b.txt", alter=None):
            form = c.generate_presigned_post(BUCKET, "up/${filename}", Fields=dict(fields or {}), Conditions=list(conditions))
            boundary = "----LecternFormBoundary"
            body = b"".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
                            for k, v in {**form["fields"], **(alter or {})}.items())
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
                     .encode() + data + f"\r\n--{boundary}--\r\n".encode())
            return s.request("POST", urllib.parse.urlsplit(form["url"]).path, body,
                             {"Content-Type": "multipart/form-data; boundary=" + boundary, "Origin": "https://studio.example"})
        status, headers, _ = post()
        got = c.get_object(Bucket=BUCKET, Key="up/a b.txt")
        d.equal("a form", (status, headers["access-control-allow-origin"], got["Body"].read(), got["ContentType"]),
                (204, "*", b"hello\r\n--world\r\n", "binary/octet-stream"))
        status, _, text = post(fields={"success_action_status": "201", "Content-Type": "text/css", "x-amz-meta-who": "me"},
                               conditions=[{"success_action_status": "201"}, ["starts-with", "$Content-Type", "text/"], {"x-amz-meta-who": "me"}])
        got = c.head_object(Bucket=BUCKET, Key="up/a b.txt")
        d.equal("201", (status, b"<Key>up/a b.txt</Key>" in text, got["ContentType"], got["Metadata"]), (201, True, "text/css", {"who": "me"}))
        to = "https://studio.example/done?x=1"
        status, headers, _ = post(fields={"success_action_redirect": to}, conditions=[{"success_action_redirect": to}])
        d.equal("a redirect", (status, headers["location"].startswith(to + f"&bucket={BUCKET}&key=up%2Fa%20b.txt&etag=%22")), (303, True))
        large = random_bytes(9 * MIB)
        d.equal("a large file", (post(data=large, name="large")[0], sha256(c.get_object(Bucket=BUCKET, Key="up/large")["Body"].read())),
                (204, sha256(large)))
        for what, kwargs, code in (("too long", {"conditions": [["content-length-range", 1, 5]]}, b"EntityTooLarge"),
                                   ("too short", {"conditions": [["content-length-range", 100, 500]]}, b"EntityTooSmall"),
                                   ("another key", {"alter": {"key": "elsewhere"}}, b"AccessDenied"),
                                   ("another bucket", {"alter": {"bucket": "elsewhere"}}, b"AccessDenied"),
                                   ("an unnamed field", {"alter": {"x-amz-meta-x": "0"}}, b"AccessDenied"),
                                   ("a wrong signature", {"alter": {"x-amz-signature": "0" * 64}}, b"SignatureDoesNotMatch")):
            status, _, text = post(name="refused", **kwargs)
            d.equal(what, (status in (400, 403), b"<Code>" + code + b"</Code>" in text), (True, True))
        d.equal("nothing refused is stored", answer(c.head_object, Bucket=BUCKET, Key="up/refused"), ("404", 404))
        d.end()


def client_of(server, creator):
    import boto3
    from botocore.config import Config
    key = server.control("POST", f"/v1/creators/{creator['id']}/keys", {})
    client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=key["access_key"],
                          aws_secret_access_key=key["secret_key"], config=Config(retries={"max_attempts": 1}, signature_version="s3v4"))
    return client, key["access_key"]


def creators_are_apart():
    with serving() as s:
        root, d = boto3_client(s), Deviations()
        ann, bob = (s.control("POST", "/v1/creators", {"name": name}) for name in ("Ann", "Bob"))
        (a, _), (b, b_key) = client_of(s, ann), client_of(s, bob)
        a.create_bucket(Bucket="ann-bucket")
        b.create_bucket(Bucket="bob-bucket")
        a.put_object(Bucket="ann-bucket", Key="k", Body=b"ann's")
        upload = a.create_multipart_upload(Bucket="ann-bucket", Key="m")["UploadId"]
        b.put_object(Bucket="bob-bucket", Key="k", Body=b"bob's")
        into = b.create_multipart_upload(Bucket="bob-bucket", Key="m")["UploadId"]
        where = {"Bucket": "ann-bucket", "Key": "k"}
        attempts = (
            (b.get_object, where), (b.head_object, where), (b.put_object, {**where, "Body": b""}), (b.delete_object, where),
            (b.list_objects_v2, {"Bucket": "ann-bucket"}), (b.head_bucket, {"Bucket": "ann-bucket"}), (b.delete_bucket, {"Bucket": "ann-bucket"}),
            (b.delete_objects, {"Bucket": "ann-bucket", "Delete": {"Objects": [{"Key": "k"}]}}),
            (b.copy_object, {"Bucket": "bob-bucket", "Key": "stolen", "CopySource": "ann-bucket/k"}),
            (b.copy_object, {**where, "CopySource": "bob-bucket/k"}),
            (b.upload_part_copy, {"Bucket": "bob-bucket", "Key": "m", "UploadId": into, "PartNumber": 1, "CopySource": "ann-bucket/k"}),
            (b.upload_part, {"Bucket": "ann-bucket", "Key": "m", "UploadId": upload, "PartNumber": 1, "Body": b""}),
            (b.list_parts, {"Bucket": "ann-bucket", "Key": "m", "UploadId": upload}),
            (b.abort_multipart_upload, {"Bucket": "ann-bucket", "Key": "m", "UploadId": upload}),
            (b.complete_multipart_upload, {"Bucket": "ann-bucket", "Key": "m", "UploadId": upload,
                                           "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": "0"}]}}),
            (b.get_object_tagging, where), (b.put_object_tagging, {**where, "Tagging": {"TagSet": []}}), (b.get_object_acl, where))
        for call, kwargs in attempts:
            code, status = answer(call, **kwargs)
            d.equal(f"Bob's {call.__name__}", (code in ("AccessDenied", "403"), status), (True, 403))
        d.equal("Bob takes Ann's name", answer(b.create_bucket, Bucket="ann-bucket"), ("BucketAlreadyExists", 409))
        d.equal("Bob's buckets", [x["Name"] for x in b.list_buckets()["Buckets"]], ["bob-bucket"])
        d.equal("root's buckets", [x["Name"] for x in root.list_buckets()["Buckets"]], ["ann-bucket", "bob-bucket"])
        form = b.generate_presigned_post("ann-bucket", "posted")
        boundary, body = "X", b""
        for name, value in form["fields"].items():
            body += f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        body += b'--X\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--X--\r\n'
        status, _, text = s.request("POST", "/ann-bucket", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        d.equal("Bob's form", (status, b"<Code>AccessDenied</Code>" in text), (403, True))
        s.control("PUT", f"/v1/creators/{bob['id']}/keys/{b_key}/buckets/ann-bucket", {"rights": ["read"]})
        d.equal("Bob may read", b.get_object(**where)["Body"].read(), b"ann's")
        d.equal("and copy from it", answer(b.copy_object, Bucket="bob-bucket", Key="c", CopySource="ann-bucket/k"), ("OK", 200))
        d.equal("but not write", answer(b.put_object, **where, Body=b""), ("AccessDenied", 403))
        d.equal("what is there", (a.get_object(**where)["Body"].read(), len(a.list_objects_v2(Bucket="ann-bucket")["Contents"])), (b"ann's", 1))
        d.end()


def a_connection_goes_on_after_any_answer():
    """botocore asks for 100 Continue with every PUT, also an empty or a refused one; what follows on the connection must not
    be taken for something else."""
    with serving() as s:
        c = boto3_client(s, read_timeout=5)
        c.create_bucket(Bucket=BUCKET)
        for i, kwargs in enumerate(({"Body": b""}, {"Body": b"", "ACL": "public-read"}, {"Body": b"abc", "ACL": "public-read"},
                                    {"Body": b"", "StorageClass": "GLACIER"}, {"Body": b"x" * 300000, "Metadata": {"k": "v" * 3000}})):
            answer(c.put_object, Bucket=BUCKET, Key=f"first{i}", **kwargs)
            check(answer(c.put_object, Bucket=BUCKET, Key=f"second{i}", Body=b"x" * 10000) == ("OK", 200), f"after {i}")
        url = urllib.parse.urlsplit(c.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "second0"}))
        connection = http.client.HTTPConnection("127.0.0.1", s.s3_port, timeout=10)
        for path, want in ((f"/{BUCKET}/second0", 403), (url.path + "?" + url.query, 200), ("/healthz", 200), (url.path + "?" + url.query, 200)):
            connection.request("GET", path)
            got = connection.getresponse()
            got.read()
            check(got.status == want, f"{path[:40]}: {got.status}")
        connection.close()


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    main(listings_at_odd_delimiters, what_is_not_there, descriptions_and_tags, copies, parts_and_their_checksums, forms_of_browsers,
         creators_are_apart, a_connection_goes_on_after_any_answer)
