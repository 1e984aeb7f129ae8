"""What `sepp study` does: list the studies, tell what one would take, run it, and write it down."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from stages.common import env
from stages.common.errors import SeppError
from stages.common.sections import BUNDLED
from stages.comparison import revisions
from stages.evaluation import _outside
from stages.recipe.duration import spoken
from stages.recipe.records import records
from stages.study import results, spec
from stages.study.clone import git
from stages.study.code import code_by_method
from stages.study.job import Job, finished
from stages.study.plan import Plan, Planned, plan
from stages.study.results import DONE, FAILED, OTHER_CODE, Outcome, outcomes
from stages.study.run import run_jobs
from stages.study.trainings import Training, distinct, total

WIDTH = 100  # columns
# What an experiment takes from the commit, but for params.
CODE = ("dvc.yaml", "stages", "data/pair_labels.csv", ":!stages/studies")


def listing() -> None:
    """Print all studies, and what each costs."""
    plans = [plan(name, spec.find(name)[1]) for name in spec.names()]
    needed = [_trainings(one.experiments) for one in plans]
    seen = [total(trainings) for trainings in needed]
    ran = {one.name for one in revisions.experiments()} if revisions.head() else set()
    found = [
        outcomes(one) if any(each.name in ran for each in one.experiments) else [] for one in plans
    ]
    times = [_expected(*one) for one in zip(found, seen, strict=True)]
    timed = ["time"] * any(times)
    table = _table("study", "experiments", "trainings", "images seen", *timed, "what")
    for one, trainings, rows, time in zip(plans, needed, seen, times, strict=True):
        counts = len(one.experiments), len(trainings)
        known = [time or "–"] * bool(timed)
        what = f"{one.study.title} ({one.study.preset})"
        table.add_row(one.name, *map(str, counts), _images(rows), *known, what)
    _console().print(table, crop=False)
    click.echo("Images seen: epochs x images of all trainings, each counted once.")
    if timed:
        click.echo("Time: of one worker, estimated from experiments of the study that have run.")
    else:
        click.echo("How long one takes is told here, and by `--dry`, once some of it has run.")
    click.echo("`sepp study NAME --dry` has the experiments; `--scale 0.02` rehearses them.")


def dry(chosen: Plan) -> None:
    """Print the experiments of a study, and how long those that have not run may take."""
    found = outcomes(chosen)
    table = _table("experiment", "state", "trains")
    for outcome in found:
        trained = outcome.planned.trainings()
        told = f"{outcome.state}: {outcome.note}" if outcome.note else outcome.state
        table.add_row(outcome.planned.name, told, ", ".join(trained))
    _console().print(table, crop=False)
    left = [outcome for outcome in found if outcome.state != DONE]
    over = _trainings(outcome.planned for outcome in found if outcome.state == DONE)
    needed = [t for t in _trainings(outcome.planned for outcome in left) if t not in over]
    seen = total(needed)
    click.echo(
        f"{len(left)} of {len(found)} experiments are to run, with {len(needed)} different "
        f"trainings of {_images(seen)} images (epochs x images; what DVC's cache has is not "
        "trained again)."
    )
    time = _expected(found, seen)
    known = "not known before one has run" if left else "none"
    click.echo(f"Time on one worker: {f'{time}, estimated from what has run' if time else known}.")
    if left and (missing := _images_missing(chosen)):
        click.echo(f"Before it can run: {missing}.")


def show(chosen: Plan) -> None:
    """Write the study's table, as it is at the moment.

    Raises SeppError where nothing of it has run here, and one that was made elsewhere is there:
    git has that, and not the experiments that it is of.
    """
    found = outcomes(chosen)
    if (old := spec.TABLES / f"{chosen.name}.md").exists() and not any(
        one.measured for one in found
    ):
        raise SeppError(
            f"{old}: of experiments that are not here, so it stays; `{chosen.command}` runs them "
            "here (move the file away for a table without results)"
        )
    _write(chosen, found)


def run(chosen: Plan, workers: int, leave: bool) -> None:
    """Run what has not run, and write the table; raises SeppError if something is left."""
    check(chosen)
    found = outcomes(chosen)
    jobs = [_job(outcome) for outcome in found if outcome.state != DONE]
    done = len(found) - len(jobs)
    click.echo(f"{chosen.name}: {done} of {len(found)} experiments have run before")
    ran = finished(jobs)  # though without results
    left = [job for job in jobs if job.name not in ran]
    ended = run_jobs(left, workers, leave, lambda line: click.echo(line, err=True))
    found = outcomes(chosen)
    _write(chosen, found)
    useless = _useless(found, finished(jobs))
    for name, reason in {**useless, **ended.failed}.items():
        click.echo(f"{name}: {reason}", err=True)
    told = f"of {len(found)} experiments"
    if ended.elsewhere:
        click.echo(f"{len(ended.elsewhere)} {told} run elsewhere: {', '.join(ended.elsewhere)}")
    again = len(ended.failed) + len(ended.left) + (0 if leave else len(ended.elsewhere))
    if again:
        raise SeppError(
            f"{again + len(useless)} {told} have not run; `{chosen.command}` tries them again, and "
            "goes on with what was killed"
        )
    if useless:
        raise SeppError(f"{len(useless)} {told} have no results")


def _useless(found: Sequence[Outcome], ran: Collection[str]) -> dict[str, str]:
    """Experiments that `ran` from here but left no results, by name, and what is to be done."""
    return {
        name: f"{outcome.note}; `dvc exp remove {name}` lets it run again"
        for outcome in found
        if outcome.state == FAILED and (name := outcome.planned.name) in ran
    }


def check(chosen: Plan) -> None:
    """Raises SeppError unless experiments can start from here."""
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise SeppError(f"{Path.cwd()}: has no dvc.yaml and .dvc: run it in your checkout")
    results.head()
    changed = git(".", "status", "--porcelain", "-uall", "--", *CODE).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SeppError(
            f"{changed[0][3:]}{more}: not as git has it, and experiments run what is committed: "
            "commit it, or undo it with `git checkout`"
        )
    if missing := _images_missing(chosen):
        raise SeppError(missing)


def _images_missing(chosen: Plan) -> str | None:
    """What is to be done, where a study's images are not here."""
    names = {one.params["data"]["name"] for one in chosen.experiments} - {*BUNDLED}
    if not names or env.data_root().is_dir():
        return None
    return (
        f"{chosen.name} needs {' and '.join(sorted(names))}, but {env.data_root()} is no folder: "
        "set SEPP_DATA_ROOT to where the images are, or take other ones, such as "
        "`--data characters`"
    )


