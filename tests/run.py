"""Runs what was built for `make test`, shows its output, and sums up in one line.

Unit tests count by test case, fuzzers as one each, system tests by test case.
"""

import argparse
import base64
import concurrent.futures
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(ROOT, "build"))
JOBS = max(1, min(2, os.cpu_count() or 1))  # an emulator takes all of a processor
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
UNIT_TIMEOUT = 600
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


class Score:
    def __init__(self):
        self.passed = 0
        self.failed = []

    def fail(self, name):
        self.failed.append(name)


def heading(text):
    print("\n=== %s ===" % text, flush=True)


def run(args, timeout=None, **options):
    """Returns (status, output); status None when it took too long."""
    try:
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              cwd=ROOT, env={**os.environ, **SANITIZERS}, **options)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode(errors="replace")


def unit_tests(names, score):
    heading("unit tests")
    subprocess.run(["find", BUILD + "/unit", "-name", "*.gcda", "-delete"], check=False)
    for name in names:
        status, output = run([os.path.join(BUILD, "unit", name)], UNIT_TIMEOUT)
        good = re.findall(r"^\[       OK \] (.+)$", output, re.M)
        bad = re.findall(r"^\[  FAILED  \] ([A-Za-z_]\w*)$", output, re.M)
        bad = list(dict.fromkeys(bad))
        if status != 0 and not bad:
            bad = ["(took longer than %d s)" % UNIT_TIMEOUT if status is None
                   else "(ended with status %d)" % status]
        if status == 0 and not good:
            bad = ["(ran no test)"]
        score.passed += len(good)
        for test in bad:
            score.fail("%s: %s" % (name, test))
        print("%-4s %s: %d passed, %d failed" % ("FAIL" if bad else "ok", name, len(good), len(bad)),
              flush=True)
        if bad:
            print(output, flush=True)


def fuzz_one(name):
    corpus = os.path.join(BUILD, "fuzz", "corpus", name)
    os.makedirs(corpus, exist_ok=True)
    args = [os.path.join(BUILD, "fuzz", name), "-max_total_time=%d" % FUZZ_SECONDS,
            "-rss_limit_mb=2048", "-timeout=10", "-verbosity=0", "-print_final_stats=1",
            "-artifact_prefix=%s/fuzz/" % BUILD, corpus]
    seeds = os.path.join(ROOT, "tests", "fuzz", "corpus", name)
    if os.path.isdir(seeds):
        args.append(seeds)
    return run(args, FUZZ_SECONDS + 300)


def broken_input(output):
    """The input that libFuzzer kept: where only this log is at hand, `base64 -d` gives it back."""
    kept = re.search(r"Test unit written to (\S+)", output)
    if not kept:
        return "(no input was kept)"
    with open(kept.group(1), "rb") as data:
        return "%s in base64: %s" % (kept.group(1), base64.b64encode(data.read()).decode())


def fuzzers(names, score):
    heading("fuzzers, %d s each" % FUZZ_SECONDS)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, (status, output) in zip(names, pool.map(fuzz_one, names)):
            units = re.search(r"number_of_executed_units: (\d+)", output)
            count = units.group(1) if units else "?"
            if status == 0:
                score.passed += 1
                print("ok   %s: %s inputs" % (name, count), flush=True)
            else:
                score.fail(name)
                print("FAIL %s (status %s) after %s inputs\n%s\n%s" %
                      (name, status, count, output[-8000:], broken_input(output)), flush=True)


def coverage():
    heading("line coverage of the core by the unit tests")
    folder = os.path.join(BUILD, "coverage")
    os.makedirs(folder, exist_ok=True)
    # Files that no test links count, too: the baseline has every compiled file at zero.
    parts = [os.path.join(folder, name) for name in ("baseline.info", "unit.info")]
    info = os.path.join(folder, "all.info")
    common = ["lcov", "--quiet", "--base-directory", ROOT, "--no-external", "--ignore-errors", "gcov"]
    for part, more in zip(parts, (["--initial"], [])):
        status, output = run(common + ["--capture"] + more + ["--directory", BUILD + "/unit",
                             "--output-file", part], 300)
        if status != 0:
            print("lcov failed:\n" + output[-3000:])
            return
    run(["lcov", "--quiet", "-a", parts[0], "-a", parts[1], "-o", info], 120)
    _, output = run(["lcov", "--list", info], 120)
    # Only names and line figures: functions and branches are not counted.
    for line in output.splitlines():
        if "|" in line and "Lines" not in line:
            print(line.rsplit("|", 2)[0].rstrip() if line.count("|") > 2 else line)
        elif line.startswith("["):
            print(line)
    lines = hits = 0
    with open(info, encoding="utf-8") as data:
        for line in data:
            lines += int(line[3:]) if line.startswith("LF:") else 0
            hits += int(line[3:]) if line.startswith("LH:") else 0
    print("line coverage: %.1f %% (%d of %d lines)" % (100.0 * hits / max(1, lines), hits, lines),
          flush=True)


def system_tests(score, extra):
    heading("system tests")
    report = os.path.join(BUILD, "system-tests.xml")
    if os.path.exists(report):
        os.remove(report)
    status = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v",
                             "-n", str(JOBS), "--dist", "loadgroup", "--durations=10", "--junitxml", report, "tests/system"] + extra,
                            cwd=ROOT, check=False).returncode
    if not os.path.exists(report):
        score.fail("system tests: pytest ended with status %d" % status)
        return
    before = len(score.failed)
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            score.fail("system: " + case.get("name", "?"))
        elif "skipped" not in kinds:
            score.passed += 1
    if status != 0 and len(score.failed) == before:
        score.fail("system tests: pytest ended with status %d" % status)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", default="", help="names of the unit tests")
    parser.add_argument("--fuzz", default="", help="names of the fuzzers")
    parser.add_argument("--only", choices=["unit", "fuzz", "system"], help="one part alone")
    parser.add_argument("rest", nargs="*", help="arguments for pytest")
    args = parser.parse_args()
    score = Score()
    start = time.time()
    if args.only in (None, "unit"):
        unit_tests(args.unit.split(), score)
        coverage()
    if args.only in (None, "fuzz"):
        fuzzers(args.fuzz.split(), score)
    if args.only in (None, "system"):
        system_tests(score, args.rest)
        if os.path.isdir(os.path.join(BUILD, "screenshots")):
            print("screens that were looked at: " + os.path.join(BUILD, "screenshots"))
    heading("result after %.0f min" % ((time.time() - start) / 60))
    for name in score.failed:
        print("failed: " + name)
    print("%d passed, %d failed" % (score.passed, len(score.failed)))
    return 1 if score.failed or not score.passed else 0


if __name__ == "__main__":
    sys.exit(main())
