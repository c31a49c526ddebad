"""What was remembered is found again: by words at once, by meaning when the vectors are there."""

import asyncio

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.memories import Message, NewConversation, NewEpisode, NewFact
from lyra_mcp.errors import WorkerGone, WorkerWarming
from lyra_mcp.operations import indexing, rating, recalling
from lyra_mcp.operations.forgetting import forget
from lyra_mcp.operations.remembering import remember


@pytest.fixture
def keep(services):
    """Remember an episode; returns its id."""

    async def keep(text, **context):
        return (await remember(services, NewEpisode("note", text, context))).id

    return keep


@pytest.fixture
def find(services):
    """Ids of what is found, best first."""

    async def find(query, limit=5, offset=0, **filters):
        found = await recalling.recall(services, query, filters=Filters(**filters), limit=limit, offset=offset)
        return [hit.memory.memory_id for hit in found.hits]

    return find


async def test_what_was_just_remembered_is_found_in_the_next_call(keep, find):
    await keep("The bridge opens at seven.")
    cats = await keep("Two cats slept on the piano.")

    assert (await find("Which cat was sleeping on a piano?"))[0] == cats


async def test_a_hit_says_why_and_the_index_says_when_it_is_ready(services, keep):
    await keep("Ann: I moved to Lisbon in May.")
    found = await recalling.recall(services, "Where did Ann move?")
    assert found.index_state == "pending: 1 of 1"
    await services.index.idle()

    found = await recalling.recall(services, "Where did Ann move to Lisbon?")

    [hit] = found.hits
    assert hit.why.startswith("words 'ann', 'lisbon' (rank 1); meaning ")
    assert hit.why.endswith("(rank 1); said by Ann")
    assert (found.index_state, found.degraded_reason) == ("ready", "")


async def test_without_a_worker_words_alone_answer_and_it_says_so(services, keep, worker):
    kept = await keep("The bridge opens at seven.")
    worker.problem = WorkerGone("it died")

    found = await recalling.recall(services, "bridge")

    assert [hit.memory.memory_id for hit in found.hits] == [kept]
    assert found.degraded_reason == "found by words alone; E_WORKER: it died"


@pytest.fixture
def waited_s(worker, monkeypatch):
    """The worker is starting: how long each caller would have waited for it."""
    asked = []

    async def ready(*, within_s=None):
        asked.append(within_s)
        raise WorkerWarming("the models are still loading")

    monkeypatch.setattr(worker, "ready", ready)
    return asked


async def test_where_there_is_nothing_to_find_no_worker_is_asked(services, keep, waited_s):
    empty = await recalling.recall(services, "bridge")
    await keep("The bridge opens at seven.")
    filtered = await recalling.recall(services, "bridge", filters=Filters(kinds=("workflow",)))

    assert (empty.hits, empty.total, empty.index_state, empty.degraded_reason) == ([], 0, "ready", "")
    assert (filtered.hits, filtered.degraded_reason) == ([], "")
    assert waited_s == []


async def test_a_worker_that_is_busy_is_waited_for_a_moment_and_called_busy(services, keep, worker, monkeypatch):
    monkeypatch.setattr(indexing, "QUERY_TIMEOUT_S", 0.05)
    kept = await keep("The bridge opens at seven.")
    await services.index.idle()
    monkeypatch.setattr(worker, "embed", lambda _: asyncio.Event().wait())

    found = await recalling.recall(services, "bridge")

    assert [hit.memory.memory_id for hit in found.hits] == [kept]
    assert found.degraded_reason.startswith("found by words alone; E_BUSY: the worker did not answer within 0.05 s")


async def test_a_worker_that_starts_is_hardly_waited_for_and_called_warming(services, keep, waited_s):
    kept = await keep("The bridge opens at seven.")

    found = await recalling.recall(services, "bridge")

    assert [hit.memory.memory_id for hit in found.hits] == [kept]
    assert found.degraded_reason == "found by words alone; E_WARMING: the models are still loading"
    assert waited_s == [0.5]


async def test_meaning_finds_what_shares_no_word_with_the_question_after_stemming(services, keep, find):
    """The tests' encoder only knows words of the exact case; the search by words does not see stop words."""
    kept = await keep("who was it")
    await keep("something else entirely")
    await services.index.idle()

    assert (await find("was it who then now"))[0] == kept


async def test_a_superseded_value_is_not_found_any_more(services, find):
    old = await remember(services, NewFact("home", "city", "Lisbon"))
    await services.index.idle()
    new = await remember(services, NewFact("home", "city", "Porto"))
    await services.index.idle()

    assert await find("home city Lisbon Porto") == [new.id]

    await forget(services, [new.id])
    assert await find("home city Lisbon Porto") == [old.id]


