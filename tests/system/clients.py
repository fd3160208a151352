#!/usr/bin/env python3
"""The client matrix: each S3 client as its users run it, bytes compared by SHA-256."""
import json
import os

from harness import (ACCESS, MIB, REGION, ROOT, SECRET, boto3_client, check, file_sha256, main, random_bytes, serving, sha256,
                     write_file)

SIZES = {"empty": 0, "one": 1, "64k": 64 * 1024, "5m": 5 * MIB, "200m": 200 * MIB}
HARD_KEYS = ["with space.txt", "plus+plus.txt", "per%cent.txt", "ünï/çödé/日本語.txt", "emoji-🎹.txt", "a//b///c.txt",
             "dots/../up.txt", "tail/", "quote'\"&<>.txt", "semi;colon=eq?q#h.txt", "x" * 700 + "/long.txt", "tilde~!*().txt"]


def make_files(server, sizes=SIZES):
    folder = os.path.join(server.folder, "files")
    return {name: write_file(os.path.join(folder, name + ".bin"), size, seed=size + 7) for name, size in sizes.items()}


def client_awscli():
    with serving() as s:
        def aws(*words, **kw):
            return s.run("aws", "--endpoint-url", s.endpoint, *words, **kw)
        files = make_files(s)
        aws("s3", "mb", "s3://videos")
        for name, path in files.items():
            aws("s3", "cp", path, f"s3://videos/sizes/{name}")
            aws("s3", "cp", f"s3://videos/sizes/{name}", path + ".back")
            check(file_sha256(path) == file_sha256(path + ".back"), f"{name} differs")
            os.unlink(path + ".back")
        tree = os.path.join(s.folder, "tree")
        for i in range(40):
            path = write_file(os.path.join(tree, f"dir {i % 4}", f"file+{i} é.bin"), 1000 + i, seed=i)
            os.utime(path, (1.6e9, 1.6e9))  # S3's Last-Modified has whole seconds: a file as young as its upload looks newer
        aws("s3", "sync", tree, "s3://videos/tree")
        again = aws("s3", "sync", tree, "s3://videos/tree").stdout
        check(again == b"", f"a second sync copies again: {again[:200]!r}")
        aws("s3", "sync", "s3://videos/tree", tree + ".back")
        check(s.run("diff", "-r", tree, tree + ".back").stdout == b"", "the synced tree differs")
        aws("s3", "cp", "s3://videos/sizes/5m", "s3://videos/copy/5m")
        aws("s3", "cp", "s3://videos/sizes/200m", "s3://videos/copy/200m")  # UploadPartCopy
        aws("s3", "cp", "s3://videos/copy/200m", os.path.join(s.folder, "copy.back"))
        check(file_sha256(os.path.join(s.folder, "copy.back")) == file_sha256(files["200m"]), "the server-side copy differs")
        check(b"sizes/" in aws("s3", "ls", "s3://videos").stdout or b"PRE sizes/" in aws("s3", "ls", "s3://videos").stdout, "ls")
        head = json.loads(aws("s3api", "head-object", "--bucket", "videos", "--key", "sizes/5m").stdout)
        check(head["ContentLength"] == 5 * MIB and head["AcceptRanges"] == "bytes", f"head-object: {head}")
        part = os.path.join(s.folder, "range")
        aws("s3api", "get-object", "--bucket", "videos", "--key", "sizes/200m", "--range", "bytes=104857590-104857609", part)
        with open(files["200m"], "rb") as f:
            f.seek(104857590)
            check(f.read(20) == open(part, "rb").read(), "a range across parts differs")
        refused = aws("s3api", "get-bucket-versioning", "--bucket", "absent", ok=False)
        check(b"NoSuchBucket" in refused.stderr, refused.stderr.decode())
        aws("s3", "rm", "--recursive", "s3://videos")
        aws("s3", "rb", "s3://videos")
        check(aws("s3", "ls").stdout == b"", "the bucket is still listed")


