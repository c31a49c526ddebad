"""Conversations of other programs, as their exports write them, become exchanges."""

import pytest

from lyra_mcp.domain.exchanges import Exchange, read_moment, read_plain, write_plain
from lyra_mcp.domain.exported_chats import form_of, read_record
from lyra_mcp.domain.memories import Message
from lyra_mcp.errors import Invalid

AT = "2026-01-02T03:04:05.000000+00:00"


def user(text):
    return Message("user", text)


def claude(*said, **fields):
    """A conversation of Claude's export: (sender, text) each."""
    messages = [
        {
            "uuid": f"m{number}",
            "text": text,
            "content": [{"type": "text", "text": text}],
            "sender": sender,
            "created_at": "2026-01-02T03:04:05.000000Z",
            "attachments": [],
            "files": [],
        }
        for number, (sender, text) in enumerate(said)
    ]
    return {"uuid": "c1", "name": "Trains", "created_at": "2026-01-01T00:00:00Z", "chat_messages": messages, **fields}


def node(name, parent, role, text, *, children=(), **fields):
    """A node of ChatGPT's tree."""
    message = {
        "id": name,
        "author": {"role": role},
        "create_time": 1767323045.0,
        "content": {"content_type": "text", "parts": [text]},
        "recipient": "all",
        "weight": 1.0,
        "metadata": {"model_slug": "gpt-5"} if role == "assistant" else {},
        **fields,
    }
    return {name: {"id": name, "message": message, "parent": parent, "children": list(children)}}


def chatgpt(*nodes, current="a", **fields):
    mapping = {"root": {"id": "root", "message": None, "parent": None, "children": ["q"]}}
    for each in nodes:
        mapping |= each
    return {"title": "Trains", "conversation_id": "g1", "mapping": mapping, "current_node": current, **fields}


def test_a_conversation_of_claude_is_one_exchange_for_each_answer():
    said = [("human", "When?"), ("assistant", "At nine."), ("human", "Where?"), ("assistant", "Here.")]

    about = {"source": "claude", "conversation": "c1", "title": "Trains"}
    assert read_record(claude(*said)) == (
        [
            Exchange((user("When?"),), "At nine.", metadata={**about, "turn": 1}, created_at=AT),
            Exchange((user("Where?"),), "Here.", metadata={**about, "turn": 2}, created_at=AT),
        ],
        False,
    )


def test_a_question_without_an_answer_belongs_to_the_next_answer():
    [exchange], _ = read_record(claude(("human", "When?"), ("human", "I mean today."), ("assistant", "At nine.")))

    assert exchange.messages == (user("When?"), user("I mean today."))


def test_what_claude_thought_is_left_out_and_what_was_attached_is_kept():
    record = claude(("human", "Sum it up."), ("assistant", "Short."))
    question, answer = record["chat_messages"]
    question["attachments"] = [{"file_name": "notes.txt", "extracted_content": "Long ago."}]
    answer["content"] = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Short."}]
    answer["text"] = "hm Short."

    [exchange], _ = read_record(record)

    assert exchange.messages == (user("Sum it up.\n\nnotes.txt:\nLong ago."),)
    assert exchange.response == "Short."


def test_of_claudes_branches_the_last_one_counts():
    said = [("human", "When?"), ("assistant", "At eight."), ("assistant", "At nine.")]
    record = claude(*said)
    parents = ["00000000-0000-4000-8000-000000000000", "m0", "m0"]
    for message, parent in zip(record["chat_messages"], parents, strict=True):
        message["parent_message_uuid"] = parent

    [exchange], _ = read_record(record)

    assert exchange.response == "At nine."


def test_of_chatgpts_tree_the_branch_that_was_shown_last_counts():
    record = chatgpt(
        node("q", "root", "user", "When?", children=["old", "a"]),
        node("old", "q", "assistant", "At eight."),
        node("a", "q", "assistant", "At nine."),
    )

    [exchange], is_mended = read_record(record)

    about = {"source": "chatgpt", "conversation": "g1", "title": "Trains", "turn": 1}
    assert exchange == Exchange((user("When?"),), "At nine.", "gpt-5", metadata=about, created_at=AT)
    assert not is_mended


def test_without_a_current_node_the_newest_end_of_the_tree_counts():
    record = chatgpt(
        node("q", "root", "user", "When?", children=["a", "new"]),
        node("a", "q", "assistant", "At eight."),
        node("new", "q", "assistant", "At nine.", create_time=1767323999.0),
        current=None,
    )

    assert read_record(record)[0][0].response == "At nine."


