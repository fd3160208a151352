"""Just enough of WebDriver (W3C) to drive a headless Chromium through chromedriver, with the standard library only."""
import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time

from harness import Failure, check, free_port

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--window-size=1000,800",
         "--autoplay-policy=no-user-gesture-required", "--no-first-run", "--no-proxy-server", "--disable-background-networking")


class Browser:
    def __init__(self, folder):
        self.port = free_port()
        self.profile = tempfile.mkdtemp(prefix="chromium-", dir=folder)
        self.log = os.path.join(folder, "chromedriver.log")
        env = dict(os.environ, HOME=self.profile)
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}", f"--log-path={self.log}"], env=env,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.session = None
        try:
            self.wait(lambda: self.call("GET", "/status")["ready"], 30, "chromedriver does not start")
            options = {"args": [*FLAGS, f"--user-data-dir={self.profile}"], "binary": shutil.which("chromium")}
            made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options,
                                                                                  "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = f"/session/{made['sessionId']}"
        except BaseException:
            self.close()
            raise

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, json.dumps(body or {}) if method == "POST" else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        check(answer.status == 200, f"WebDriver {method} {path}: {str(value)[:500]}")
        return value

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": "about:blank"})  # a change of the fragment alone would not load
        self.call("POST", self.session + "/url", {"url": url})

    def script(self, text, *args):
        return self.call("POST", self.session + "/execute/sync", {"script": text, "args": list(args)})

    def screenshot(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", self.session + "/screenshot")))

    def console(self):
        with contextlib.suppress(Failure, OSError):
            return [line["message"] for line in self.call("POST", self.session + "/se/log", {"type": "browser"})]
        return []

    def wait(self, condition, seconds, text):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException, Failure):
                if condition():
                    return
            time.sleep(0.1)
        raise Failure(f"{text() if callable(text) else text} (after {seconds} s)")

    def close(self):
        if self.session:
            with contextlib.suppress(Exception):
                self.call("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