def _job(outcome: Outcome) -> Job:
    one, baseline = outcome.planned, results.head()
    params = one.params
    weights = [params[section] for section in params["watch"]]
    roots = [root for name in params["evaluations"] for root in _outside.roots(params[name])]
    return Job(
        name=one.name,
        baseline=baseline,
        params=one.files(),
        records={
            str(path): record
            for path, record in records(params["data"]["name"], params["watch"]).items()
        },
        given=[*(one.get("checkpoint") or one["weights"] for one in weights), *roots],
        until=one.until,
        trainings=one.trainings(code_by_method(baseline, params)),
    )


def _write(chosen: Plan, found: Sequence[Outcome]) -> None:
    from stages.study.show import write  # matplotlib and SciPy take a second to load

    for path in write(chosen, found):
        click.echo(path)
    if old := sum(outcome.state == OTHER_CODE for outcome in found):
        click.echo(
            f"{old} of these are of other code than HEAD's; `{chosen.command}` runs them anew"
        )


def _trainings(every: Iterable[Planned]) -> list[Training]:
    return distinct(t for one in every for t in one.trainings().values())


def _expected(found: Sequence[Outcome], rows: int | None) -> str | None:
    """How long so many rows take on one worker, at the pace of what has run; None if none has."""
    told = [outcome for outcome in found if outcome.costs]
    trained = total(_trainings(outcome.planned for outcome in told))
    if not rows or not trained:
        return None
    from stages.study.table import spent  # SciPy takes a second to load

    return spoken(rows * 3600 * spent(told).hours / trained)


def _images(count: int | None) -> str:
    if count is None:
        return "?"
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        numbers = name in ("experiments", "trainings", "images seen", "time")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    return table


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console
