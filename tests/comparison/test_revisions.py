"""What can be compared, as git knows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.common.errors import SeppError
from stages.comparison.revisions import Revision, choose, contents, experiments, unfinished
from tests.comparison.checkout import git, summary

WORKSPACE = Revision("workspace", None)


def test_all_experiments_of_all_commits_and_nothing_else_below_refs_exps(checkout):
    baseline = git("rev-parse", "HEAD")
    first = checkout.experiment("old-one", summary())
    second_baseline = checkout.commit(summary(), sepp__min=0.8)
    second = checkout.experiment("new-one", summary())
    for name in ("exec/EXEC_HEAD", "stash", "apply/ORIG_HEAD", "temp/x"):
        git("update-ref", f"refs/exps/{name}", baseline)
    checkout.queue("waits")
    found = [
        Revision("old-one", first, baseline),
        Revision("new-one", second, second_baseline),
    ]
    assert sorted(experiments()) == sorted(found)
    chosen, others = choose([])
    assert chosen[:2] == [WORKSPACE, Revision("HEAD", second_baseline)]
    assert sorted(chosen[2:]) == sorted(found)
    assert [one.name for one in others] == ["waits"]


def test_names_are_experiments_then_revisions_each_once(checkout):
    commit = git("rev-parse", "HEAD")
    git("branch", "sizar-fogs")
    fogs = Revision("sizar-fogs", checkout.experiment("sizar-fogs", summary()), commit)
    asked = ["sizar-fogs", "main", "workspace", commit[:8], "sizar-fogs", "HEAD"]
    assert choose(asked)[0] == [
        fogs,
        Revision("main", commit),
        WORKSPACE,
        Revision(commit[:8], commit),
        Revision("HEAD", commit),
    ]
    assert choose(["sizar-fogs"])[0] == [WORKSPACE, fogs]
    assert choose(["workspace"])[0] == [WORKSPACE]


def test_of_experiments_of_one_name_that_of_this_commit_is_meant(checkout):
    checkout.experiment("twin", summary())
    checkout.commit(summary(), sepp__min=0.8)
    here = checkout.experiment("twin", summary(5))
    assert choose(["HEAD", "twin"])[0][1].commit == here
    checkout.commit(summary(), sepp__min=0.7)
    with pytest.raises(SeppError, match=f"twin: names 2 experiments.*{here[:7]}"):
        choose(["twin"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nope"], "nope: no experiment and no git revision; `dvc exp list -A` lists"),
        (["sizar-fog"], "sizar-fog: no experiment and no git revision; did you mean sizar-fogs?"),
        (["HEAD", "a", "b c"], "a, b c: no experiments or revisions; "),
        ([""], ": no experiment and no git revision"),
        (["--all"], "--all: no experiment and no git revision"),
    ],
)
def test_unknown_names(checkout, names, message):
    checkout.experiment("sizar-fogs", summary())
    with pytest.raises(SeppError) as error:
        choose(names)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_queue(checkout):
    """What waits, failed or runs is named with its reason, unless it has ended well since."""
    for name in ("waits", "waits-too"):
        checkout.queue(name)
    checkout.queue("boom", "failed")
    checkout.queue("mended", "failed")
    checkout.experiment("mended", summary())
    told = {"baseline_rev": git("rev-parse", "HEAD"), "name": "runs", "status": 2}
    for name, text in {
        "a": json.dumps(told),
        "b": json.dumps({**told, "name": "over", "status": 6}),
        "c": "not JSON",
        "d": "[]",
    }.items():
        file = Path(f".dvc/tmp/exps/run/{name}/{name}.run")
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert dict(unfinished(experiments())) == {
        "waits": "waits in the queue; `dvc queue start` runs it",
        "waits-too": "waits in the queue; `dvc queue start` runs it",
        "boom": "failed; `dvc queue logs boom` says why",
        "runs": "still runs, or was killed; `dvc queue status` tells",
    }
    chosen, left_out = choose(["HEAD", "boom"])
    assert [one.name for one in chosen] == ["HEAD"]
    assert [one.name for one in left_out] == ["boom"]


def test_files_of_many_commits_at_once(checkout):
    """Below a folder, too: DVC's project need not be the whole of git's."""
    Path("a.txt").write_text("first\nsecond – ü\n")
    Path("empty").write_text("")
    commit = checkout.commit(summary())
    found = contents([f"{commit}~1", commit], ("a.txt", "empty", "gone"))
    assert found == {(commit, "a.txt"): "first\nsecond – ü\n", (commit, "empty"): ""}
    assert contents([], ("a.txt",)) == {}


def test_outside_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SeppError, match="is not in a git repository"):
        experiments()


def test_before_the_first_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert choose([]) == ([WORKSPACE], [])
