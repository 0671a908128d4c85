"""Does the quick suite notice faults? ``python -m benchmarks.mutations`` mutates lines of the library, one at a time.

One run of the whole suite finds the tests that reach each line; every mutant then meets those only. All of it happens
in a copy, and with an interpreter that finds that copy only. ``--tree OTHER --compare benchmarks/mutations.json`` puts
the same mutants into another checkout, and ends with 1 if any that was noticed survives there.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks._mutants import Mutant, choose, find_again

HERE = Path(__file__).parent
EXCLUDED = ("tnrank/experiments", "tnrank/plots", "tnrank/cli", "tnrank/testing")
NOT_COPIED = (".*", "__pycache__")
NOT_COPIED_AT_THE_TOP = {"build", "dist", "site", "runs"}
COUNTED = (".py", ".md", ".toml", ".npz")  # a probed run is kept as long as these files stay as they are
STOPPED = 124
Row = dict[str, Any]

# Every process of the copy has this. torch.compile calls what is marked as a constant once, and compiles past it.
PROBE = """
import builtins, os, sys
seen = set()
def hit(number):
    if not (folder := os.environ.get("MUTATION_HITS")):
        return
    test, _, stage = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    if not test:  # while tests are collected: the file that called, or all
        here, frame = os.environ["MUTATION_TREE"] + "/", sys._getframe(1)
        while frame and not frame.f_code.co_filename.startswith(here + "tests/"):
            frame = frame.f_back
        test = frame.f_code.co_filename.removeprefix(here) if frame else "all"
    elif stage == "(setup)":  # a fixture may be the whole file's
        test = test.split("::")[0]
    if (number, test) not in seen:
        seen.add((number, test))
        with open(os.path.join(folder, str(number)), "a") as file:
            file.write(test + "\\n")
hit._dynamo_marked_constant = True
builtins._mutation_hit = hit
"""
PLUGIN = """
import faulthandler, json, os, pathlib, resource, sys, pytest
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))  # a fault may ask for any amount of memory
log = open(os.environ["MUTATION_LOG"], "a", buffering=1)
order = os.environ.get("MUTATION_ORDER")
order = json.loads(pathlib.Path(order).read_text()) if order else None
def note(**what):
    log.write(json.dumps(what) + "\\n")
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    if order is not None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in order if test in found]
def pytest_collectreport(report):
    if report.failed:
        note(test="collection of " + report.nodeid, outcome="failed", seconds=0)
def pytest_runtest_logstart(nodeid):
    note(start=nodeid)
    if order is not None:
        faulthandler.dump_traceback_later(order[nodeid], exit=True, file=sys.__stderr__)
def pytest_runtest_logreport(report):
    note(test=report.nodeid, outcome=report.outcome, when=report.when, seconds=report.duration)
def pytest_runtest_logfinish(nodeid):
    faulthandler.cancel_dump_traceback_later()
    note(finish=nodeid)
def pytest_unconfigure():
    log.close()
