"""A process that runs experiments of a study, one after the other, until none is left.

    python -m stages.study.worker

Its task comes as a line of JSON on stdin, which then stays open: where it closes, `sepp study` has
ended, however it did, and so does this process, with DVC and the training that it started.

Each experiment is `dvc exp run` in a clone of the checkout, with its own params; the outcome,
a commit under refs/exps, is fetched into the checkout. The clone shares the cache, and the states
of unfinished trainings, so a killed one goes on. Why not DVC's own copies (tried with DVC 3.67.1):
- `--queue`: once its workers are killed, what they ran is `Running` for ever, and never run again.
- `--temp`: of several that start at a time some fail (`Unable to acquire lock`); one that is killed
  as it starts leaves a broken `.dvc/tmp/exps/rwlock`, which stops every later experiment; and each
  start stashes, and resets, what the user has in the checkout.
- Both take `-S` only: another preset differs in some 150 leaves, of which some are to be removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from stages.common import artifacts
from stages.study.claims import CACHED, FOLDER, RAN, Claim, running
from stages.study.clone import clone, environment, git
from stages.study.job import Job, finished

POLL_SECONDS = 2.0  # between looks at what others have finished
STAGE = re.compile(r"(Running stage|Stage) '([^']+)'(?::$| is cached| didn't change)")
RESUMED = "resuming from "  # as a training says that an earlier one left something to go on with
SHARE = re.compile(r"\((\d+) %\)")  # as `common.progress` writes it
FAILURE = (r"^Error: (.*)", r"^ERROR: (.*)", r"(.*\S.*)")  # a stage's own line before DVC's


def work(jobs: list[Job], leave: bool) -> None:
    """Run what is left of `jobs`; where others run all of that, wait for it, unless `leave`."""
    idle = 0  # looks in a row that found nothing: the first may have met one who only looked, too
    while True:
        done = finished(jobs)
        left = [job for job in jobs if job.name not in done and not job.failure.exists()]
        takes = ((job, Claim.take(job.name, job.trainings)) for job in left)
        job, claim = next(((job, claim) for job, claim in takes if claim), (None, None))
        if claim:
            idle = 0
            try:
                if not finished([job]):  # by another, meanwhile
                    run(job, claim)
            finally:
                claim.release()
            continue
        # One that nobody runs waits for a training that it has in common with another.
        idle = idle + 1 if all(running(job.name) for job in left) else 0
        if not left or (leave and idle > 1):
            return
        time.sleep(POLL_SECONDS)


def run(job: Job, claim: Claim) -> None:
    """One experiment, from its clone to its ref, or to a line that says why it failed."""
    try:
        failed = attempt(job, claim)
    except OSError as error:  # such as a full disk
        failed = str(error)
    finally:
        job.now.unlink(missing_ok=True)
    if failed:
        with artifacts.atomic(job.failure) as partial:
            partial.write_text(f"{failed} ({job.log})")


def attempt(job: Job, claim: Claim) -> str | None:
    """Run an experiment in a clone of its own; why it failed, if it did.

    The clone is a new one each time: DVC, and a training, may live a little longer than a worker
    that was killed, and would find theirs gone.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=job.work)).absolute()
    try:
        with job.log.open("w") as log:
            try:
                artifacts.write_json(job.now, {})
                prepare(job, folder)
                code = reproduce(job, folder, claim, log)
                if code == 0:
                    git(".", "-c", "gc.auto=0", "fetch", "-q", str(folder), f"+{job.ref}:{job.ref}")
            except subprocess.CalledProcessError as error:
                log.write(error.stdout + error.stderr)
                code = error.returncode
        return reason(job.log.read_text()) if code else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(job: Job, folder: Path) -> None:
    """The clone in which an experiment is to run, with its params."""
    clone(folder, job.baseline, job.given)
    for name, text in job.params.items():
        (folder / name).write_text(text)
    for path, record in job.records.items():
        artifacts.write_json(folder / path, record)


def reproduce(job: Job, folder: Path, claim: Claim, log: TextIO) -> int:
    """`dvc exp run` to its end; its exit code. Tells on the way which stages are done."""
    command = [sys.executable, "-m", "dvc", "exp", "run", "-n", job.name]
    process = subprocess.Popen(
        [*command, *([job.until] if job.until else [])],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:  # where this fails, what runs ends, too: at its next line, which nobody reads
        done = follow(process.stdout, job, claim, log)
    if process.returncode == 0:
        claim.passed(*done)
    return process.returncode


def follow(lines: Iterable[str], job: Job, claim: Claim, log: TextIO) -> tuple[str, str]:
    """Tell what DVC says; the last stage of it, and how that is done."""
    stage, how, now = "", CACHED, {}
    resumed = False  # and has not told yet how far it was
    for line in lines:
        log.write(line)
        log.flush()
        if found := STAGE.search(line):
            claim.passed(stage, how)
            stage, how = found[2], RAN if found[1] == "Running stage" else CACHED
            if how == RAN:
                claim.begins(stage)
            now, resumed = {"stage": stage, "share": 0, "before": 0}, False
        elif RESUMED in line:
            resumed = True
            continue
        elif told := SHARE.findall(line):
            now["share"] = int(told[-1]) / 100
            if resumed:
                now["before"], resumed = now["share"], False
        else:
            continue
        artifacts.write_json(job.now, now)
    return stage, how


def tidy() -> None:
    """Remove the clones of experiments that were killed; those that are run keep theirs."""
    for work in (FOLDER / "work").glob("*"):
        if claim := Claim.take(work.name, {}):
            shutil.rmtree(work, ignore_errors=True)
            claim.release()


def reason(log: str) -> str:
    """The line that says why an experiment failed."""
    for pattern in FAILURE:
        if found := re.findall(pattern, log, re.MULTILINE):
            return found[-1].strip()
    return "no reason was given"


def _end_with(pipe: int) -> None:
    """Ends this process, and all that it has started, when who writes to `pipe` has ended."""
    while os.read(pipe, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=[sys.stdin.fileno()], daemon=True).start()
    try:
        work([Job.load(one) for one in task["jobs"]], task["leave"])
    except OSError as error:  # not even why an experiment failed can be written
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
