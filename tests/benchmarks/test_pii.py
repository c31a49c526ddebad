"""The benchmark of redaction, run on a folder of made-up data so that it cannot rot; our own lines stay found."""

import gzip
import json
import sys

import pytest

from benchmarks import pii


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(name="data")
def _data(tmp_path):
    """The files in the form of the public ones; one number that no pattern finds."""
    text = "Write to taro@example.com or bell 12."
    spans = [["EMAIL_ADDRESS", 9, 25], ["PHONE_NUMBER", 34, 36], ["PERSON", 0, 5]]
    write(tmp_path / "pii" / "english.jsonl.gz", [{"text": text, "spans": spans}])
    for name in pii.UNMARKED:
        rows = [{"premise": "the bridge is open.", "hypothesis": "call 202-512-8581."}]
        write(tmp_path / "nli" / f"{name}.jsonl.gz", rows)
    return tmp_path


def test_it_tells_what_was_found_and_what_was_missed(data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pii", "--data", str(data), "--json"])

    pii.main()

    outcome = json.loads(capsys.readouterr().out)
    english = outcome["Lyra"]["english"]
    assert (english["EMAIL_ADDRESS"]["recall"], english["EMAIL_ADDRESS"]["precision"]) == (1, 1)
    assert (english["PHONE_NUMBER"]["recall"], english["PHONE_NUMBER"]["missed"]) == (0, ["12"])
    assert outcome["seed"]["unmarked"]["dev"] == {"texts": 2, "findings": 1, "found": [" call 202-512-8581."[1:]]}


def test_the_tables_are_for_people(data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pii", "--data", str(data), "--missed"])

    pii.main()

    assert "EMAIL_ADDRESS" in capsys.readouterr().out


def test_everything_private_in_our_japanese_lines_is_found_and_nothing_else():
    marked = pii.read_own("japanese")
    scores = pii.score(marked, pii.types_of(marked), pii.DETECTORS["Lyra"])

    assert sum(score["spans"] for score in scores.values()) == 49
    assert {name: (score["missed"], score["wrong"]) for name, score in scores.items()} == dict.fromkeys(
        scores, ([], [])
    )
