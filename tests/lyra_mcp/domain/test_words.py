"""What is a word to the search, in English and Japanese, and a query that can hold anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlcipher3 import dbapi2 as sqlite

from lyra_mcp.domain.words import (
    QUERY_WORDS_MAX,
    cjk_share,
    index_words,
    match_expressions,
    matching,
    query_words,
    without,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The bridge is OPEN.", "the bridge is open"),
        ("子猫", "子猫 猫"),
        ("ダークモード", "ダー ーク クモ モー ード ド"),
        ("ﾀﾞｰｸﾓｰﾄﾞ", "ダー ーク クモ モー ード ド"),
        ("ＰＤＦを読む", "pdf を読 読む む"),
        ("iPhone15を買った", "iphone15 を買 買っ った た"),
        ("北京大學 서울", "北京 京大 大學 學 서울 울"),
        ("a_b c-d 3.5", "a b c d 3 5"),
        ("👍 … !?", ""),
    ],
)
def test_words_of_a_text(text, words):
    assert index_words(text) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("What did Caroline research?", ["caroline", "research"]),
        ("what is it", ["what", "is", "it"]),
        ("好きな色", ["好き", "きな", "な色", "好*", "色*"]),
        ("猫", ["猫*"]),
        ("妹の職業", ["妹の", "の職", "職業", "妹*"]),
        ("dark ダーク", ["dark", "ダー", "ーク"]),
        ("?!🙂", []),
    ],
)
def test_words_of_a_query(query, words):
    assert query_words(query) == words


def test_a_pasted_page_is_cut():
    assert len(query_words(" ".join(f"word{n}" for n in range(5_000)))) == QUERY_WORDS_MAX


def test_an_operator_is_only_a_word():
    assert match_expressions('NEAR(a b) AND "c" OR d* : ^e -f') == [
        f'"{word}"' for word in ("near", "b", "c", "e", "f")
    ]


@pytest.fixture(scope="module", name="index")
def _index():
    with sqlite.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE w USING fts5(words, content='', tokenize='porter unicode61')")
        connection.execute("INSERT INTO w (rowid, words) VALUES (1, ?)", (index_words("The cats slept. 子猫と犬"),))
        yield connection
    connection.close()


@given(st.text(max_size=200))
def test_no_query_is_an_error_to_the_search(index, query):
    for expression in match_expressions(query):
        index.execute("SELECT rowid FROM w WHERE w MATCH ?", (expression,)).fetchall()


@pytest.mark.parametrize("query", ["cat", "CATS", "sleeping slept", "猫", "子", "犬", "子猫"])
def test_a_word_is_found_in_another_form_and_a_character_alone(index, query):
    found = [
        index.execute("SELECT rowid FROM w WHERE w MATCH ?", (expression,)).fetchall()
        for expression in match_expressions(query)
    ]

    assert [(1,)] in found


@given(st.text(max_size=100))
def test_a_text_is_found_by_each_of_its_own_words(text):
    words = [word.rstrip("*") for word in query_words(text)]

    assert matching(text, words) == words


def test_names_are_left_out_for_the_encoder_but_not_everything():
    assert without("What did Caroline's friend say?", {"caroline"}) == "What did friend say?"
    assert without("Caroline?", {"caroline"}) == "Caroline?"


@pytest.mark.parametrize(("text", "share"), [("", 0.0), ("abc", 0.0), ("猫ab", 1 / 3), ("ダーク", 1.0), ("!!", 0.0)])
def test_share_of_cjk(text, share):
    assert cjk_share(text) == pytest.approx(share)
