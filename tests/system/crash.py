#!/usr/bin/env python3
"""kill -9 in the middle of uploads, 50 times: every acknowledged object is whole, no half object is visible, and the
restart needs no hands."""
import os
import random
import threading
import time

from harness import MIB, Server, boto3_client, check, main, random_bytes, sha256

CYCLES = int(os.environ.get("LECTERN_CRASH_CYCLES", "50"))
SIZES = (0, 1, 5_000, 64 * 1024, 300_000, 3 * MIB, 9 * MIB)


def writer(client, number, cycle, rng, acknowledged, begun, stop):
    """Uploads until the server is gone; what was acknowledged is noted with its digest, what was begun by name."""
    turn = 0
    while not stop.is_set():
        turn += 1
        key = f"w{number}/c{cycle:03}/{turn:04}" if rng.random() < 0.7 else f"w{number}/same{turn % 3}"
        body = random_bytes(rng.choice(SIZES), seed=rng.random())
        begun.setdefault(key, set()).add(sha256(body))
        try:
            if len(body) > 5 * MIB:
                upload = client.create_multipart_upload(Bucket="crash", Key=key)["UploadId"]
                parts = []
                for i, at in enumerate(range(0, len(body), 5 * MIB), 1):
                    tag = client.upload_part(Bucket="crash", Key=key, UploadId=upload, PartNumber=i, Body=body[at:at + 5 * MIB])["ETag"]
                    parts.append({"PartNumber": i, "ETag": tag})
                client.complete_multipart_upload(Bucket="crash", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
            else:
                client.put_object(Bucket="crash", Key=key, Body=body)
        except Exception:  # the server is gone: the outcome of this one is unknown
            return
        # Acknowledged: from now on the key holds this body, or a later one of the same key.
        acknowledged[key] = sha256(body)
        begun[key] = {sha256(body)}


def verify(client, acknowledged, begun, keys):
    for key in keys:
        want = begun.get(key, set()) | ({acknowledged[key]} if key in acknowledged else set())
        try:
            got = sha256(client.get_object(Bucket="crash", Key=key)["Body"].read())
        except client.exceptions.NoSuchKey:
            check(key not in acknowledged, f"acknowledged {key} is gone")
            continue
        check(got in want, f"{key} holds bytes that nobody wrote")
        acknowledged[key] = got
        begun[key] = {got}


def acknowledged_objects_survive_kill_9():
    server = Server(drives=3, env={"LECTERN_GC_DELAY": "2s"})
    rng = random.Random(20260101)
    acknowledged, begun = {}, {}
    try:
        server.start()
        boto3_client(server).create_bucket(Bucket="crash")
        slowest = 0
        for cycle in range(CYCLES):
            stop = threading.Event()
            threads = [threading.Thread(target=writer, args=(boto3_client(server), n, cycle, random.Random(rng.random()),
                                                             acknowledged, begun, stop)) for n in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.05, 1.2))
            server.kill()
            stop.set()
            for thread in threads:
                thread.join()
            slowest = max(slowest, server.start())
            client = boto3_client(server)
            recent = [k for k in begun if f"/c{cycle:03}/" in k or "/same" in k]
            verify(client, acknowledged, begun, recent)
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="crash", Prefix="", PaginationConfig={"PageSize": 1000})
            listed = {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}
            check(set(acknowledged) <= set(listed) <= set(begun), "the listing shows what nobody wrote, or lacks what was acknowledged")
        verify(boto3_client(server), acknowledged, begun, sorted(begun))
        server.stop()
        print(f"      {CYCLES} kills, {len(acknowledged)} acknowledged objects, slowest start {slowest:.2f} s")
    except BaseException:
        print(server.log_text()[-4000:])
        raise
    finally:
        server.cleanup()


if __name__ == "__main__":
    main(acknowledged_objects_survive_kill_9)
