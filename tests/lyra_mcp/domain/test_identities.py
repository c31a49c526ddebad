"""Names of folders: no two people share one, and none leaves its place."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.identities import is_user_name, user_of_subject

ANY_TEXT = st.text(st.characters(), max_size=50)


@pytest.mark.parametrize("name", ["alice", "a", "9", "a.b-c_d", "a" * 64, "local"])
def test_a_plain_name_is_a_users(name):
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../bob",
        "a/b",
        "a\\b",
        ".hidden",
        "-x",
        "Alice",
        "a" * 65,
        "a b",
        "a\n",
        "a\0",
        "é",
        "oauth-x",
        "/etc",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_nobodys(name):
    assert not is_user_name(name)


@given(ANY_TEXT)
def test_a_users_name_is_a_folder_of_its_own(name):
    if is_user_name(name):
        assert os.path.normpath(f"/users/{name}") == f"/users/{name}"
        assert Path(f"/users/{name}").parent == Path("/users")
        assert name == name.casefold()


@given(st.tuples(ANY_TEXT, ANY_TEXT), st.tuples(ANY_TEXT, ANY_TEXT))
def test_every_subject_of_every_issuer_has_a_folder_of_its_own(one, other):
    names = user_of_subject(*one), user_of_subject(*other)

    assert all(re.fullmatch(r"oauth-[a-z2-7]{52}", name) for name in names)
    assert (names[0] == names[1]) == (one == other)
    assert not any(is_user_name(name) for name in names), "no token of ours opens it"


def test_where_issuer_and_subject_meet_does_not_matter():
    assert user_of_subject("a", "bc") != user_of_subject("ab", "c")
    assert user_of_subject("a", "../../b") != user_of_subject("a", "b")
