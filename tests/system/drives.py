#!/usr/bin/env python3
"""Several drives: each code by its number of drives, reads without the lost ones, a start without one, damage on disk."""
import os
import random
import shutil

from harness import MIB, Failure, Server, boto3_client, check, main, random_bytes, sha256

SIZES = (0, 1, 64 * 1024, 64 * 1024 + 1, 4 * MIB, 4 * MIB + 1, 23 * MIB + 12345)


def fill(server):
    client = boto3_client(server)
    client.create_bucket(Bucket="bkt")
    wanted = {}
    for i, size in enumerate(SIZES):
        body = random_bytes(size, seed=i)
        client.put_object(Bucket="bkt", Key=f"k{i}", Body=body)
        wanted[f"k{i}"] = body
    return wanted


def verify(server, wanted, why):
    client = boto3_client(server)
    for key, body in wanted.items():
        got = client.get_object(Bucket="bkt", Key=key)["Body"].read()
        check(sha256(got) == sha256(body), f"{why}: {key} differs ({len(got)} of {len(body)} bytes)")
        if len(body) > 5 * MIB:
            at = 4 * MIB - 100
            got = client.get_object(Bucket="bkt", Key=key, Range=f"bytes={at}-{at + 199}")["Body"].read()
            check(got == body[at:at + 200], f"{why}: a range over two stripes differs")


def lose(server, *numbers):
    for n in numbers:
        os.rename(server.drives[n], server.drives[n] + ".lost")


def regain(server, *numbers):
    for n in numbers:
        shutil.rmtree(server.drives[n], ignore_errors=True)
        os.rename(server.drives[n] + ".lost", server.drives[n])


def any_lost_drives_within_the_code_lose_nothing():
    for drives, lost in ((3, [(0,), (1,), (2,)]), (4, [(0,), (3,)]), (6, [(0,), (2,), (5,), (3, 4), (2, 5)])):
        server = Server(drives=drives)
        try:
            server.start()
            wanted = fill(server)
            server.stop()
            for numbers in lost:
                lose(server, *numbers)
                present = [d for i, d in enumerate(server.drives) if i not in numbers]
                server.start(drives=present)
                verify(server, wanted, f"{drives} drives without {numbers}")
                server.stop()
                regain(server, *numbers)
                server.start()
                verify(server, wanted, f"{drives} drives, {numbers} back")
                server.stop()
        except BaseException:
            print(server.log_text()[-4000:])
            raise
        finally:
            server.cleanup()


def writes_go_on_without_one_of_six_drives_and_it_catches_up():
    server = Server(drives=6)
    try:
        server.start()
        wanted = fill(server)
        server.stop()
        lose(server, 1)
        server.start(drives=[d for i, d in enumerate(server.drives) if i != 1])
        client = boto3_client(server)
        for i, size in enumerate(SIZES):
            wanted[f"more{i}"] = random_bytes(size, seed=100 + i)
            client.put_object(Bucket="bkt", Key=f"more{i}", Body=wanted[f"more{i}"])
        client.delete_object(Bucket="bkt", Key="k0")
        del wanted["k0"]
        server.stop()
        regain(server, 1)
        server.start()
        verify(server, wanted, "all six back")
        keys = {o["Key"] for o in boto3_client(server).list_objects_v2(Bucket="bkt")["Contents"]}
        check(keys == set(wanted), "a stale copy of the metadata shows through")
        server.stop()
        # The one that was away must by now hold the metadata too: the two others of the three may go.
        lose(server, 0)
        server.start(drives=[d for i, d in enumerate(server.drives) if i != 0])
        verify(server, wanted, "without the first drive")
        server.stop()
    except BaseException:
        print(server.log_text()[-4000:])
        raise
    finally:
        server.cleanup()


def damaged_bytes_on_a_drive_are_decoded_and_never_served():
    server = Server(drives=4)
    rng = random.Random(5)
    try:
        server.start()
        wanted = fill(server)
        server.stop()
        folder = os.path.join(server.drives[2], "segments")
        flipped = 0
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with open(path, "r+b") as f:
                size = os.path.getsize(path)
                for _ in range(400):  # within the first MiB, where records are
                    at = rng.randrange(4096, min(size, 12 * MIB))
                    f.seek(at)
                    byte = f.read(1)
                    if byte == b"\0":
                        continue
                    f.seek(at)
                    f.write(bytes([byte[0] ^ 1 << rng.randrange(8)]))
                    flipped += 1
        check(flipped > 50, f"only {flipped} bytes were flipped")
        server.start()
        verify(server, wanted, f"{flipped} flipped bits")
        server.stop()
    finally:
        server.cleanup()


def a_drive_of_another_installation_is_refused_by_name():
    one, two = Server(drives=3), Server(drives=3)
    try:
        for server in (one, two):
            server.start()
            server.stop()
        mixed = [one.drives[0], one.drives[1], two.drives[2]]
        before = sorted(os.listdir(two.drives[2]))
        try:
            one.start(drives=mixed)
            # It may serve from the two that belong together, but must name the stranger and leave it alone.
            one.stop()
        except Failure:
            pass
        check(two.drives[2] in one.log_text(), "the foreign drive is not named")
        check(sorted(os.listdir(two.drives[2])) == before, "the foreign drive was touched")
        two.start()
        two.stop()
    finally:
        one.cleanup()
        two.cleanup()


if __name__ == "__main__":
    main(any_lost_drives_within_the_code_lose_nothing, writes_go_on_without_one_of_six_drives_and_it_catches_up,
         damaged_bytes_on_a_drive_are_decoded_and_never_served, a_drive_of_another_installation_is_refused_by_name)
