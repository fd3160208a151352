#!/usr/bin/env python3
"""The command line as its users meet it: help, configuration, secrets, the control commands, copies that go on after kill -9."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

import boto3

from harness import ACCESS, ADMIN, BIN, MIB, SECRET, Server, boto3_client, check, file_sha256, main, serving, write_file

COMMANDS = ("serve status creator key course lesson user grant signing url explain cp ls mb config version").split()


def lectern(*words, env=None, ok=True, seconds=60):
    full = {k: v for k, v in os.environ.items() if not k.startswith(("LECTERN_", "AWS_"))}
    full.update(env or {})
    done = subprocess.run([BIN, *words], capture_output=True, text=True, timeout=seconds, env=full, stdin=subprocess.DEVNULL)
    check(ok is None or (done.returncode == 0) == ok, f"lectern {' '.join(words)}: code {done.returncode}\n{done.stdout[-800:]}\n{done.stderr[-800:]}")
    check("Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr[-3000:])
    return done


def help_teaches_every_command():
    overview = lectern("--help").stdout
    for command in COMMANDS:
        check(re.search(rf"^  {command} ", overview, re.M), f"{command} is not in --help")
        text = lectern(command, "--help").stdout
        check(text.startswith(f"lectern {command}") and "Options:" in text and "--help" in text, f"{command} --help: {text[:300]}")
        check(lectern("help", command).stdout == text, f"lectern help {command}")
    check("--s3-listen" in lectern("serve", "--help").stdout, "configuration keys are flags")
    check(re.match(r"lectern \d+\.\d+\.\d+\n$", lectern("--version").stdout), "version")


def mistakes_are_one_sentence_that_says_what_to_do():
    for words, says in (
            (("nonsense",), "lectern --help"), (("cp", "--frobnicate", "a", "b"), "no option --frobnicate"),
            (("cp", "a"), "lectern cp --help"), (("cp", "a", "b"), "s3://BUCKET/KEY"), (("serve",), "DIR"),
            (("cp", "--parallel", "many", "a", "s3://b/c"), "number"), (("course", "frob"), "lectern course --help"),
            (("course", "add", "x"), "lectern course add COURSE TITLE"), (("url", "ada", "no-slash"), "COURSE/LESSON"),
            (("ls", "bucket"), "s3://BUCKET"), (("config", "--gc-delay", "soon"), "10m"),
            (("config", "--config", "/nonexistent.conf"), "/nonexistent.conf"),
            (("serve", "--code", "9+9", "/tmp"), "k+m"), (("serve", "--log-level", "loud", "/tmp"), "debug, info"),
            (("status", "--control", "http://127.0.0.1:1", "--admin-token", "x" * 20), "lectern serve"),
            (("ls", "--endpoint", "http://127.0.0.1:1", "--data", "/nonexistent"), "LECTERN_ROOT_ACCESS_KEY")):
        listen = ("--s3-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0") if words[0] == "serve" else ()
        done = lectern(*words[:1], *listen, *words[1:], ok=False)
        sentences = [line for line in done.stderr.splitlines() if line.startswith("lectern")]
        check(len(sentences) == 1 and says in sentences[0], f"{words}: {done.stderr!r}")


def configuration_says_what_holds_and_why():
    server = Server()
    try:
        path = os.path.join(server.folder, "lectern.conf")
        with open(path, "w") as f:
            f.write("# for this machine\n[s3]\nlisten = 127.0.0.1:7001\nregion = eu-west-1\n[gc]\ndelay = 3m\n")
        done = lectern("config", "--json", "--config", path, "--gc-delay", "5m", env={"LECTERN_S3_REGION": "eu-north-1", "LECTERN_ADMIN_TOKEN": "hush-hush-hush"})
        rows = {row["key"]: row for row in json.loads(done.stdout)}
        check(rows["s3.listen"]["value"] == "127.0.0.1:7001" and rows["s3.listen"]["source"] == f"file {path}:3", str(rows["s3.listen"]))
        check(rows["s3.region"]["value"] == "eu-north-1" and rows["s3.region"]["source"] == "environment LECTERN_S3_REGION", str(rows["s3.region"]))
        check(rows["gc.delay"]["value"] == "5m" and rows["gc.delay"]["source"] == "flag --gc-delay", str(rows["gc.delay"]))
        check(rows["s3.domain"]["source"] == "default", str(rows["s3.domain"]))
        check("hush" not in done.stdout and "hush" not in lectern("config", env={"LECTERN_ADMIN_TOKEN": "hush-hush-hush"}).stdout, "a secret is shown")
        with open(path, "a") as f:
            f.write("dely = 4m\n")
        check(f"{path}:7" in lectern("config", "--config", path, ok=False).stderr, "the line of a mistake is named")
    finally:
        server.cleanup()


def secrets_of(folder):
    with open(os.path.join(folder, "credentials")) as f:
        return dict(line.replace(" ", "").strip().split("=", 1) for line in f if "=" in line and not line.startswith("#"))


def secrets_are_made_once_kept_private_and_survive_the_first_drive():
    names = ("LECTERN_ROOT_ACCESS_KEY", "LECTERN_ROOT_SECRET_KEY", "LECTERN_ADMIN_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    server = Server(drives=3, env={name: "" for name in names})
    try:
        server.start()
        server.stop()
        made = secrets_of(server.drives[0])
        printed = server.log_text()
        for name in ("root_access_key", "root_secret_key", "admin_token"):
            check(len(made[name]) >= 20 and printed.count(made[name]) == 1, f"{name} is not printed once")
        check(made["master_key"] not in printed, "the master key is printed")
        for drive in server.drives:
            path = os.path.join(drive, "credentials")
            check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"mode of {path}")
            check(secrets_of(drive) == made, f"{drive} has other secrets")
        shutil.rmtree(server.drives[0])
        os.chmod(os.path.join(server.drives[1], "credentials"), 0o644)
        server.start(drives=server.drives[1:])
        server.stop()
        check(server.log_text().count(made["root_secret_key"]) == 1, "the secret is printed again")
        check(stat.S_IMODE(os.stat(os.path.join(server.drives[1], "credentials")).st_mode) == 0o600, "the mode is not repaired")
        server.start(drives=server.drives[1:])
        status = lectern("status", "--json", "--control", server.control_url, "--data", server.drives[1], ok=None)
        server.stop()
        check(json.loads(status.stdout)["stores"], f"status with the data directory's token: {status.stderr}")
    finally:
        server.cleanup()


def the_control_commands_reach_from_a_course_to_a_refusal():
    with serving() as s:
        def run(*words, ok=True):
            return lectern(*words, env=s.env(), ok=ok)
        client = boto3_client(s)
        client.create_bucket(Bucket="media")
        client.put_object(Bucket="media", Key="c/1/video.mp4", Body=b"film" * 1000, ContentType="video/mp4")
        creator = json.loads(run("creator", "add", "Grace Hopper", "--json").stdout)
        key = json.loads(run("key", "add", creator["id"], "--json").stdout)
        check(key["secret_key"] not in run("key", "list", creator["id"]).stdout, "a list shows secrets")
        own = boto3.client("s3", endpoint_url=s.endpoint, region_name="us-east-1", aws_access_key_id=key["access_key"], aws_secret_access_key=key["secret_key"])
        own.create_bucket(Bucket="graces")
        try:
            own.get_object(Bucket="media", Key="c/1/video.mp4")
            check(False, "a creator reads another's bucket")
        except own.exceptions.ClientError as refused:
            check(refused.response["Error"]["Code"] == "AccessDenied", str(refused))
        run("key", "allow", creator["id"], key["access_key"], "media", "read")
        check(own.get_object(Bucket="media", Key="c/1/video.mp4")["Body"].read()[:4] == b"film", "allow read")
        run("course", "add", "c", "The Course ünï")
        run("lesson", "add", "c/1", "First", "media", "c/1/", "video.mp4")
        run("user", "add", "ada@example", "Ada")
        refused = run("url", "ada@example", "c/1", ok=False).stderr
        check("no access" in refused, refused)
        run("grant", "add", "ada@example", "c", "--until", "2199-01-01T00:00:00Z")
        url = run("url", "ada@example", "c/1").stdout.strip()
        check(s.get_url(url)[2][:4] == b"film", "the URL plays")
        check("It would be served" in run("explain", url).stdout, "explain")
        altered = url.replace("/t/", "/t/A")
        check("It would be refused" in run("explain", altered, ok=False).stdout, "explain a damaged one")
        for words, shown in ((("course", "list"), "The Course ünï"), (("lesson", "list", "c"), "video.mp4"), (("user", "show", "ada@example"), "Ada"), (("grant", "list", "ada@example"), "2199"), (("signing", "list"), "active"), (("creator", "list"), "Grace")):
            check(shown in run(*words).stdout, f"{words} does not show {shown}")
        run("signing", "rotate")
        check(s.get_url(url)[0] == 200, "a rotation ends running playbacks")
        run("grant", "remove", "ada@example", "c")
        check("It would be refused (grant_missing)" in run("explain", url, ok=False).stdout, "explain after the grant's end")
        run("key", "remove", creator["id"], key["access_key"])
        run("course", "remove", "c")
        check("there is no such course" in run("course", "show", "c", ok=False).stderr, "a removed course")
        for i in range(1005):
            s.control("PUT", f"/v1/users/u{i:04}", {})
        check(len(json.loads(run("user", "list", "--json").stdout)["users"]) == 1006, "pages of a list are joined")
        status = run("status").stdout
        check("All well" in status and "in sync" in status and "\033" not in status, status)
        wrong = lectern("user", "list", env={**s.env(), "LECTERN_ADMIN_TOKEN": "wrong-token-wrong"}, ok=False)
        check("admin token" in wrong.stderr and ADMIN not in wrong.stderr, wrong.stderr)


@contextlib.contextmanager
def interrupted(server, words, until):
    """Runs a copy and ends it by kill -9 when until() holds."""
    process = subprocess.Popen([BIN, *words], env=server.env(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not until() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    ended = process.poll()
    process.send_signal(signal.SIGKILL)
    process.wait()
    check(ended is None, f"the copy ended before it could be interrupted: {process.stderr.read()[-500:]!r}")
    process.stderr.close()
    yield


def an_interrupted_upload_goes_on():
    with serving() as s:
        client = boto3_client(s)
        client.create_bucket(Bucket="media")
        path = write_file(os.path.join(s.folder, "lesson.mp4"), 101 * MIB, seed=3)

        def parts():
            uploads = client.list_multipart_uploads(Bucket="media").get("Uploads", [])
            return len(client.list_parts(Bucket="media", Key=uploads[0]["Key"], UploadId=uploads[0]["UploadId"]).get("Parts", [])) if uploads else 0
        words = ("cp", "--part-size", "5MiB", "--parallel", "1", path, "s3://media/c/")
        with interrupted(s, words, lambda: parts() >= 3):
            done = lectern(*words, env=s.env(), seconds=200)
            check("from before" in done.stderr, f"nothing was resumed: {done.stderr}")
        head = client.head_object(Bucket="media", Key="c/lesson.mp4")
        check(head["ContentType"] == "video/mp4" and head["ETag"].endswith('-21"'), str(head))
        back = os.path.join(s.folder, "back.mp4")
        lectern("cp", "s3://media/c/lesson.mp4", back, env=s.env(), seconds=200)
        check(file_sha256(back) == file_sha256(path), "the resumed upload differs")
        check("Uploads" not in client.list_multipart_uploads(Bucket="media"), "an upload is left over")
        check(not glob.glob(os.path.join(s.folder, ".cache/lectern/uploads/*")), "a resume state is left over")


def an_interrupted_download_goes_on_and_damage_is_found():
    with serving() as s:
        lectern("mb", "s3://media", env=s.env())
        path = write_file(os.path.join(s.folder, "film"), 101 * MIB, seed=4)
        lectern("cp", path, "s3://media/film", env=s.env(), seconds=200)
        back = os.path.join(s.folder, "back")
        words = ("cp", "--part-size", "5MiB", "--parallel", "1", "s3://media/film", back)

        def pieces():
            with contextlib.suppress(OSError, ValueError):
                with open(back + ".part.state") as f:
                    return json.load(f)["done"].count("1")
            return 0
        with interrupted(s, words, lambda: pieces() >= 3):
            check(not os.path.exists(back), "a half file under its final name")
            done = lectern(*words, env=s.env(), seconds=200)
            check("from before" in done.stderr, f"nothing was resumed: {done.stderr}")
        check(file_sha256(back) == file_sha256(path), "the resumed download differs")
        os.unlink(back)
        with interrupted(s, words, lambda: pieces() >= 3):
            with open(back + ".part", "r+b") as f:
                f.write(b"damage")
            refused = lectern(*words, env=s.env(), ok=False, seconds=200)
            check("altered" in refused.stderr and not os.path.exists(back), refused.stderr)
        lectern(*words, env=s.env(), seconds=200)
        check(file_sha256(back) == file_sha256(path), "the download after damage differs")
        check(not glob.glob(back + ".part*"), "something is left over")


def names_that_are_no_paths_stay_in_the_bucket():
    with serving() as s:
        client = boto3_client(s)
        client.create_bucket(Bucket="media")
        for key in ("in/fine", "in/../../escape", "in//double", "in/deep/er/ü +%.txt", "in/folder/"):
            client.put_object(Bucket="media", Key=key, Body=b"" if key.endswith("/") else key.encode())
        out = os.path.join(s.folder, "out")
        done = lectern("cp", "-r", "s3://media/in/", out, env=s.env(), ok=False)
        check(done.stderr.count("left out") == 2, done.stderr)
        found = sorted(os.path.relpath(os.path.join(folder, name), out) for folder, _, names in os.walk(out) for name in names)
        check(found == ["deep/er/ü +%.txt", "fine"], str(found))
        check(not os.path.exists(os.path.join(s.folder, "escape")), "a key escaped from its folder")
        check("s3://media" in lectern("ls", env=s.env()).stdout, "ls shows buckets")
        listed = lectern("ls", "-r", "--json", "s3://media", env=s.env()).stdout
        check(len(json.loads(listed)) == 5, listed)
        check("folder" in lectern("ls", "s3://media", env=s.env()).stdout, "ls shows folders")
        check(ACCESS not in listed and SECRET not in listed, "keys are shown")


if __name__ == "__main__":
    main(help_teaches_every_command, mistakes_are_one_sentence_that_says_what_to_do, configuration_says_what_holds_and_why,
         secrets_are_made_once_kept_private_and_survive_the_first_drive, the_control_commands_reach_from_a_course_to_a_refusal,
         an_interrupted_upload_goes_on, an_interrupted_download_goes_on_and_damage_is_found, names_that_are_no_paths_stay_in_the_bucket)