def client_boto3():
    with serving() as s:
        c = boto3_client(s)
        c.create_bucket(Bucket="videos")
        for key in HARD_KEYS:
            body = key.encode() * 3
            c.put_object(Bucket="videos", Key=key, Body=body, Metadata={"name": "value-" + str(len(key))}, ContentType="text/plain")
            got = c.get_object(Bucket="videos", Key=key)
            check(got["Body"].read() == body and got["Metadata"] == {"name": "value-" + str(len(key))}, f"key {key!r} differs")
            check(got["ContentType"] == "text/plain", "content type")
        listed = [o["Key"] for o in c.list_objects_v2(Bucket="videos")["Contents"]]
        check(listed == sorted(HARD_KEYS, key=lambda k: k.encode()), f"listing order: {listed}")
        for key in HARD_KEYS:
            c.copy_object(Bucket="videos", Key="copy/" + key, CopySource={"Bucket": "videos", "Key": key})
            check(c.get_object(Bucket="videos", Key="copy/" + key)["Body"].read() == key.encode() * 3, f"copy of {key!r}")
        files = make_files(s)
        for name, path in files.items():
            c.upload_file(path, "videos", "sizes/" + name)
            c.download_file("videos", "sizes/" + name, path + ".back")
            check(file_sha256(path) == file_sha256(path + ".back"), f"{name} differs")
            os.unlink(path + ".back")
        for i in range(2500):
            c.put_object(Bucket="videos", Key=f"many/{i:05}", Body=b"x")
        for call, token in (("list_objects_v2", None), ("list_objects", None)):
            keys = [o["Key"] for page in c.get_paginator(call).paginate(Bucket="videos", Prefix="many/") for o in page["Contents"]]
            check(keys == [f"many/{i:05}" for i in range(2500)], f"{call}: {len(keys)} keys")
        pages = c.get_paginator("list_objects_v2").paginate(Bucket="videos", Delimiter="/", PaginationConfig={"PageSize": 2})
        prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
        check(prefixes == sorted(set(prefixes)) and "many/" in prefixes and "ünï/" in prefixes, f"prefixes: {prefixes}")
        keys = [f"many/{i:05}" for i in range(2500)]
        for at in range(0, len(keys), 1000):
            done = c.delete_objects(Bucket="videos", Delete={"Objects": [{"Key": k} for k in keys[at:at + 1000]]})
            check(len(done["Deleted"]) == len(keys[at:at + 1000]) and "Errors" not in done, "delete_objects")
        check(c.list_objects_v2(Bucket="videos", Prefix="many/")["KeyCount"] == 0, "deleted keys are listed")


def client_rclone():
    with serving() as s:
        env = {"RCLONE_CONFIG_L_TYPE": "s3", "RCLONE_CONFIG_L_PROVIDER": "Other", "RCLONE_CONFIG_L_ENV_AUTH": "true",
               "RCLONE_CONFIG_L_ENDPOINT": s.endpoint, "RCLONE_CONFIG_L_REGION": REGION, "RCLONE_CONFIG": "/dev/null"}

        def rclone(*words, **kw):
            return s.run("rclone", *words, env=env, **kw)
        files = make_files(s)
        tree = os.path.dirname(files["one"])
        for i, name in enumerate(("with space.txt", "plus+.txt", "per%cent.txt", "日本語.txt", "sub/deep/ü.txt")):
            write_file(os.path.join(tree, name), 100 + i, seed=i)
        rclone("mkdir", "L:videos")
        rclone("sync", tree, "L:videos/tree")
        rclone("check", "--download", tree, "L:videos/tree")
        moved = rclone("sync", "-v", tree, "L:videos/tree").stderr
        check(b"Copied" not in moved, f"a second sync copies again: {moved[-300:]!r}")
        rclone("copy", "L:videos/tree", tree + ".back")
        check(s.run("diff", "-r", tree, tree + ".back").stdout == b"", "the tree differs")
        # modification times round trip through metadata; touch is a copy onto itself with REPLACE
        rclone("touch", "-t", "2020-01-02T03:04:05", "L:videos/tree/one.bin")
        check(b"2020-01-02 03:04:05" in rclone("lsl", "L:videos/tree/one.bin").stdout, "touch")
        rclone("moveto", "L:videos/tree/5m.bin", "L:videos/moved.bin")
        check(b"moved.bin" in rclone("lsf", "L:videos").stdout, "moveto")
        rclone("purge", "L:videos/tree")
        check(rclone("lsf", "L:videos").stdout == b"moved.bin\n", "purge")


def client_s3cmd():
    with serving() as s:
        config = os.path.join(s.folder, "s3cfg")
        with open(config, "w") as f:
            f.write(f"[default]\naccess_key = {ACCESS}\nsecret_key = {SECRET}\nhost_base = 127.0.0.1:{s.s3_port}\n"
                    f"host_bucket = 127.0.0.1:{s.s3_port}\nuse_https = False\nsignature_v2 = False\n")

        def s3cmd(*words, **kw):
            return s.run("s3cmd", "-c", config, "--no-progress", *words, **kw)
        files = make_files(s)
        s3cmd("mb", "s3://videos")
        for name, path in files.items():
            s3cmd("put", path, f"s3://videos/sizes/{name}")
            s3cmd("get", "--force", f"s3://videos/sizes/{name}", path + ".back")
            check(file_sha256(path) == file_sha256(path + ".back"), f"{name} differs")
            os.unlink(path + ".back")
        tree = os.path.join(s.folder, "tree")
        for i, name in enumerate(("with space", "plus+", "per%cent", "日本語", "sub/ü")):
            write_file(os.path.join(tree, name), 10 + i, seed=i)
        s3cmd("sync", tree + "/", "s3://videos/tree/")
        s3cmd("sync", "s3://videos/tree/", tree + ".back/")
        check(s.run("diff", "-r", tree, tree + ".back").stdout == b"", "the tree differs")
        info = s3cmd("info", "s3://videos/sizes/5m").stdout
        check(b"5242880" in info, f"info: {info!r}")
        s3cmd("info", "s3://videos")
        s3cmd("cp", "s3://videos/sizes/5m", "s3://videos/copied")
        s3cmd("modify", "--add-header=Cache-Control: max-age=60", "s3://videos/copied")
        check(b"s3://videos/copied" in s3cmd("ls", "s3://videos").stdout, "ls")
        s3cmd("mv", "s3://videos/copied", "s3://videos/moved")
        s3cmd("del", "--recursive", "--force", "s3://videos")
        s3cmd("rb", "s3://videos")


