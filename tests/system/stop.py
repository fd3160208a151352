#!/usr/bin/env python3
"""Starting and stopping as an operator sees it: clean ends, a second start on the same data, clear errors."""
import os
import signal
import socket
import threading
import time

from harness import MIB, Server, boto3_client, check, main, random_bytes, serving, sha256


def a_stop_lets_transfers_end_and_a_start_is_quick():
    server = Server()
    try:
        server.start()
        body = random_bytes(60 * MIB)
        client = boto3_client(server)
        client.create_bucket(Bucket="bkt")
        client.put_object(Bucket="bkt", Key="k", Body=body)
        stream = client.get_object(Bucket="bkt", Key="k")["Body"]
        head = stream.read(MIB)
        server.process.send_signal(signal.SIGTERM)
        rest = stream.read()
        check(sha256(head + rest) == sha256(body), "the transfer under way was cut by a graceful stop")
        server.process.wait(30)  # a second signal would end it at once
        server.stop()
        took = server.start()
        check(sha256(client.get_object(Bucket="bkt", Key="k")["Body"].read()) == sha256(body), "after a restart")
        server.stop()
        print(f"      second start {took:.2f} s (sanitizer build)")
    finally:
        server.cleanup()


def a_second_signal_ends_at_once():
    server = Server(env={"LECTERN_STOP_DEADLINE": "60s"})
    try:
        server.start()
        busy = socket.create_connection(("127.0.0.1", server.s3_port))
        busy.sendall(b"PUT /bkt/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        begun = time.monotonic()
        if server.process.poll() is None:  # it still waits for the request
            server.process.send_signal(signal.SIGINT)
        code = server.process.wait(10)
        check(code in (0, 130) and time.monotonic() - begun < 5, f"code {code}")
        busy.close()
    finally:
        server.cleanup()


def storm(server, ended, failures):
    """One client that writes and reads until the server is gone; what it read must be what was written."""
    client = boto3_client(server, read_timeout=30, retries={"max_attempts": 0})
    body = random_bytes(9 * MIB, seed=threading.get_ident() % 1000)
    key = f"storm/{threading.get_ident()}"
    while not ended.is_set():
        try:
            client.put_object(Bucket="bkt", Key=key, Body=body)
            if sha256(client.get_object(Bucket="bkt", Key=key)["Body"].read()) != sha256(body):
                failures.append("other bytes came back")
        except Exception:  # the server went away: that is what this test is about
            if not ended.is_set():
                time.sleep(0.05)


def a_stop_in_the_middle_of_a_storm_is_clean():
    for engine, deadline, drives in (("auto", "300ms", 3), ("threads", "300ms", 1), ("auto", "10s", 1)):
        server = Server(drives=drives, env={"LECTERN_STOP_DEADLINE": deadline, "LECTERN_DISK_ENGINE": engine})
        ended, failures = threading.Event(), []
        threads = []
        try:
            server.start()
            check(f"engine={'threads' if engine == 'threads' else ''}" in server.log_text(), "the log names the disk engine")
            boto3_client(server).create_bucket(Bucket="bkt")
            threads = [threading.Thread(target=storm, args=(server, ended, failures)) for _ in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(2)
            server.stop(40)  # code 0, and no word of a sanitizer
            ended.set()
            for thread in threads:
                thread.join()
            check(not failures, f"{failures[:1]}")
            server.start()  # the same data, no repair by hand
            server.stop()
        except BaseException:
            print(server.log_text()[-6000:])
            raise
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            server.cleanup()


def mistakes_get_one_clear_sentence():
    with serving() as s:
        other = Server()
        try:
            for drives, words in (([s.drives[0]], "another server"), ([os.path.join(s.folder, "absent/deep")], "absent")):
                done = other.run(other.binary, "serve", *drives, ok=False, seconds=30)
                text = (done.stderr + done.stdout).decode()
                check(done.returncode != 0 and words in text, f"{drives}: code {done.returncode}: {text[-500:]}")
            taken = other.run(other.binary, "serve", other.drives[0], ok=False, seconds=30, env={"LECTERN_S3_LISTEN": f"127.0.0.1:{s.s3_port}"})
            check(taken.returncode != 0 and b"in use" in taken.stderr + taken.stdout, f"{taken.stderr[-500:]!r}")
            unknown = other.run(other.binary, "serv", ok=False)
            check(unknown.returncode != 0 and b"--help" in unknown.stderr + unknown.stdout, f"{unknown.stderr!r}")
        finally:
            other.cleanup()


def an_idle_or_stuck_client_does_not_hold_the_stop():
    server = Server(env={"LECTERN_STOP_DEADLINE": "2s"})
    try:
        server.start()
        idle = socket.create_connection(("127.0.0.1", server.s3_port))
        half = socket.create_connection(("127.0.0.1", server.s3_port))
        half.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.2)
        begun = time.monotonic()
        server.stop()
        check(time.monotonic() - begun < 10, "the stop took too long")
        idle.close()
        half.close()
    finally:
        server.cleanup()


if __name__ == "__main__":
    main(a_stop_lets_transfers_end_and_a_start_is_quick, a_second_signal_ends_at_once,
         a_stop_in_the_middle_of_a_storm_is_clean, mistakes_get_one_clear_sentence, an_idle_or_stuck_client_does_not_hold_the_stop)
