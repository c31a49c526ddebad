"""The demonstration runs as a newcomer runs it, and leaves nothing behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from lyra_mcp.cli.demo_evidence import BLOCKED_PATTERN, CLAIMS
from lyra_mcp.domain.domain_rules import Pattern, domain_of, parse_pattern
from schema.vocabulary import LABELS

EVIDENCE = [evidence for topic in CLAIMS for evidence in topic.evidence]


def _run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyra_mcp", "demo", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_the_demonstration_shows_the_whole_loop_and_leaves_no_trace():
    # Not pytest's folder: its name is too long to hold a socket.
    with tempfile.TemporaryDirectory() as folder:
        done = _run(TMPDIR=folder)
        assert list(Path(folder).glob("lyra-demo-*")) == []
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [step["name"] for step in summary["steps"]][:6] == [
        "start",
        "evidence",
        "review",
        "memory",
        "block a domain",
        "measure",
    ]
    assert summary["reviews"]["n"] == summary["calibration"]["before"]["n"] == 24
    memory = summary["memory"]
    assert memory["answered_with_the_persons_label"] == memory["same_pairs"]
    assert memory["unrelated_pair_flagged"] is False


def test_a_demonstration_that_cannot_start_its_model_says_which_step_failed_and_why():
    done = _run(LYRA_NLI_MODEL="/nowhere/at/all")
    assert done.returncode == 1
    assert "The step 'start' failed: E_WORKER" in done.stderr
    assert json.loads(done.stdout)["failed_step"] == "start"


def test_all_sources_stand_on_domains_reserved_for_examples():
    hosts = {urlsplit(evidence.source_url).hostname for evidence in EVIDENCE}
    assert all(host.endswith((".example.com", ".example.net", ".example.org")) for host in hosts)


def test_the_blocked_pattern_matches_some_sources_and_not_others():
    assert parse_pattern(BLOCKED_PATTERN) == Pattern("example.com", is_wildcard=True)
    blocked = [parse_pattern(BLOCKED_PATTERN).matches(domain_of(evidence.source_url)) for evidence in EVIDENCE]
    assert 0 < sum(blocked) < len(EVIDENCE)


def test_every_claim_has_evidence_of_every_label():
    assert [{evidence.label for evidence in topic.evidence} for topic in CLAIMS] == [set(LABELS)] * len(CLAIMS)


def test_no_sentence_stands_twice():
    sentences = [text for evidence in EVIDENCE for text in (evidence.text, evidence.again)]
    assert len(set(sentences)) == len(sentences)
