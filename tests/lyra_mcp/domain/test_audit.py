"""The audit's chain: what a change, a cut and a lost head look like."""

from dataclasses import replace

import pytest

from lyra_mcp.domain.audit import GENESIS, Entry, Head, Verdict, dump_detail, seal, verify

KEY = b"k" * 32


def chain(count):
    entries, mac = [], GENESIS
    for seq in range(1, count + 1):
        fields = {"event": "exported", "actor": "mcp", "detail": dump_detail({"rows": seq}), "created_at": f"t{seq}"}
        mac = seal(KEY, mac, seq=seq, **fields)
        entries.append(Entry(seq=seq, mac=mac, **fields))
    return entries


def head_of(entries):
    return Head(entries[-1].seq, entries[-1].mac)


def test_a_whole_chain_is_valid_and_says_its_head():
    entries = chain(3)

    assert verify(KEY, entries, head_of(entries)) == Verdict(True, 3, entries[-1].mac)


def test_an_empty_chain_is_valid_at_its_genesis():
    assert verify(KEY, [], Head(0, GENESIS)) == Verdict(True, 0, GENESIS)


def test_a_head_that_lags_behind_is_no_alarm():
    """The process ended between the transaction and the writing of the head."""
    entries = chain(3)

    assert verify(KEY, entries, head_of(entries[:2])).valid
    assert verify(KEY, entries, Head(0, GENESIS)).valid


@pytest.mark.parametrize(
    "change",
    [
        {"detail": '{"rows":9}'},
        {"event": "erased"},
        {"actor": "somebody"},
        {"created_at": "another time"},
        {"seq": 9},
        {"mac": "0" * 64},
    ],
)
def test_a_changed_entry_is_found_at_its_number(change):
    entries = chain(3)
    entries[1] = replace(entries[1], **change)

    verdict = verify(KEY, entries, head_of(chain(3)))

    assert (verdict.valid, verdict.entries) == (False, 2)
    assert "entry 2 was changed" in verdict.problem


def test_a_removed_entry_is_found():
    entries = chain(3)

    assert not verify(KEY, [entries[0], entries[2]], head_of(entries)).valid


def test_a_cut_tail_is_found_by_the_head():
    entries = chain(3)

    verdict = verify(KEY, entries[:2], head_of(entries))

    assert not verdict.valid
    assert "its end was cut or replaced" in verdict.problem


def test_another_chain_under_the_same_key_is_found_by_the_head():
    """As after an older backup was put in the place of the database."""
    older, newer = chain(2), chain(5)

    assert not verify(KEY, older, head_of(newer)).valid


def test_a_missing_head_is_no_proof():
    verdict = verify(KEY, chain(1), None)

    assert not verdict.valid
    assert "the head beside the database is missing" in verdict.problem


def test_another_key_does_not_fit():
    entries = chain(1)

    assert not verify(b"x" * 32, entries, head_of(entries)).valid


@pytest.mark.parametrize("text", ["my name is Ann", "a\nb", "x" * 129])
def test_a_text_is_refused_because_it_may_be_somebodys(text):
    with pytest.raises(ValueError, match="no id"):
        dump_detail({"reason": text})
    with pytest.raises(ValueError, match="no id"):
        dump_detail({"reasons": [text]})


def test_the_detail_is_canonical():
    assert dump_detail({"b": [1, 2], "a": None, "c": "job_1"}) == '{"a":null,"b":[1,2],"c":"job_1"}'