def test_what_chatgpt_did_not_show_is_left_out():
    hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
    thoughts = {"content": {"content_type": "thoughts", "thoughts": []}}
    record = chatgpt(
        node("s", "root", "system", "Be kind."),
        node("p", "s", "user", "about me", **hidden),
        node("q", "p", "user", "When?"),
        node("t", "q", "assistant", "", **thoughts),
        node("c", "t", "assistant", "search('trains')", recipient="web"),
        node("r", "c", "tool", "a table"),
        node("b", "r", "assistant", "Let me see."),
        node("a", "b", "assistant", "At nine."),
    )

    [exchange], _ = read_record(record)

    assert exchange.messages == (user("When?"),)
    assert exchange.response == "Let me see.\n\nAt nine."


def test_a_picture_in_chatgpts_message_is_named():
    parts = [{"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}, "What is it?"]
    content = {"content_type": "multimodal_text", "parts": parts}
    record = chatgpt(node("q", "root", "user", "", content=content), node("a", "q", "assistant", "A cat."))

    assert read_record(record)[0][0].messages == (user("[image_asset_pointer]\n\nWhat is it?"),)


def test_parents_in_a_circle_are_refused():
    with pytest.raises(Invalid, match="one another's parents"):
        read_record(chatgpt(node("q", "a", "user", "?"), node("a", "q", "assistant", "!")))


def test_a_plain_record_has_everything_and_comes_back_as_it_was():
    record = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "何時？"}],
        "response": "九時です。",
        "model": "small",
        "rating": 5,
        "comment": "good",
        "metadata": {"topic": "trains"},
        "created_at": AT,
    }

    [exchange], is_mended = read_record(record)

    assert write_plain(exchange) == record
    assert not is_mended


def test_a_file_for_fine_tuning_ends_with_the_answer():
    said = [{"role": "user", "content": [{"type": "text", "text": "When?"}]}, {"role": "assistant", "content": "At 9."}]

    assert read_plain({"messages": said, "id": 7}) == Exchange((user("When?"),), "At 9.", metadata={"id": 7})


def test_a_comment_without_a_rating_is_kept_beside_it():
    record = {"messages": [{"role": "user", "content": "?"}], "response": "!", "comment": "so so"}

    assert read_plain(record) == Exchange((user("?"),), "!", metadata={"comment": "so so"})


def test_characters_no_database_can_hold_are_mended_and_said():
    record = {"messages": [{"role": "user", "content": "a\0b"}], "response": "\ud83d!", "metadata": {"k": ["\0"]}}

    assert read_record(record) == ([Exchange((user("ab"),), "�!", metadata={"k": [""]})], True)


def test_control_characters_stay_as_they_are():
    record = {"messages": [{"role": "user", "content": "\x1b[31mred\x07"}], "response": "ok"}

    assert read_record(record)[0][0].messages == (user("\x1b[31mred\x07"),)


QUESTION = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([], "it is a list and no object"),
        ({"text": "x"}, "neither chat_messages"),
        ({"messages": []}, "messages is a list and no list with messages"),
        ({"messages": "hello"}, "messages is a text"),
        ({"messages": [7], "response": "!"}, "messages.0 is a number"),
        ({"messages": [{"role": "pirate", "content": "?"}], "response": "!"}, "messages.0.role is 'pirate'"),
        ({"messages": [{"role": "user", "content": None}], "response": "!"}, "messages.0.content is a null"),
        ({"messages": QUESTION}, "there is no response"),
        ({"messages": QUESTION, "response": 7}, "response is a number"),
        ({"messages": [{"role": "assistant", "content": "!"}]}, "nothing but the answer"),
        ({"messages": QUESTION, "response": " "}, "no question with an answer"),
        ({"messages": QUESTION, "response": "!", "rating": 6}, "whole number from 1 to 5"),
        ({"messages": QUESTION, "response": "!", "rating": "5"}, "whole number from 1 to 5"),
        ({"messages": QUESTION, "response": "!", "rating": True}, "whole number from 1 to 5"),
        ({"messages": QUESTION, "response": "!", "metadata": []}, "metadata is a list"),
        ({"messages": QUESTION, "response": "!", "created_at": "soon"}, "the time 'soon'"),
        ({"messages": QUESTION, "response": "!", "created_at": 1e300}, "the time 1e"),
        ({"chat_messages": None}, "chat_messages is no list"),
        (claude(("robot", "?")), "sender is 'robot'"),
        (claude(("human", "?")), "no question with an answer"),
        ({"mapping": [], "title": "x"}, "mapping is no object"),
        (chatgpt(current=None), "no question with an answer"),
    ],
)
def test_a_record_that_cannot_be_read_says_why(record, reason):
    with pytest.raises(Invalid, match=reason):
        read_record(record)


def test_each_form_is_recognised_by_its_fields():
    records = [claude(), chatgpt(), {"messages": []}]

    assert [form_of(record) for record in records] == ["claude", "chatgpt", "plain"]


@pytest.mark.parametrize(
    "written", ["2026-01-02T03:04:05Z", "2026-01-02T12:04:05+09:00", "2026-01-02 03:04:05", 1767323045]
)
def test_times_of_every_form_become_one(written):
    assert read_moment(written) == AT
