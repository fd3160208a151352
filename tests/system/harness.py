"""A real `lectern serve` for the system tests: started on free loopback ports with a data folder of its own, ended by
process id, its log searched for sanitizer reports. Python's standard library only.

The tests are plain programs: `main(tests)` runs every function given, prints one line each, and exits 1 at a failure with
the end of the server's log."""
import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("LECTERN_BIN", os.path.join(ROOT, "build/release/lectern"))
RELEASE_BIN = os.environ.get("LECTERN_RELEASE_BIN", os.path.join(ROOT, "build/release/lectern"))
ARTEFACTS = os.environ.get("LECTERN_ARTEFACTS", os.path.join(ROOT, "build/artefacts"))
REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|ThreadSanitizer|Assertion .* failed")
ACCESS, SECRET, ADMIN = "TESTACCESSKEY0000001", "test-secret-key-of-forty-characters-0001", "test-admin-token-0001"
REGION = "us-east-1"
MIB = 1 << 20


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, drives=1, binary=None, env=None, args=()):
        self.binary = binary or BIN
        self.folder = tempfile.mkdtemp(prefix="lectern-test-")
        self.drives = [os.path.join(self.folder, f"drive{i + 1}") for i in range(drives)]
        for drive in self.drives:
            os.mkdir(drive)
        self.s3_port, self.control_port = free_port(), free_port()
        self.args, self.extra_env = list(args), dict(env or {})
        self.log_path = os.path.join(self.folder, "server.log")
        self.process = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def control_url(self):
        return f"http://127.0.0.1:{self.control_port}"

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}  # a CA bundle of this machine's, and the like
        env.update({
            "LECTERN_S3_LISTEN": f"127.0.0.1:{self.s3_port}", "LECTERN_CONTROL_LISTEN": f"127.0.0.1:{self.control_port}",
            "LECTERN_ROOT_ACCESS_KEY": ACCESS, "LECTERN_ROOT_SECRET_KEY": SECRET, "LECTERN_ADMIN_TOKEN": ADMIN,
            "LECTERN_SEGMENT_BYTES": "64MiB", "LECTERN_DATA": self.drives[0], "LECTERN_ENDPOINT_URL": self.endpoint,
            "LECTERN_CONTROL_URL": self.control_url,
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            # what the S3 clients read
            "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true", "HOME": self.folder, "AWS_CONFIG_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
        })
        for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            env.pop(proxy, None)
        env.update(self.extra_env)
        return env

    def start(self, drives=None, seconds=60, expect_failure=False, args=()):
        begun = time.monotonic()
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen([self.binary, "serve", *self.args, *args, *(drives or self.drives)],
                                        stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=self.env())
        while time.monotonic() - begun < seconds:
            if self.process.poll() is not None:
                if expect_failure:
                    return None
                raise Failure(f"the server ended at its start with code {self.process.returncode}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz")[0] == 200:
                    check(not expect_failure, "the server started although it must not")
                    return time.monotonic() - begun
            time.sleep(0.02)
        raise Failure(f"the server is not ready after {seconds} s")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failure(f"the server did not stop within {seconds} s") from None
            check(self.process.returncode == 0, f"the server ended with code {self.process.returncode}")
        found = REPORT.search(self.log_text())
        check(not found, f"the server's log has: {found.group(0) if found else ''}")

    def log_text(self):
        with contextlib.suppress(OSError):
            with open(self.log_path, errors="replace") as f:
                return f.read()
        return ""

    def rss_bytes(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def request(self, method, path, body=None, headers=None, port=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.s3_port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get_url(self, url, headers=None, method="GET"):
        parts = urllib.parse.urlsplit(url)
        return self.request(method, parts.path + ("?" + parts.query if parts.query else ""), headers=headers, port=parts.port)

    def control(self, method, path, body=None, token=ADMIN, expect=(200, 201, 204)):
        status, headers, data = self.request(method, path, json.dumps(body) if body is not None else None,
                                             {"Authorization": "Bearer " + token, "Content-Type": "application/json"},
                                             port=self.control_port)
        check(expect is None or status in expect, f"{method} {path}: {status} {data[:300]!r}")
        return json.loads(data) if data else None

    def run(self, *command, input=None, seconds=300, ok=True, env=None, cwd=None):
        full = self.env()
        full.update(env or {})
        done = subprocess.run(command, input=input, capture_output=True, timeout=seconds, env=full, cwd=cwd)
        if ok and done.returncode != 0:
            raise Failure(f"{' '.join(map(str, command))[:300]}: code {done.returncode}\n{done.stdout[-1500:].decode(errors='replace')}"
                          f"\n{done.stderr[-1500:].decode(errors='replace')}")
        return done

    def cleanup(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def serving(**kwargs):
    """A started server; stopped cleanly at the end, whatever it printed searched for sanitizer reports."""
    server = Server(**kwargs)
    try:
        server.start()
        yield server
        server.stop()
    except BaseException:
        sys.stdout.write("---- the end of the server's log\n" + server.log_text()[-4000:] + "\n----\n")
        raise
    finally:
        server.cleanup()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def file_sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(MIB), b""):
            digest.update(block)
    return digest.hexdigest()


def random_bytes(size, seed=1):
    return random.Random(seed).randbytes(size)


def write_file(path, size, seed=1):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    rng = random.Random(seed)
    with open(path, "wb") as f:
        while size > 0:
            n = min(size, 8 * MIB)
            f.write(rng.randbytes(n))
            size -= n
    return path


def boto3_client(server, **config):
    """The system's boto3, whatever Python runs this test."""
    sys.path.append("/usr/lib/python3/dist-packages")
    os.environ.update({k: v for k, v in server.env().items() if k.startswith(("AWS_", "HOME"))})
    import boto3
    from botocore.config import Config
    config.setdefault("retries", {"max_attempts": 1})
    config.setdefault("signature_version", "s3v4")  # presigned URLs, too: botocore of that age signs them with version 2
    return boto3.client("s3", endpoint_url=server.endpoint, region_name=REGION, aws_access_key_id=ACCESS,
                        aws_secret_access_key=SECRET, config=Config(**config))


def main(*tests):
    only = sys.argv[1:]
    failed = 0
    for test in tests:
        if only and test.__name__ not in only:
            continue
        begun = time.monotonic()
        try:
            test()
            print(f"ok    {test.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as error:  # every failure is told, the rest still runs
            failed += 1
            print(f"FAIL  {test.__name__} ({time.monotonic() - begun:.1f} s): {error}", flush=True)
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
    sys.exit(1 if failed else 0)