"""


def left_out(origin: Path) -> Any:
    """What copying a tree passes over: caches everywhere, and what is built at the top."""
    caches = shutil.ignore_patterns(*NOT_COPIED)

    def ignored(folder: str, names: list[str]) -> set[str]:
        top = NOT_COPIED_AT_THE_TOP & set(names) if Path(folder) == origin else set()
        return {*caches(folder, names), *top}

    return ignored


class Copy:
    """A copy of a checkout, and an interpreter that finds this copy and no other tnrank."""

    def __init__(self, origin: Path, scratch: Path, marks: str, given: list[str]) -> None:
        self.scratch, self.tree, self.marks, self.given = scratch, scratch / "tree", marks, given
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(origin, self.tree, ignore=left_out(origin))
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", scratch / "venv"], check=True)
        (site,) = (scratch / "venv" / "lib").glob("python3*/site-packages")
        (site / "mutation_probe.py").write_text(PROBE)
        (site / "mutation_plugin.py").write_text(PLUGIN)
        self.paths = [str(self.tree), str(self.tree / "backends")]
        lines = [*self.paths, sysconfig.get_path("purelib"), "import mutation_probe", ""]
        (site / "paths.pth").write_text("\n".join(lines))

    def write(self, file: str, source: bytes) -> None:
        """Give a file this text, and forget what was compiled of the text before."""
        (self.tree / file).write_bytes(source)
        for old in (self.tree / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
            old.unlink()

    def run(self, name: str, order: dict[str, float] | None, limit: float | None, *more: str) -> tuple[list[Row], int]:
        """Run the suite, or some tests in order, each with its limit: what the plugin noted, and how it ended."""
        log = self.scratch / "logs" / f"{name}.jsonl"
        log.parent.mkdir(exist_ok=True)
        log.write_text("")
        given = {"CI": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join(self.paths)}
        given |= {"JAX_COMPILATION_CACHE_DIR": str(self.scratch / "jax"), "MUTATION_LOG": str(log)}
        command = [f"{self.scratch}/venv/bin/python", "-m", "pytest", "-q", "-p", "mutation_plugin", *more]
        command += ["-p", "no:cacheprovider", "-m", self.marks, f"--basetemp={self.scratch / 'tmp'}"]
        if order is None:
            given |= {"MUTATION_HITS": str(self.scratch / "hits"), "MUTATION_TREE": str(self.tree)}
            command += self.given
        else:
            given["MUTATION_ORDER"] = str(log.with_suffix(".order"))
            log.with_suffix(".order").write_text(json.dumps(order))
            command += sorted({test.split("::")[0] for test in order})
        with log.with_suffix(".txt").open("w") as out:
            options: dict[str, Any] = {"stdout": out, "stderr": out, "start_new_session": True}
            process = subprocess.Popen(command, cwd=self.tree, env=os.environ | given, **options)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = STOPPED
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return [json.loads(line) for line in log.read_text().splitlines()], code

    def probe(self, mutants: list[Mutant]) -> None:
        """Run the whole suite once, every place with a probe."""
        shutil.rmtree(self.scratch / "hits", ignore_errors=True)
        (self.scratch / "hits").mkdir()
        inserted: dict[str, list[tuple[int, int, int, bytes]]] = {}
        for number, mutant in enumerate(mutants):
            if "_bytes" in mutant:
                start, end = mutant["_probe"], mutant["_bytes"][1]
                here = inserted.setdefault(mutant["file"], [])
                here += [(start, 1, -end, b"(_mutation_hit(%d) or (" % number), (end, 0, 0, b"))")]
        genuine = {file: (self.tree / file).read_bytes() for file in inserted}
        for file, source in genuine.items():
            probed, at = b"", 0
            for place, _, _, text in sorted(inserted[file]):
                probed, at = probed + source[at:place] + text, place
            self.write(file, probed + source[at:])
        _, code = self.run("probe", None, None)
        if code not in (0, 1):
            sys.exit(f"the suite ended with {code}: {self.scratch}/logs/probe.txt")
        for file, source in genuine.items():
            self.write(file, source)

    def attempt(self, number: int, mutant: Mutant, tests: dict[str, float], limit: float) -> Mutant:
        """Run tests with one mutant in place."""
        if not tests:
            return {"status": "survived", "test": None, "ran": 0}
        source, (start, end) = (self.tree / mutant["file"]).read_bytes(), mutant["_bytes"]
        after = mutant["after"] + "\n" * source[start:end].count(b"\n")  # other lines keep their numbers
        after = after if mutant["_probe"] != start else f"({after})"
        began = time.monotonic()
        try:
            self.write(mutant["file"], source[:start] + after.encode() + source[end:])
            found = verdict(*self.run(str(number), tests, limit, "-x"))
        finally:
            self.write(mutant["file"], source)
        return found | {"seconds": round(time.monotonic() - began, 1)}

    def reached(self, mutants: list[Mutant], digest: str) -> tuple[dict[str, float], list[set[str]]]:
        """How long each test takes that passes with probes, and which of them reach each mutant."""
        stamp, log = self.scratch / "probed", self.scratch / "logs" / "probe.jsonl"
        if not stamp.exists() or stamp.read_text() != digest:
            self.probe(mutants)
            stamp.write_text(digest)
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        failed = {row.get("test") for row in rows if row.get("outcome") == "failed"}
        passed = {row["test"] for row in rows if row.get("when") == "call" and row["outcome"] == "passed"} - failed
        print(f"{len(passed)} tests pass; these fail with probes and do not count: {sorted(failed) or 'none'}")
        seconds: dict[str, float] = dict.fromkeys(passed, 0.0)
        for row in rows:
            if row.get("test") in passed:
                seconds[row["test"]] += row["seconds"]
        found: list[set[str]] = []
        for file in (self.scratch / "hits" / str(number) for number in range(len(mutants))):
            notes = set(file.read_text().splitlines()) if file.exists() else set()
            starts = {"" if note == "all" else f"{note}::" for note in notes if "::" not in note}
            # what is no file of tests itself serves its whole folder
            starts = {s if not s.startswith("tests/") or "/test_" in s else f"{Path(s).parent}/" for s in starts}
            found.append({test for test in passed if test in notes or test.startswith(tuple(starts))})
        return seconds, found


def in_order(mutant: Mutant, seconds: dict[str, float], tests: set[str], before: Mutant) -> dict[str, float]:
    """How long each may take: first what noticed it before, then its room's, of each file the quickest in turn."""
    top, name = mutant["file"].split("/")[:2]
    other = "tests/backends" if top == "backends" else f"tests/test_{name.strip('_')}"
    room = (f"tests/{name.removesuffix('.py')}", f"tests/{name.removeprefix('tnrank_')}_nn", other, mutant["file"])
    turns: collections.Counter[str] = collections.Counter()
    keys: dict[str, tuple[bool, bool, int, float]] = {}
    for test in sorted(tests, key=lambda test: (seconds[test], test)):
        file = test.split("::")[0]
        keys[test] = (test != before.get("test"), not test.startswith(room), turns[file], seconds[test])
        turns[file] += 1
    return {test: max(60.0, 20 * seconds[test]) for test in sorted(keys, key=keys.__getitem__)}


