#!/usr/bin/env python3
"""Playback as players do it: ffprobe and ffmpeg through one playback URL, HLS of both kinds, seeks, and every refusal."""
import json
import os
import time
import urllib.parse

from harness import ADMIN, ROOT, Failure, boto3_client, check, main, serving, sha256

TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".m4s": "video/iso.segment", ".mp4": "video/mp4",
         ".vtt": "text/vtt", ".pdf": "application/pdf", ".epub": "application/epub+zip"}


def demo_folder(server):
    folder = os.path.join(ROOT, "build/demo")
    server.run(os.path.join(ROOT, "scripts/demo-course"), folder)
    return folder


def prepare(server, types=TYPES):
    """The demo course, uploaded and granted to `learner`."""
    folder = demo_folder(server)
    s3 = boto3_client(server)
    s3.create_bucket(Bucket="demo")
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            extra = {"ContentType": types[os.path.splitext(name)[1]]} if os.path.splitext(name)[1] in types else {}
            s3.upload_file(path, "demo", "organ/" + os.path.relpath(path, folder), ExtraArgs=extra)
    server.control("PUT", "/v1/users/learner", {})
    server.control("PUT", "/v1/users/stranger", {})
    server.control("PUT", "/v1/courses/organ", {"title": "Organ building"})
    for lesson, entry in (("video", "lesson.mp4"), ("hls", "index.m3u8"), ("hls-ts", "index.m3u8"), ("handbook", "handbook.pdf")):
        server.control("PUT", f"/v1/courses/organ/lessons/{lesson}",
                       {"title": lesson, "bucket": "demo", "prefix": f"organ/{lesson}/", "entry": entry})
    server.control("PUT", "/v1/users/learner/grants/organ", {})
    return folder


def prepare_object(server, body):
    """One object as a lesson of its own; returns its playback URL."""
    s3 = boto3_client(server)
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="lesson/file.mp4", Body=body, ContentType="video/mp4")
    server.control("PUT", "/v1/users/learner", {})
    server.control("PUT", "/v1/courses/one", {"title": "One"})
    server.control("PUT", "/v1/courses/one/lessons/file", {"title": "File", "bucket": "one", "prefix": "lesson/", "entry": "file.mp4"})
    server.control("PUT", "/v1/users/learner/grants/one", {})
    return server.control("POST", "/v1/playback", {"user": "learner", "course": "one", "lesson": "file"})["url"]


def playback(server, lesson, user="learner"):
    return server.control("POST", "/v1/playback", {"user": user, "course": "organ", "lesson": lesson})["url"]


def duration(server, url):
    out = server.run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "json", url).stdout
    return float(json.loads(out)["format"]["duration"])


def decode_all(server, url, *seek):
    done = server.run("ffmpeg", "-nostdin", "-v", "error", "-xerror", *seek, "-i", url, "-f", "null", "-")
    check(done.stderr == b"", f"ffmpeg says: {done.stderr[-500:]!r}")


def players_read_every_format_and_seek():
    with serving() as s:
        prepare(s)
        for lesson in ("video", "hls", "hls-ts"):
            url = playback(s, lesson)
            seconds = duration(s, url)
            check(59 < seconds < 61.5, f"{lesson} lasts {seconds} s")
            decode_all(s, url)
        decode_all(s, playback(s, "video"), "-ss", "42.5")
        decode_all(s, playback(s, "hls"), "-ss", "31")
        captions = urllib.parse.urljoin(playback(s, "hls-ts"), "captions.vtt")
        check(s.get_url(captions)[2].startswith(b"WEBVTT"), "captions")


