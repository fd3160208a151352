#!/usr/bin/env python3
"""A learner's browser: headless Chromium plays a lesson with hls.js through one playback URL, seeks, shows captions; without
a grant it shows the refusal. Screenshots are kept as artefacts. Once on the gateway's own page /watch, once on a page of the
platform's on another origin, where every request of the player is subject to CORS."""
import contextlib
import functools
import http.server
import json
import os
import shutil
import threading

from harness import ARTEFACTS, ROOT, check, main, serving
from media import prepare
from webdriver import Browser

HLS_JS = os.path.join(os.environ.get("LECTERN_NODE_MODULES", os.path.join(ROOT, "build/node")), "node_modules/hls.js/dist")
STATE = """const v = document.querySelector('video');
return { time: v.currentTime, width: v.videoWidth, ready: v.readyState, seeking: v.seeking, paused: v.paused,
         cues: [...v.textTracks].reduce((n, t) => { if (t.mode === 'disabled') t.mode = 'hidden'; return n + (t.cues ? t.cues.length : 0); }, 0),
         error: v.error && v.error.message, text: document.body.innerText }"""


@contextlib.contextmanager
def platform_page(folder):
    """The platform's own page, with hls.js as npm brings it."""
    site = os.path.join(folder, "site")
    os.mkdir(site)
    shutil.copy(os.path.join(HLS_JS, "hls.min.js"), site)
    shutil.copy(os.path.join(ROOT, "tests/system/player.html"), site)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/player.html"
    finally:
        server.shutdown()
        server.server_close()


def state_text(browser):
    return lambda: "the page says " + json.dumps(browser.script(STATE))[:1500] + " console: " + json.dumps(browser.console())[:1500]


def play_and_seek(browser, name):
    def state():
        return browser.script(STATE)
    browser.wait(lambda: state()["time"] > 1 and state()["width"] in (426, 854), 60, state_text(browser))
    browser.screenshot(os.path.join(ARTEFACTS, f"{name}-playing.png"))
    browser.script("document.querySelector('video').currentTime = 41.5")
    browser.wait(lambda: state()["time"] > 42 and not state()["seeking"] and state()["ready"] >= 3, 60, state_text(browser))
    check(state()["time"] < 58, f"the seek landed at {state()['time']}")
    browser.wait(lambda: state()["cues"] > 0, 30, lambda: "no captions: " + state_text(browser)())
    browser.script("document.querySelector('video').currentTime = 10")
    browser.wait(lambda: 10.2 < state()["time"] < 30 and state()["ready"] >= 3, 60, state_text(browser))
    browser.screenshot(os.path.join(ARTEFACTS, f"{name}-after-seek.png"))
    check(state()["error"] is None, f"{state()}")


def shows_refusal(browser, name):
    browser.wait(lambda: "no access to this course" in browser.script(STATE)["text"], 60, state_text(browser))
    check("grant_missing" in browser.script(STATE)["text"], browser.script(STATE)["text"])
    check(browser.script(STATE)["time"] == 0, "something plays without a grant")
    browser.screenshot(os.path.join(ARTEFACTS, f"{name}-refused.png"))


def watch(page_of, name):
    with serving(env={"LECTERN_GRANT_CACHE": "500ms", "LECTERN_ASSETS_DIR": HLS_JS}) as s:
        prepare(s)
        url = s.control("POST", "/v1/playback", {"user": "learner", "course": "organ", "lesson": "hls-ts"})["url"]
        fmp4 = s.control("POST", "/v1/playback", {"user": "learner", "course": "organ", "lesson": "hls"})["url"]
        with contextlib.ExitStack() as stack:
            page = stack.enter_context(page_of(s))
            browser = Browser(s.folder)
            stack.callback(browser.close)
            browser.open(page + "#" + url)
            play_and_seek(browser, name)
            browser.open(page + "#" + fmp4)
            browser.wait(lambda: browser.script(STATE)["time"] > 1, 60, state_text(browser))
            refused = s.control("POST", "/v1/playback", {"user": "stranger", "course": "organ", "lesson": "hls-ts"}, expect=(403,))
            check(refused["code"] == "grant_missing" and "url" not in refused, f"{refused}")
            s.control("DELETE", "/v1/users/learner/grants/organ")
            browser.wait(lambda: s.get_url(url)[0] == 403, 20, "the gateway goes on after the grant's end")
            browser.open(page + "#" + url)
            shows_refusal(browser, name)


def a_platforms_page_on_another_origin_plays_and_shows_the_refusal():
    watch(lambda s: platform_page(s.folder), "platform")


def the_gateways_watch_page_plays_and_shows_the_refusal():
    watch(lambda s: contextlib.nullcontext(s.endpoint + "/watch"), "watch")


if __name__ == "__main__":
    main(a_platforms_page_on_another_origin_plays_and_shows_the_refusal, the_gateways_watch_page_plays_and_shows_the_refusal)
