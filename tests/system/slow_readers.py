#!/usr/bin/env python3
"""2,000 slow concurrent readers of one 200 MiB object: the server's memory stays within the bound that docs/operators.md
states (read.pool_bytes and 256 MiB beside it), and other clients are still served."""
import resource
import select
import socket
import time

from harness import MIB, RELEASE_BIN, check, main, random_bytes, serving
from media import prepare_object

READERS = 2000
BOUND = (384 + 256) * MIB


def readable(sockets):
    poll = select.poll()
    table = {c.fileno(): c for c in sockets}
    for fd in table:
        poll.register(fd, select.POLLIN)
    return [table[fd] for fd, _ in poll.poll(50)]


def readers_stay_within_the_bound():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    with serving(binary=RELEASE_BIN) as s:
        body = random_bytes(200 * MIB, seed=3)
        url = prepare_object(s, body)
        host, path = ("127.0.0.1", s.s3_port), url[url.index("/t/"):]
        before = s.rss_bytes()
        sockets = []
        for _ in range(READERS):
            c = socket.socket()
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a slow phone: the kernel buffers little
            c.connect(host)
            c.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{s.s3_port}\r\n\r\n".encode())
            sockets.append(c)
        peak, begun, received = 0, time.monotonic(), [0] * READERS
        index = {c.fileno(): i for i, c in enumerate(sockets)}
        while time.monotonic() - begun < 20:
            for c in readable(sockets):
                received[index[c.fileno()]] += len(c.recv(2048))
            peak = max(peak, s.rss_bytes())
            time.sleep(0.01)
        check(min(received) > 0, f"{received.count(0)} readers were given nothing")
        # Somebody in a hurry is served meanwhile.
        begun = time.monotonic()
        status, _, got = s.get_url(url, {"Range": "bytes=104857600-105906175"})
        check(status == 206 and got == body[104857600:105906176], "a range beside 2,000 slow readers")
        hurried = time.monotonic() - begun
        peak = max(peak, s.rss_bytes())
        for c in sockets:
            c.close()
        print(f"      RSS {before // MIB} MiB before, {peak // MIB} MiB at most with {READERS} readers; a 1 MiB range took {hurried:.2f} s")
        check(peak < BOUND, f"RSS reached {peak // MIB} MiB, more than {BOUND // MIB} MiB")


if __name__ == "__main__":
    main(readers_stay_within_the_bound)
