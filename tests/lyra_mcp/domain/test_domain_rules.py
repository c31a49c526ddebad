"""Domain rules: which patterns a person may write, what they match, and which rule decides."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.domain_rules import Pattern, Rule, decide, domain_of, is_blocked, parse_pattern
from lyra_mcp.errors import Invalid

NAMES = st.sampled_from(["example.com", "a.example.com", "b.a.example.com", "example.org", "other.net", "x.other.net"])


def rule(seq, pattern, decision="block"):
    return Rule(f"r{seq}", parse_pattern(pattern), decision, seq)


@pytest.mark.parametrize(
    ("written", "domain", "is_wildcard"),
    [
        ("example.com", "example.com", False),
        ("*.example.com", "example.com", True),
        ("  Example.COM. ", "example.com", False),
        ("*.News.Example.co.jp", "news.example.co.jp", True),
        ("例え.jp", "xn--r8jz45g.jp", False),
        ("*.bücher.example", "xn--bcher-kva.example", True),
        ("ｅｘａｍｐｌｅ。com", "example.com", False),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", False),
        ("*.github.io", "github.io", True),
        ("github.io", "github.io", False),
        ("my_site.example.com", "my_site.example.com", False),
        ("www.ck", "www.ck", False),
    ],
)
def test_a_domain_or_the_subdomains_of_one_can_be_written(written, domain, is_wildcard):
    assert parse_pattern(written) == Pattern(domain, is_wildcard)


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("", "example.com"),
        ("   ", "example.com"),
        ("*", "every site"),
        ("**", "every site"),
        ("*.", "every site"),
        ("*.*", "every site"),
        ("*.com", "'*.example.com'"),
        ("com", "'example.com'"),
        ("*.co.jp", "'*.example.co.jp'"),
        ("co.jp", "public suffix"),
        ("*.公司.cn", "public suffix"),
        ("anything.ck", "public suffix"),
        ("localhost", "public suffix"),
        ("ex*mple.com", "leading"),
        ("*.*.com", "leading"),
        ("**.example.com", "leading"),
        ("*example.com", "leading"),
        ("example.*", "leading"),
        ("https://Example.com/page?q=1", "'example.com' or '*.example.com'"),
        ("example.com/path", "'example.com'"),
        ("user@example.com", "'example.com'"),
        ("http://", "URL"),
        ("192.168.0.1", "IP address"),
        ("192.168.0.1:80", "IP address"),
        ("*.168.0.1", "IP address"),
        ("127.1", "IP address"),
        ("[::1]", "IP address"),
        ("::1", "IP address"),
        ("example.com:8080", "write 'example.com'"),
        ("example..com", "two dots"),
        (".example.com", "two dots"),
        ("-a.example.com", "no part of a domain"),
        ("a b.example.com", "no part of a domain"),
        ("a" * 64 + ".example.com", "too long"),
        (".".join(["a" * 60] * 5) + ".com", "too long"),
        ("é" * 63 + ".example.com", "too long"),
        ("exam\0ple.com", "no part of a domain"),
    ],
)
def test_any_other_form_is_refused_with_what_to_write_instead(written, advice):
    with pytest.raises(Invalid, match="E_INVALID") as refusal:
        parse_pattern(written)

    assert advice in str(refusal.value)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        pattern = parse_pattern(text)
    except Invalid:
        return
    assert parse_pattern(str(pattern)) == pattern
    assert str(pattern).isascii()


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.Example.com/a?b#c", "www.example.com"),
        ("http://user:secret@example.com:8080/", "example.com"),
        ("https://example.com.", "example.com"),
        ("https://例え.jp/道", "xn--r8jz45g.jp"),
        ("https://I❤.ws/", "xn--i-7iq.ws"),
        ("https://a_b.example.com", "a_b.example.com"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("ftp://example.com/", None),
        ("file:///etc/passwd", None),
        ("mailto:a@example.com", None),
        ("example.com", None),
        ("https://", None),
        ("https://.", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_the_domain_of_a_url_is_its_host_as_patterns_spell_it(url, domain):
    assert domain_of(url) == domain


@given(st.text(st.characters(), max_size=40))
def test_no_url_makes_domain_of_fail(text):
    for url in (text, f"https://{text}", f"http://a.{text}.com/"):
        domain = domain_of(url)
        assert domain is None or domain.isascii()


@pytest.mark.parametrize(
    ("pattern", "domain", "matches"),
    [
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "example.com.evil.net", False),
    ],
)
def test_a_wildcard_matches_every_subdomain_and_not_the_domain_itself(pattern, domain, matches):
    assert parse_pattern(pattern).matches(domain) is matches


def test_an_exact_rule_beats_a_wildcard_that_is_newer():
    rules = [rule(1, "www.example.com", "unblock"), rule(2, "*.example.com", "block")]

    assert decide("www.example.com", rules) == rules[0]


def test_the_longest_wildcard_beats_one_that_is_newer():
    rules = [rule(1, "*.news.example.com", "unblock"), rule(2, "*.example.com", "block")]

    assert decide("a.news.example.com", rules) == rules[0]


def test_of_two_equal_patterns_the_newer_decides():
    rules = [rule(2, "example.com", "unblock"), rule(1, "example.com", "block")]

    assert decide("example.com", rules) == rules[0]


def test_a_domain_without_a_matching_rule_is_not_blocked():
    rules = [rule(1, "*.example.com"), rule(2, "other.net")]

    assert decide("example.org", rules) is None
    assert not is_blocked("example.org", rules)
    assert not is_blocked(None, rules)
    assert not is_blocked("example.com", rules)
    assert is_blocked("a.example.com", rules)


def test_an_unblock_lifts_a_domain_out_of_a_blocked_one():
    rules = [rule(1, "*.github.io"), rule(2, "trusted.github.io", "unblock")]

    assert is_blocked("spam.github.io", rules)
    assert not is_blocked("trusted.github.io", rules)


@given(
    NAMES,
    st.lists(st.tuples(NAMES, st.booleans(), st.sampled_from(["block", "unblock"])), max_size=8),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_rules_are_read_does_not_matter(domain, written, chance):
    rules = [
        Rule(f"r{seq}", Pattern(name, is_wildcard), decision, seq)
        for seq, (name, is_wildcard, decision) in enumerate(written)
    ]
    shuffled = rules.copy()
    chance.shuffle(shuffled)

    assert decide(domain, shuffled) == decide(domain, rules)


def test_importing_the_module_does_not_load_the_suffix_list():
    code = "import sys, lyra_mcp.domain.domain_rules\nsys.exit(bool({'publicsuffixlist', 'idna'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
