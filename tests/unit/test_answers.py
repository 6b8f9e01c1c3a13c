"""Counting what a duplicate report found of planted copies, and the sample collection they are planted in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def answers(monkeypatch):
    # Scripts of benchmarks/ import each other by plain names, as `python benchmarks/x.py` lets them.
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import answers as module

    yield module
    sys.modules.pop("answers", None)


def report_of(folder, groups):
    return {"radius": 3, "groups": [{"images": [{"path": str(folder / name)} for name in group]} for group in groups]}


def test_pairs_are_counted_by_edit(answers):
    planted = [
        answers.Planted("a", "a2", "crop"),
        answers.Planted("b", "b2", "crop"),
        answers.Planted("a", "a3", "blur"),
    ]
    result = answers.score([["a", "a2", "a3"], ["b", "c"], ["b2", "d"]], planted)
    assert result.planted == {"crop": 2, "blur": 1}
    assert result.found == {"crop": 1, "blur": 1}
    assert result.missed == [planted[1]]
    assert result.right_pairs == 3
    assert result.wrong_pairs == [("b", "c"), ("b2", "d")]
    assert result.wrong == {answers.NO_EDIT: 1, "crop": 1}
    assert result.recall == pytest.approx(2 / 3)
    assert result.wrong_share == pytest.approx(2 / 5)


def test_confirmed_duplicates_are_right_with_their_copies(answers):
    planted = [answers.Planted("a", "a2", "crop"), answers.Planted("b", "b2", "blur")]
    groups = [["a", "a2", "b", "b2"]]
    assert len(answers.score(groups, planted).wrong_pairs) == 4
    assert answers.score(groups, planted, [["b", "a"]]).wrong_pairs == []


def test_one_wrong_pair_of_two_edits_counts_for_both_and_once_in_the_sum(answers):
    planted = [answers.Planted("a", "a2", "crop"), answers.Planted("b", "b2", "blur")]
    rows = answers.score_table(answers.score([["a2", "b2"]], planted))
    assert rows[1:] == [
        ["crop", "1", "0", "0.0%", "1"],
        ["blur", "1", "0", "0.0%", "1"],
        ["all", "2", "0", "0.0%", "1"],
    ]


def test_paths_are_taken_relative_to_the_folder(answers, tmp_path):
    report = report_of(tmp_path, [["a b/c 🌼.jpg", "d.jpg"]])
    report["groups"][0]["images"].append({"path": "/elsewhere/e.jpg"})
    assert answers.grouped_paths(report, tmp_path) == [["a b/c 🌼.jpg", "d.jpg"]]


def run_demo(*arguments):
    command = [sys.executable, BENCHMARKS / "demo.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "my pictures"
    assert run_demo("write", folder).returncode == 0
    return folder


def test_sample_is_what_its_answer_says(sample):
    answer = json.loads((sample / "answer.json").read_text("utf-8"))
    pictures = [path for path in sample.rglob("*") if path.suffix in (".jpg", ".png")]
    assert len(pictures) == answer["pictures"] > 150
    assert len(answer["copies"]) == 60
    for pair in answer["copies"]:
        same = (sample / pair["copy"]).read_bytes() == (sample / pair["original"]).read_bytes()
        assert same == (pair["edit"] == "exact copy"), pair
    assert any(" " in path.name and not path.name.isascii() for path in pictures)


def test_sample_is_written_once(sample):
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    assert run_demo("write", sample).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before


def test_sample_spares_other_folders(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    done = run_demo("write", tmp_path)
    assert done.returncode == 1
    assert "holds other files; expected a new or empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(("kept", "status"), [(60, 0), (30, 1)])
def test_check_prints_found_beside_planted(sample, tmp_path, kept, status):
    copies = json.loads((sample / "answer.json").read_text("utf-8"))["copies"]
    report = tmp_path / "report.json"
    report.write_text(json.dumps(report_of(sample, [[c["original"], c["copy"]] for c in copies[:kept]])))
    done = run_demo("check", report, sample, "--fail-below", "0.9")
    assert done.returncode == status
    assert re.search(rf"^all +60 +{kept} +{kept / 60:.1%} +0$", done.stdout, re.MULTILINE)
    assert done.stdout.count("missed") == min(10, 60 - kept)
    assert ("... and 20 more of these" in done.stdout) == (kept == 30)


def test_check_names_a_missing_report(sample, tmp_path):
    done = run_demo("check", tmp_path / "none.json", sample)
    assert done.returncode == 1
    assert "none.json is missing; write the sample and run hashae dedup --json first" in done.stderr