def client_restic():
    with serving() as s:
        env = {"RESTIC_REPOSITORY": f"s3:{s.endpoint}/backups/repo", "RESTIC_PASSWORD": "organ", "RESTIC_CACHE_DIR": s.folder + "/cache"}
        source = os.path.join(s.folder, "source")
        for i in range(200):
            write_file(os.path.join(source, f"d{i % 7}", f"f{i}"), 200 + i * 37, seed=i)
        write_file(os.path.join(source, "big"), 40 * MIB, seed=5)
        for words in (("init",), ("backup", source), ("check", "--read-data"), ("restore", "latest", "--target", s.folder + "/restored")):
            s.run("restic", *words, env=env)
        check(s.run("diff", "-r", source, s.folder + "/restored" + source).stdout == b"", "the restored tree differs")
        s.run("restic", "forget", "latest", "--prune", env=env)


def client_curl():
    with serving() as s:
        sign = ("curl", "-fsS", "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{ACCESS}:{SECRET}")
        files = make_files(s)
        s.run(*sign, "-X", "PUT", s.endpoint + "/videos")
        for name, path in files.items():
            with open(path, "rb") as f:
                digest = sha256(f.read())
            s.run(*sign, "-H", "x-amz-content-sha256: " + digest, "-T", path, f"{s.endpoint}/videos/{name}")
            s.run(*sign, "-H", "x-amz-content-sha256: " + sha256(b""), "-o", path + ".back", f"{s.endpoint}/videos/{name}")
            check(file_sha256(path) == file_sha256(path + ".back"), f"{name} differs")
        with open(files["5m"], "rb") as f:
            head = f.read(1000)
        got = s.run(*sign, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-r", "0-999", f"{s.endpoint}/videos/5m").stdout
        check(got == head, "a range differs")
        refused = s.run("curl", "-sS", f"{s.endpoint}/videos/5m").stdout
        check(b"<Code>AccessDenied</Code>" in refused, f"anonymous: {refused[:200]!r}")


def client_sdkjs():
    modules = os.environ.get("LECTERN_NODE_MODULES", os.path.join(ROOT, "build/node"))
    with serving() as s:
        files = make_files(s)
        s.run("node", os.path.join(ROOT, "tests/system/sdkjs.mjs"), os.path.dirname(files["one"]), seconds=500,
              env={"LECTERN_NODE_MODULES": modules, "ENDPOINT": s.endpoint}, cwd=modules)


def client_lectern():
    with serving() as s:
        lectern = s.binary
        files = make_files(s)
        s.run(lectern, "mb", "s3://videos")
        for name, path in files.items():
            s.run(lectern, "cp", path, f"s3://videos/{name}")
            s.run(lectern, "cp", f"s3://videos/{name}", path + ".back")
            check(file_sha256(path) == file_sha256(path + ".back"), f"{name} differs")
            os.unlink(path + ".back")
        tree = os.path.dirname(files["one"])
        os.unlink(files["200m"])
        s.run(lectern, "cp", "-r", tree, "s3://videos/tree/")
        s.run(lectern, "cp", "-r", "s3://videos/tree/", tree + ".back")
        check(s.run("diff", "-r", tree, tree + ".back").stdout == b"", "the tree differs")
        check(b"5m" in s.run(lectern, "ls", "s3://videos/").stdout, "ls")
        status = s.run(lectern, "status").stdout.decode()
        check("drive" in status.lower(), status)
        config = s.run(lectern, "config").stdout.decode()
        check("s3.listen" in config and SECRET not in config and f"127.0.0.1:{s.s3_port}" in config, config)
        wrong = s.run(lectern, "ls", "s3://absent/", ok=False)
        check(wrong.returncode != 0 and wrong.stderr.count(b"\n") <= 2 and b"absent" in wrong.stderr, f"{wrong.stderr!r}")


if __name__ == "__main__":
    main(client_awscli, client_boto3, client_rclone, client_s3cmd, client_restic, client_curl, client_sdkjs, client_lectern)
