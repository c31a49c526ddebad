"""A person's own patterns: checked before they are kept, found by the offsets of the text."""

import pytest

from lyra_mcp.domain.detectors.user_patterns import PATTERN_CHARS_MAX, check_pattern
from lyra_mcp.domain.redaction import Finding, UserPattern, find, redact
from lyra_mcp.errors import Invalid


@pytest.mark.parametrize(
    ("name", "pattern", "reason"),
    [
        ("Project", "x", "is no name"),
        ("", "x", "is no name"),
        ("a" * 41, "x", "is no name"),
        ("project\n", "x", "is no name"),
        ("email", "x", "without a pattern"),
        ("project", "", "1 to 500"),
        ("project", "x" * (PATTERN_CHARS_MAX + 1), "1 to 500"),
        ("project", "(", "cannot be used"),
        ("project", r"(?=look)ahead", "cannot be used"),
        ("project", r"(a)\1", "cannot be used"),
        ("project", r"a{1,1001}", "cannot be used"),
        ("project", "\ud800", "cannot be used"),
        ("project", "(?:(?:(?:a{100}){100}){10})", "cannot be used"),
        ("project", "x*", "empty string"),
        ("project", "$", "empty string"),
        ("project", r"\b", "empty string"),
        ("project", "(?:|secret)", "empty string"),
    ],
)
def test_a_name_or_pattern_that_cannot_be_used_is_refused_with_the_reason(name, pattern, reason):
    with pytest.raises(Invalid, match=reason):
        check_pattern(name, pattern, taken=frozenset({"email"}))


def test_a_pattern_finds_its_own_type_beside_the_others():
    patterns = [check_pattern("employee_id", r"EMP-\d{5}", taken=frozenset())]
    text = "EMP-12345 wrote to taro@example.com"

    assert redact(text, find(text, patterns)) == "[REDACTED_EMPLOYEE_ID] wrote to [REDACTED_EMAIL]"


def test_offsets_are_code_points_also_behind_wide_characters_and_lone_surrogates():
    text = "😀\ud800漢字 計画アルファ です"

    assert find(text, [UserPattern("project", "計画アルファ")]) == (Finding("project", 5, 11, 1.0),)


def test_a_pattern_is_found_in_full_width_text_too_and_a_full_width_pattern_in_its_own():
    assert find("ＥＭＰ－１２３４５", [UserPattern("employee_id", r"EMP-\d{5}")])[0].end == 9
    assert find("案件：ＡＢＣ", [UserPattern("case", "ＡＢＣ")])[0].start == 3


def test_a_pattern_that_cannot_compile_is_an_error_and_never_a_clean_text():
    with pytest.raises(Invalid):
        find("text", [UserPattern("own", "(")])
