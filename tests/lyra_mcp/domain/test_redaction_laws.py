"""What holds for every text: offsets, cover, and time that grows no faster than the text."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyra_mcp.domain.detectors.folding import fold
from lyra_mcp.domain.redaction import TYPES, Finding, UserPattern, find, merge, redact

#: Characters that the detectors look at, and some that they must not stumble over.
CHARS = st.sampled_from(list("0123456789 +-.()/@:,_aeGB\nxk=") + list("０９－＠ー電話カード\u3000\u200b😀\ud800ß²"))
PRIVATE = st.sampled_from(
    [
        "taro@example.com",
        "+81 90 1234 5678",
        "4111 1111 1111 1111",
        "536-90-4399",
        "DE89370400440532013000",
        "0044 20 7946 0958",
        "03-3210-7000",
        "マイナンバー 1234 5678 9018",
        "203.0.113.9",
        "ghp_" + "a1B2" * 9,
    ]
)
FINDINGS = st.builds(
    lambda type_, start, length, confidence: Finding(type_, start, start + length, confidence),
    st.sampled_from([*TYPES, "own"]),
    st.integers(0, 40),
    st.integers(1, 12),
    st.floats(0.1, 1),
)


@given(st.text(CHARS, max_size=200))
@settings(max_examples=300, deadline=None)
def test_findings_lie_inside_the_text_in_order_and_apart(text):
    findings = find(text)

    assert all(0 <= finding.start < finding.end <= len(text) for finding in findings)
    assert all(one.end <= other.start for one, other in pairwise(findings))
    assert all(finding.type in TYPES and 0 < finding.confidence <= 1 for finding in findings)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_folded_text_is_as_long_as_the_text_and_folding_it_again_changes_nothing(text):
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="ascii"), max_size=200))
@settings(max_examples=200, deadline=None)
def test_full_width_letters_change_no_offset(text):
    wide = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)

    assert fold(wide) == text
    assert find(wide) == find(text)


@given(
    st.text(st.sampled_from("あ漢カー。、\n \u3000"), max_size=60),
    PRIVATE,
    st.text(st.sampled_from("です。\n は"), max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_japanese_text_around_private_data_never_hides_it(before, private, after):
    text = before + private + after
    tagged = redact(text, find(text))

    assert private not in tagged
    assert tagged.startswith(before.rstrip("ー"))


@given(st.lists(st.tuples(PRIVATE, st.sampled_from([" ", ", ", "; ", "\n", " and "])), max_size=8))
@settings(max_examples=200, deadline=None)
def test_what_was_redacted_once_holds_nothing_more(parts):
    text = "".join(private + separator for private, separator in parts)
    tagged = redact(text, find(text))

    assert find(tagged) == ()
    assert tagged.count("[REDACTED_") >= len(parts)


@given(st.lists(FINDINGS, max_size=12))
@settings(max_examples=300, deadline=None)
def test_merging_covers_exactly_what_was_found(findings):
    merged = merge(findings)
    places = [place for finding in merged for place in range(finding.start, finding.end)]

    assert places == sorted({place for finding in findings for place in range(finding.start, finding.end)})


@given(st.lists(FINDINGS, max_size=12))
@settings(max_examples=200, deadline=None)
def test_merging_keeps_the_longest_whole(findings):
    longest = max((finding.end - finding.start for finding in findings), default=0)

    assert max((finding.end - finding.start for finding in merge(findings)), default=0) >= longest


#: Texts made to send a careless detector back again and again.
HOSTILE = {
    "one letter": "a",
    "one digit": "1",
    "digits apart": "1 ",
    "digits by two separators": "1 -",
    "card groups": "1234 ",
    "cards without a check digit": "4111 1111 1111 1112 ",
    "the word card": "card 4111 1111 1111 1112 ",
    "plus signs": "+1 ",
    "international numbers": "+12 345 678 9 ",
    "brackets": "(+",
    "addresses without an end": "a@",
    "addresses in addresses": "a@a.",
    "labels without an end": "a@a.漢",
    "quotation marks": '"a',
    "pairs of digits": "01 ",
    "dots": "1.",
    "colons": "1:",
    "colons and dots": "fe80:0:1.",
    "beginnings of keys": "-----BEGIN PRIVATE KEY-----",
    "lines of keys": "-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAA\n",
    "dashes": "-",
    "accounts": "DE89 3704 0044 0532 ",
    "beginnings of tokens": "sk-",
    "web tokens": "eyJaaaaaaaaaaaaaaaa.",
    "named secrets": "token=abcdefgh12345678",
    "names of secrets": "token=",
    "the word phone": "phone: 123 4567 ",
    "announcements": "call at on to ",
    "American numbers": "202 512 8581 ",
    "Japanese numbers": "電話03-1234-5678",
    "British numbers": "01234 567890 ",
    "My Numbers": "my number 1234 5678 9012 ",
    "social security numbers": "123 45 6789 ",
    "full width": "\u3000１",
    "length marks": "1ー",
}
CHARS_SMALL = 10_000
TIMES_LARGER = 8
#: A detector of quadratic cost would take 64 times as long for a text eight times as long.
RATIO_MAX = 28


def _cpu_s(text, patterns=()):
    """The best of some runs, so that a busy machine does not count."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        find(text, patterns)
        took.append(time.process_time() - begun)
    return max(min(took), 0.002)


def _ratio(unit, patterns=()):
    small = (unit * CHARS_SMALL)[:CHARS_SMALL]
    return _cpu_s(small * TIMES_LARGER, patterns) / _cpu_s(small, patterns)


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_takes_no_more_than_its_length(unit):
    find("warm +81 3-1234-5678 4111111111111111 key=abcdefghij0123456789KLMNOP")

    assert _ratio(unit) < RATIO_MAX


@pytest.mark.parametrize("pattern", [r"(\w+\s?)*$x", r"(a|aa)+$x", r"(a*)*b", r"(?:a|aa)+c|SECRET\d+", r"(x+x+)+y"])
def test_a_persons_pattern_takes_no_more_than_the_texts_length(pattern):
    assert _ratio("a", [UserPattern("own", pattern)]) < RATIO_MAX


def test_a_hostile_text_does_not_hide_what_a_pattern_finds():
    text = "a" * 50_000 + "b SECRET12"

    [finding] = find(text, [UserPattern("own", r"(?:a|aa)+c|SECRET\d+")])
    assert text[finding.start : finding.end] == "SECRET12"
