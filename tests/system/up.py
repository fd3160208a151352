#!/usr/bin/env python3
"""scripts/up from end to end, twice on the same data: what a newcomer runs first."""
import os
import re
import shutil
import subprocess
import tempfile

from harness import ROOT, Server, check, main


def scripts_up_runs_the_main_job_twice():
    server = Server()  # only its free ports are used
    folder = tempfile.mkdtemp(prefix="lectern-up-")
    try:
        env = {k: v for k, v in server.env().items() if k in ("LECTERN_S3_LISTEN", "LECTERN_CONTROL_LISTEN", "NO_PROXY", "no_proxy")}
        full = {k: v for k, v in os.environ.items() if not k.startswith(("LECTERN_", "AWS_"))}
        full.update(env)
        for turn in (1, 2):
            done = subprocess.run([os.path.join(ROOT, "scripts/up"), "--check", os.path.join(folder, "data")], capture_output=True,
                                  text=True, timeout=500, env=full, stdin=subprocess.DEVNULL)
            out = done.stdout
            check(done.returncode == 0, f"run {turn}: code {done.returncode}\n{out[-2000:]}\n{done.stderr[-2000:]}")
            check(len(re.findall(r"/t/[\w-]+/organ/", out)) >= 4 and "/watch" in out, f"run {turn}: no links\n{out}")
            check(("secret key" in out) == (turn == 1), f"run {turn}: the keys are printed at the first start only\n{out}")
            ready = int(re.search(r"ready (\d+) ms", out).group(1))
            check("stopped" in out, f"run {turn}: no clean end\n{out}")
            print(f"      run {turn}: ready {ready} ms after its start")
            if turn == 2:
                check(ready < 1000, f"the second start took {ready} ms")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(scripts_up_runs_the_main_job_twice)
