#!/usr/bin/env python3
"""The house rules that a program can check: floors, doors, function length, banned calls. Prints one line a finding."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUNCTION_LINES = 70
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|atoi|atol|strtok|gets|alloca)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]')


def table():
    floors, doors = {}, []
    with open(os.path.join(ROOT, "tests/style/floors.txt")) as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if words[:1] == ["floor"]:
                floors.update({folder: int(words[1]) for folder in words[2:]})
            elif words[:1] == ["door"]:
                doors.append((words[1], tuple(words[2:])))
    return floors, doors


def sources():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h", "*.def"], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout.split()
    return [f for f in out if os.path.exists(os.path.join(ROOT, f))]


def check_includes(path, lines, floors, doors, say):
    folder = path.split("/")[0]
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(2)
        other = target.split("/")[0]
        if match.group(1) == '"' and other in floors and folder in floors and other != folder:
            if floors[other] >= floors[folder] and folder not in ("tests", "bench"):
                say(f"{path}:{number}: floor {floors[folder]} ({folder}) includes floor {floors[other]} ({other})")
        for header, files in doors:
            if target.startswith(header) and folder not in ("tests", "bench") and not path.startswith(files):
                say(f"{path}:{number}: {header} has its door elsewhere: {' '.join(files)}")


def check_functions(path, lines, say):
    """A function body opens with '{' in the first column (clang-format's BraceWrapping) and closes with '}' there."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > FUNCTION_LINES:
                say(f"{path}:{start}: a function of {number - start - 1} lines (at most {FUNCTION_LINES})")
            start = None


def check_banned(path, lines, say):
    in_comment = False
    for number, line in enumerate(lines, 1):
        code = re.sub(r"/\*.*?\*/", "", line)
        if in_comment:
            in_comment = "*/" not in code
            continue
        in_comment = "/*" in code
        code = re.sub(r'"(\\.|[^"\\])*"', '""', code.split("/*")[0].split("//")[0])
        match = BANNED.search(code)
        if match:
            say(f"{path}:{number}: {match.group(1)} is banned")


def main():
    floors, doors = table()
    found = []
    files = sources()
    for path in files:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            lines = f.read().split("\n")
        check_includes(path, lines, floors, doors, found.append)
        if path.endswith(".c"):
            check_functions(path, lines, found.append)
        check_banned(path, lines, found.append)
    for line in found:
        print(line)
    print(f"style: {len(files)} files, {len(found)} findings")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