async def test_what_is_forgotten_is_not_found_any_more(services, keep, find):
    gone = await keep("The bridge opens at seven.")
    await services.index.idle()
    await forget(services, [gone])

    assert await find("bridge") == []


async def test_filters_hold_for_both_arms(services, keep, find, clock):
    early = await keep("bridge one", topic="roads")
    between = services.now()
    late = await keep("bridge two", topic="rivers")
    said = await remember(services, NewConversation([Message("user", "Which bridge?")], "bridge three"))
    await rating.rate(services, said.id, rating=2, comment=None)
    await services.index.idle()

    assert set(await find("bridge")) == {early, late, said.id}
    assert set(await find("bridge", kinds=["episode"])) == {early, late}
    assert await find("bridge", topic="rivers") == [late]
    assert await find("bridge", until=between) == [early]
    assert set(await find("bridge", since=between)) == {late, said.id}
    assert await find("bridge", min_rating=2) == [said.id]
    assert await find("bridge", min_rating=3) == []


async def test_a_badly_rated_conversation_is_still_found(services, find):
    said = await remember(services, NewConversation([Message("user", "Which bridge?")], "The north one."))
    await rating.rate(services, said.id, rating=1, comment=None)

    assert await find("bridge") == [said.id]


async def test_pages_follow_each_other_without_a_gap(services, keep, find):
    kept = {await keep(f"bridge number {number}") for number in range(12)}
    await services.index.idle()

    pages = [await find("bridge", limit=5, offset=offset) for offset in (0, 5, 10, 15)]

    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert {one for page in pages for one in page} == kept


@pytest.mark.parametrize("query", ["?!…", "🙂🙃", "\x07\x1b[", "   ", "'\"(*):^-"])
async def test_a_query_without_a_word_finds_the_newest(services, keep, query):
    await keep("first")
    last = await keep("second")

    found = await recalling.recall(services, query, limit=1)

    [hit] = found.hits
    assert (hit.memory.memory_id, hit.why) == (last, "among the newest; the query has no word")


@pytest.mark.parametrize(
    "query",
    ["NEAR(bridge open, 2)", "bridge AND", "* OR bridge*", '"bridge', "bridge NOT open", "words:bridge", "-{b}^"],
)
async def test_operators_of_the_search_are_words(keep, find, query):
    kept = await keep("The bridge opens at seven.")

    assert await find(query) in ([kept], [])


@given(query=st.text(max_size=300))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_query_is_an_error(services, query):
    await recalling.recall(services, query)


async def test_a_long_memory_is_found_by_the_meaning_of_its_end(services, keep, lyra):
    filler = "Nothing of interest was said in this part of the meeting. " * 40
    await keep(filler + "Finally the zeppelin was painted green.")
    await services.index.idle()

    [row] = await lyra.sql("SELECT count(*) AS n FROM memory_vectors")
    assert row["n"] == 3

    found = await recalling.recall(services, "Finally the zeppelin was painted green.")
    assert "meaning" in found.hits[0].why


async def test_another_encoder_reads_everything_anew(services, keep, worker, lyra):
    await keep("The bridge opens at seven.")
    await services.index.idle()
    worker.fingerprint = "second"

    found = await recalling.recall(services, "bridge")
    assert found.index_state == "pending: 1 of 1"
    await services.index.idle()

    assert (await recalling.recall(services, "bridge")).index_state == "ready"
    assert len(await lyra.sql("SELECT * FROM memory_vectors")) == 2


JAPANESE = [
    ("エディタはいつもダークモードで使いたい", "画面はダークモードが好み？"),
    ("猫の名前はむぎで、去年の秋に引き取った", "猫の名前は？"),
    ("社内の経費精算は毎月二十五日が締め切りだ", "経費精算の締め切りはいつ？"),
    ("通勤には地下鉄の東西線を使っている", "通勤の路線は東西線？"),
    ("祖母は静岡で茶畑を営んでいた", "茶畑をやっていたのは？"),
    ("プリンターのトナーは倉庫の右奥にある", "ﾄﾅｰの在庫はどこ？"),
    ("妹は看護師として名古屋で働いている", "妹の仕事は？"),
    ("大学では土木工学を学んだ", "大学の専攻"),
]


async def test_japanese_is_found_by_its_words(services, keep, find, worker):
    """Also words of one and two characters, and half-width kana; the shipped encoder reads no Japanese."""
    worker.model = recalling.BUILTIN
    kept = {question: await keep(text) for text, question in JAPANESE}
    await services.index.idle()

    assert {question: (await find(question, limit=1))[0] for _, question in JAPANESE} == kept
