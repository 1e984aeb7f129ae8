import pytest
from click.testing import CliRunner

from stages.commands import label
from stages.common.judged import LABELS, Answer, read_answers, write_answers


def answer(pair: str, said: str, judge: str = "") -> Answer:
    return Answer(0, 1, pair[0], pair[1], 0.9, said, judge, "f")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def run(*args: str) -> str:
    done = CliRunner().invoke(label.main, args)
    assert done.exit_code == 0, done.output
    return done.output


def test_files_of_several_people_are_put_together_with_their_agreement(folder):
    write_answers(LABELS, [answer("ab", "no", "ann"), answer("cd", "yes", "ann")])
    write_answers(folder / "ann.csv", [answer("ba", "yes", "ann"), answer("ef", "no", "ann")])
    write_answers(
        folder / "bob.csv",
        [answer("ab", "yes"), answer("cd", "no"), answer("ef", "no"), answer("gh", "unsure")],
    )
    said = run("ann.csv", "bob.csv")
    found = {(*sorted(a.anchor + a.positive), a.judge): a.answer for a in read_answers()}
    assert found == {
        ("a", "b", "ann"): "yes",  # the later one, whichever image comes first
        ("c", "d", "ann"): "yes",
        ("e", "f", "ann"): "no",
        ("a", "b", "bob"): "yes",  # of nobody: the file's name
        ("c", "d", "bob"): "no",
        ("e", "f", "bob"): "no",
        ("g", "h", "bob"): "unsure",
    }
    assert "7 answers of 2 people on 4 pairs" in said
    # Both said yes or no to three pairs, to two of them alike; kappa by hand: (2/3 - 4/9) / (5/9).
    assert (
        "ann and bob: 3 pairs to which both said yes or no, 67% alike, Cohen's kappa 0.40" in said
    )
    before = LABELS.read_bytes()
    run("ann.csv", "bob.csv")
    assert LABELS.read_bytes() == before


def test_the_page_s_own_file_name_is_nobody_s(folder):
    write_answers(LABELS, [answer("ab", "no")])
    write_answers(folder / "pair_labels (1).csv", [answer("ab", "yes")])
    assert "1 answer of 1 person on 1 pair\n" in run("pair_labels (1).csv")
    assert [one.answer for one in read_answers()] == ["yes"]
    for name in ("x", "y"):
        (folder / name).mkdir()
        write_answers(folder / name / "bob.csv", [answer("ab", "yes")])
    done = CliRunner().invoke(label.main, ["x/bob.csv", "y/bob.csv"])
    assert done.exit_code == 1
    assert "bob: two of the files would be this person's" in done.output


def test_people_who_always_say_the_same_have_no_kappa():
    same = [answer("ab", "yes", who) for who in ("ann", "bob")]
    assert "100% alike, Cohen's kappa undefined" in label.agreement(same)[0]
    assert label.agreement(same[:1]) == []


def test_without_files_it_points_to_the_page(folder):
    done = CliRunner().invoke(label.main, [])
    assert done.exit_code == 1
    assert "reports/index.html: is missing; run `dvc repro report`" in done.output
    (folder / "reports").mkdir()
    (folder / "reports/index.html").touch()
    assert "reports/index.html#judge" in run()


def test_a_wrong_file_changes_nothing(folder):
    write_answers(LABELS, [answer("ab", "no", "ann")])
    before = LABELS.read_bytes()
    (folder / "bob.csv").write_text("a,b\n1,2\n")
    for name, said in (("bob.csv", "has no column"), ("none.csv", "is missing")):
        done = CliRunner().invoke(label.main, [name])
        assert done.exit_code == 1
        assert said in done.output
    assert LABELS.read_bytes() == before
