"""Private data is found where it stands, called what it is, and replaced by a tag."""

import pytest

from lyra_mcp.domain.redaction import Finding, find, is_safe, merge, redact

CARD = "4111 1111 1111 1111"


def found(text, **more):
    return [(finding.type, text[finding.start : finding.end]) for finding in find(text, **more)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to taro.yamada+news@mail.example.co.jp.", ("email", "taro.yamada+news@mail.example.co.jp")),
        ("Call me at 090-1234-5678 tomorrow", ("phone_jp", "090-1234-5678")),
        ("our office (03) 3210-7000", ("phone_jp", "(03) 3210-7000")),
        ("03(3210)7000 is the number", ("phone_jp", "03(3210)7000")),
        ("+81 90 1234 5678", ("phone_jp", "+81 90 1234 5678")),
        ("Reach us: +44 20 7946 0958.", ("phone_intl", "+44 20 7946 0958")),
        ("(202) 512-8581 is the counsel's", ("phone_intl", "(202) 512-8581")),
        ("202.512.8581 x45", ("phone_intl", "202.512.8581 x45")),
        ("Phone: 467 3395", ("phone_intl", "467 3395")),
        ("60-56-85-91 office", ("phone_intl", "60-56-85-91")),
        ("paid with 4111 1111 1111 1111 today", ("credit_card", CARD)),
        ("paid with 4111-1111-1111-1111", ("credit_card", "4111-1111-1111-1111")),
        ("amex 3782 822463 10005", ("credit_card", "3782 822463 10005")),
        ("my card 501864667909", ("credit_card", "501864667909")),
        ("2223 0031 2200 3222", ("credit_card", "2223 0031 2200 3222")),
        ("visa 4532.0151.1283.0366", ("credit_card", "4532.0151.1283.0366")),
        ('"odd name"@example.com wrote', ("email", '"odd name"@example.com')),
        ("josé.garcía@example.es wrote", ("email", "josé.garcía@example.es")),
        ("her number's 0151 23456789, she said", ("phone_intl", "0151 23456789")),
        ("wa.me/5511912345678", ("phone_intl", "wa.me/5511912345678")),
        ("0044 20 7946 0958 from abroad", ("phone_intl", "0044 20 7946 0958")),
        ("+1-984-182-0190 mobile", ("phone_intl", "+1-984-182-0190")),
        ("SSN 536-90-4399", ("ssn", "536-90-4399")),
        ("social security number 536 90 4399", ("ssn", "536 90 4399")),
        ("IBAN: DE89 3704 0044 0532 0130 00 please", ("iban", "DE89 3704 0044 0532 0130 00")),
        ("to BE68 5390 0754 7034 from here", ("iban", "BE68 5390 0754 7034")),
        ("blocked 203.0.113.9 again", ("ip_address", "203.0.113.9")),
        ("from 2001:db8:85a3::8a2e:370:7334 it came", ("ip_address", "2001:db8:85a3::8a2e:370:7334")),
        ("マイナンバーは 1234 5678 9018 です", ("my_number", "1234 5678 9018")),
        ("token: ghp_" + "a1B2" * 9, ("api_key", "ghp_" + "a1B2" * 9)),
        ("AKIAIOSFODNN7EXAMPLE", ("api_key", "AKIAIOSFODNN7EXAMPLE")),
        ("api_key = 'q8Zt3LxV0nB7yRk2Wm5PsD1c'", ("api_key", "q8Zt3LxV0nB7yRk2Wm5PsD1c")),
    ],
)
def test_each_type_is_found_whole_and_called_what_it_is(text, expected):
    assert found(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("メールはtaro@example.comまで", ("email", "taro@example.com")),
        ("連絡先ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍです", ("email", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ")),
        ("taro@日本語.jpへ", ("email", "taro@日本語.jp")),
        ("taro@example.comまで．次の行", ("email", "taro@example.com")),
        ("電話は０９０－１２３４－５６７８です", ("phone_jp", "０９０－１２３４－５６７８")),
        ("携帯０９０ー１２３４ー５６７８まで", ("phone_jp", "０９０ー１２３４ー５６７８")),
        ("カードは４１１１１１１１１１１１１１１１です", ("credit_card", "４１１１１１１１１１１１１１１１")),
        ("個人番号：１２３４５６７８９０１８", ("my_number", "１２３４５６７８９０１８")),
        ("サーバーは203.0.113.9です", ("ip_address", "203.0.113.9")),
    ],
)
def test_japanese_text_and_full_width_characters_hide_nothing(text, expected):
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 is no card",
        "card 4111111111111112",
        "123456789012 has the digits of a My Number and is none",
        "マイナンバーは 1234 5678 9012 です",
        "000-12-3456 and 666-12-3456 and 123-00-4567",
        "release 1.2.3 and version 10.0.0.1, http://127.0.0.1:8000 and ::1",
        "on 2021-03-04 at 12:34:56, 1,234,567 people",
        "the order number is 1234-5678, call it in",
        "your order number is 12345678, and your new account number is 123456789",
        "the restaurant is at 17031 2202 Rissik St",
        "our offices are located at 9543 1819 St. John Street",
        "GB82 WEST 1234 5698 7654 33",
        "0.4111111111111111",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "std::vector<int> a; add::face()",
        "x = weights@inputs.T",
        "token: configuration_of_the_server",
        "価格は1,234,567円です",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    assert found(text) == []


def test_a_social_security_number_is_no_telephone_number():
    assert found("call me about my SSN 536-90-4399 at 202-512-8581") == [
        ("ssn", "536-90-4399"),
        ("phone_intl", "202-512-8581"),
    ]


def test_two_cards_side_by_side_are_two():
    assert found(f"{CARD} 5555 5555 5555 4444") == [("credit_card", CARD), ("credit_card", "5555 5555 5555 4444")]


def test_a_private_key_is_one_finding_from_its_first_line_to_its_last():
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n536-90-4399\n-----END RSA PRIVATE KEY-----"

    assert found(f"here:\n{key}\nthanks") == [("private_key", key)]


def test_a_private_key_that_was_cut_ends_with_its_lines():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB"

    assert found(f"{key}\n\nThe rest was lost.")[0][0] == "private_key"
    assert found(f"{key}\n\nThe rest was lost.")[0][1].startswith(key)


def test_tags_stand_in_the_place_of_what_was_found_and_of_nothing_else():
    text = "Taro (taro@example.com, 090-1234-5678) paid 1234 with 4111111111111111."

    assert redact(text, find(text)) == (
        "Taro ([REDACTED_EMAIL], [REDACTED_PHONE_JP]) paid 1234 with [REDACTED_CREDIT_CARD]."
    )


def test_only_the_finding_is_replaced_and_not_every_equal_text():
    text = "SSN 536904399, order 536904399"

    assert redact(text, find(text)[:1]) == "SSN [REDACTED_SSN], order 536904399"


def test_a_text_without_private_data_is_the_same_text():
    assert redact("nothing here", find("nothing here")) == "nothing here"


def test_of_findings_that_overlap_the_longest_wins_and_then_the_most_specific():
    phone, card = Finding("phone_intl", 0, 10, 0.9), Finding("credit_card", 0, 19, 0.9)
    same_place = Finding("ssn", 30, 41, 0.9), Finding("phone_intl", 30, 41, 0.9)

    assert merge([phone, card, *same_place]) == (card, same_place[0])


def test_what_the_longest_leaves_uncovered_of_another_stays_found():
    first, second = Finding("email", 0, 10, 0.9), Finding("phone_intl", 8, 14, 0.9)

    assert merge([second, first]) == (first, Finding("phone_intl", 10, 14, 0.9))


@pytest.mark.parametrize(
    "value",
    [
        "taro@example.com",
        {"messages": [{"role": "user", "content": "hi"}], "metadata": {"author": "taro@example.com"}},
        {"taro@example.com": 1},
        ["fine", ("also fine", {"card": 4111111111111111})],
        b"call +81 90 1234 5678",
    ],
)
def test_private_data_anywhere_in_a_value_makes_it_unsafe(value):
    assert not is_safe("hello", value)


def test_messages_a_response_metadata_and_a_rating_without_private_data_are_safe():
    assert is_safe([{"role": "user", "content": "hi"}], "hello", {"topic": "weather", "stars": 5, "kept": True}, None)