def verdict(rows: list[Row], code: int) -> Mutant:
    """Was it noticed, and by what?"""
    failed = [row["test"] for row in rows if row.get("outcome") == "failed"]
    ran = [row["finish"] for row in rows if "finish" in row]
    open_ = [row["start"] for row in rows if "start" in row][len(ran) :]
    found: Mutant = {"status": "noticed", "test": None, "ran": len(ran)}
    if failed:
        return found | {"test": failed[0]}
    if code == STOPPED and (ran or open_):
        return found | {"status": "survived", "note": "stopped at the limit"}
    if open_:
        return found | {"test": open_[0], "note": "timeout" if code == 1 else f"ended with {code}"}
    if code in (0, 5):
        return found | {"status": "survived"}
    return found | {"note": "timeout before any test" if code == STOPPED else f"pytest ended with {code}"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="how many lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exclude", nargs="*", default=EXCLUDED, help="files and folders of the library")
    parser.add_argument("--tree", type=Path, default=HERE.parent, help="the checkout; it is copied, never written to")
    parser.add_argument("--tests", nargs="*", default=[], help="folders and files of tests instead of all")
    parser.add_argument(
        "--marks", default="not slow and not nightly", help="which tests are quick, in words for pytest -m"
    )
    parser.add_argument("--most", type=int, default=400, help="tests a mutant meets, if more reach it")
    parser.add_argument("--limit", type=float, default=600, help="seconds a mutant")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tnrank-mutations")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="take its mutants, and say which survive now")
    parser.add_argument("--out", type=Path, help="default: benchmarks/mutations.json, or in scratch to compare")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends, too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background, and tests need it
    tree, scratch, limit = asked.tree.resolve(), asked.scratch.resolve(), asked.limit
    scratch.mkdir(parents=True, exist_ok=True)
    out = asked.out or (scratch if asked.compare else HERE) / "mutations.json"
    olds: list[Mutant] = json.loads(asked.compare.read_text())["mutants"] if asked.compare else []
    mutants = [find_again(tree, old) for old in olds] or choose(tree, asked.count, asked.seed, asked.exclude)
    befores = [old if old["status"] == "noticed" else {} for old in olds] or [{} for _ in mutants]
    copied = Copy(tree, scratch, asked.marks, asked.tests)
    files = sorted(path for path in copied.tree.rglob("*") if path.is_file() and path.suffix in COUNTED)
    texts = [
        (str(path.relative_to(copied.tree)), path.read_bytes())
        for path in files
        if path.parent != copied.tree / HERE.name
    ]
    digest = hashlib.sha256(repr([mutants, asked.marks, asked.tests, texts]).encode()).hexdigest()
    done = json.loads(out.read_text()) if out.exists() else {}
    results: list[Mutant] = [{k: v for k, v in mutant.items() if k[0] != "_"} for mutant in mutants]
    if done.get("suite") == digest:  # it was interrupted
        results = done["mutants"]

    def settle(number: int, found: Mutant) -> None:
        results[number] |= found
        out.write_text(json.dumps({"suite": digest, "mutants": results}, indent=1) + "\n")
        print(line_of(results[number]), flush=True)

    for number, before in enumerate(befores):  # most are noticed by the same test again
        test = (before.get("test") or "").removeprefix("collection of ")
        if "status" not in results[number] and (copied.tree / test.split("::")[0]).is_file():
            found = copied.attempt(number, mutants[number], {test: limit / 2}, limit)
            if found["status"] == "noticed":
                settle(number, found | {"note": "by the same test as before"})
    seconds, reached, unsound = dict[str, float](), list[set[str]](), set[str]()
    while True:
        left = [number for number, result in enumerate(results) if "status" not in result]
        if olds and not any(befores[number] for number in left):
            left = []
        if left and not reached:
            seconds, reached = copied.reached(mutants, digest)
        for number in left:
            order = in_order(mutants[number], seconds, reached[number] - unsound, befores[number])
            tests = dict(list(order.items())[: None if befores[number] else asked.most])
            found = copied.attempt(number, mutants[number], tests, limit)
            settle(number, found | {"reached_by": len(order)})
        tests = {result["test"]: 3600.0 for result in results if "::" in (result.get("test") or "")}
        rows, _ = copied.run("unmutated", tests, None) if tests else ([], 0)
        bad = {row["test"] for row in rows if row.get("outcome") == "failed"}
        if not bad:
            break
        print(f"these fail without a mutation, too, and do not count: {sorted(bad)}")
        unsound |= bad
        for result in results:
            if result.get("test") in bad:
                for key in ("status", "test", "ran", "note", "reached_by", "seconds"):
                    result.pop(key, None)
    counts = collections.Counter(result.get("status", "not tried: survived before") for result in results)
    print(", ".join(f"{count} {status}" for status, count in counts.items()), "->", out)
    for result in results:
        if result.get("status") == "gone":
            print("its line is no longer there:", line_of(result))
    pairs = zip(results, befores, strict=True)
    lost = [line_of(result) for result, before in pairs if before and result["status"] == "survived"]
    for line in lost:
        print("noticed before, survives now:", line)
    sys.exit(bool(lost))


def line_of(result: Mutant) -> str:
    """One mutant in a line."""
    place = f"{result['status']:8} {result['file']}:{result['line']} {result['kind']}: {result['before']!r}"
    if result["status"] == "gone":
        return place
    by, note = f" by {result['test']}" if result["test"] else "", f", {result['note']}" if "note" in result else ""
    of = f" of the {result['reached_by']} that reach it" if "reached_by" in result else ""
    return f"{place}{by}; ran {result['ran']}{of}{note}"


if __name__ == "__main__":
    main()