def one_url_covers_the_lesson_and_nothing_else():
    with serving() as s:
        folder = prepare(s)
        url = playback(s, "hls")
        status, headers, body = s.get_url(url, {"Origin": "https://school.example"})
        check(status == 200 and body.startswith(b"#EXTM3U"), f"{status}")
        check(headers.get("access-control-allow-origin") == "*" and headers.get("referrer-policy") == "no-referrer", f"{headers}")
        check(headers["content-type"] == TYPES[".m3u8"], headers["content-type"])
        segment = urllib.parse.urljoin(url, "seg003.m4s")
        with open(os.path.join(folder, "hls/seg003.m4s"), "rb") as f:
            want = f.read()
        check(sha256(s.get_url(segment)[2]) == sha256(want), "a segment differs")
        status, headers, body = s.get_url(segment, {"Range": "bytes=100-199"})
        check(status == 206 and body == want[100:200] and headers["content-range"] == f"bytes 100-199/{len(want)}", f"{status} {headers}")
        status, headers, _ = s.get_url(segment, {"Range": f"bytes={len(want)}-"})
        check(status == 416 and headers["content-range"] == f"bytes */{len(want)}", f"{status} {headers}")
        status, headers, body = s.get_url(segment, method="HEAD")
        check(status == 200 and body == b"" and int(headers["content-length"]) == len(want), f"HEAD {status} {headers}")
        base, key = url.split("/t/")[0], "organ/hls/seg003.m4s"
        token = url.split("/t/")[1].split("/")[0]
        refused = {
            f"{base}/t/{token}/organ/hls-ts/index.m3u8": "token_path", f"{base}/t/{token}/organ/hlsx": "token_path",
            f"{base}/t/{token}/organ/video/lesson.mp4": "token_path", f"{base}/t/{token}/organ/hls/../video/lesson.mp4": "path_invalid",
            f"{base}/t/{token}/organ/hls/%2e%2e/video/lesson.mp4": "path_invalid", f"{base}/t/{token}/organ/hls%2fseg003.m4s": "path_invalid",
            f"{base}/t/{token[:-4]}AAAA/{key}": "token_bad_signature", f"{base}/t/AAAA/{key}": "token_malformed",
        }
        for bad, code in refused.items():
            path = bad[len(base):]
            status, headers, body = s.request("GET", path, headers={"Origin": "https://school.example"})
            check(json.loads(body)["code"] == code and status in (400, 403), f"{path[-60:]}: {status} {body[:200]!r}, expected {code}")
            check(headers.get("access-control-allow-origin") == "*", f"no CORS on the refusal {code}")
        inside = s.request("GET", f"/t/{token}/organ/hls/absent.m4s")
        check(inside[0] == 404, f"absent file: {inside[0]}")
        flipped = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
        check(s.request("GET", f"/t/{flipped}/{key}")[0] == 403, "a flipped claim")


def a_revoked_grant_ends_playback_and_explain_says_why():
    with serving(env={"LECTERN_GRANT_CACHE": "1s"}) as s:
        prepare(s)
        try:
            s.control("POST", "/v1/playback", {"user": "stranger", "course": "organ", "lesson": "video"})
            raise Failure("a stranger was given a URL")
        except Failure as refusal:
            check("grant_missing" in str(refusal), str(refusal))
        url = playback(s, "video")
        check(s.get_url(url, {"Range": "bytes=0-1"})[0] == 206, "it plays")
        said = s.control("GET", "/v1/explain?token=" + urllib.parse.quote(url, safe=""))
        check(said["code"] == "ok", f"{said}")
        s.control("DELETE", "/v1/users/learner/grants/organ")
        deadline = time.monotonic() + 5
        while s.get_url(url, {"Range": "bytes=0-1"})[0] != 403:
            check(time.monotonic() < deadline, "the revoked grant still opens the lesson")
            time.sleep(0.1)
        said = s.control("GET", "/v1/explain?token=" + urllib.parse.quote(url, safe=""))
        check(said["code"] == "grant_missing", f"{said}")
        told = s.run(s.binary, "explain", url, ok=False)
        check(told.returncode == 1 and b"grant_missing" in told.stdout + told.stderr, f"{told.stdout!r}")
        wrong = s.request("GET", "/v1/users", headers={"Authorization": "Bearer wrong"}, port=s.control_port)
        check(wrong[0] == 401 and set(json.loads(wrong[2])) == {"code", "message", "request_id"}, f"{wrong}")
        check(ADMIN not in s.log_text() and url.split("/t/")[1].split("/")[0] not in s.log_text(), "a secret stands in the log")


def rotated_and_retired_signing_keys():
    with serving() as s:
        prepare(s)
        old = playback(s, "video")
        s.control("POST", "/v1/signing-keys/rotate")
        new = playback(s, "video")
        check(s.get_url(old, {"Range": "bytes=0-0"})[0] == 206 and s.get_url(new, {"Range": "bytes=0-0"})[0] == 206, "both live")
        keys = s.control("GET", "/v1/signing-keys")
        rows = keys if isinstance(keys, list) else next(v for v in keys.values() if isinstance(v, list))
        check(len(rows) == 2, f"{keys}")


if __name__ == "__main__":
    main(players_read_every_format_and_seek, one_url_covers_the_lesson_and_nothing_else,
         a_revoked_grant_ends_playback_and_explain_says_why, rotated_and_retired_signing_keys)
