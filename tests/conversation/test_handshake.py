"""The handshake waits for nothing, and a worker that cannot serve is a state with a reason."""

import time

import psutil

#: Far below the start of a worker, far above that of a server on a busy machine.
SOON_S = 10.0


async def test_a_broken_model_is_named_by_the_tools_and_stops_nothing_else(own_house, connect, tmp_path):
    async with connect(own_house, nli_model=tmp_path / "nothing") as agent:
        assert agent.client.server_info.name == "lyra"
        assert own_house.workers() == [], "the handshake starts no worker"

        refusal = await agent.refusal("judge", pairs=[{"premise": "a", "hypothesis": "b"}])
        assert refusal.startswith("E_WORKER: the worker could not load its models: ")
        assert "LYRA_NLI_MODEL" in refusal

        status = await agent("server_status")
        assert status["worker"]["state"] == "failed"
        assert "LYRA_NLI_MODEL" in status["problems"][0]
        cited = await agent("add_evidence", claim="a claim.", fragments=[{"text": "a source.", "kind": "cites"}])
        assert (await agent("get_claims"))["claims"][0]["claim_id"] == cited["claim_id"]


async def test_a_worker_warms_up_leaves_when_nobody_asks_and_comes_back(own_house, connect):
    pair = {"premise": "a", "hypothesis": "b"}
    async with connect(own_house, worker_wait_s=0, worker_idle_s=2) as agent:
        refusal = await agent.refusal("judge", pairs=[pair])
        assert refusal.startswith("E_WARMING: the models have been loading for ")
        assert (await agent("server_status"))["worker"]["state"] == "warming"
        await agent.until("server_status", lambda status: status["worker"]["state"] == "ready")
        await agent("judge", pairs=[pair])

        own_house.wait_until_empty()
        assert (await agent("server_status"))["worker"]["state"] == "stopped"

        assert (await agent.refusal("judge", pairs=[pair])).startswith("E_WARMING: ")
        (pid,) = own_house.workers()
        psutil.Process(pid).kill()  # that it loads its models was seen above


async def test_the_socket_s_path_is_too_long_and_only_the_judge_minds(own_house, connect, tmp_path):
    async with connect(own_house, runtime_dir=tmp_path / ("long" * 25)) as agent:
        for tool, arguments in (
            ("judge", {"pairs": [{"premise": "a", "hypothesis": "b"}]}),
            ("add_evidence", {"claim": "a", "fragments": [{"text": "b"}]}),
        ):
            refusal = await agent.refusal(tool, **arguments)
            assert refusal.startswith("E_INVALID: the worker's socket path has ")
            assert "set LYRA_RUNTIME_DIR to a shorter folder" in refusal
        status = await agent("server_status")
        assert (status["worker"]["state"], status["database"]["state"]) == ("unreachable", "open")
        assert "set LYRA_RUNTIME_DIR to a shorter folder" in status["problems"][0]


def test_the_end_of_the_input_ends_the_server(house, host):
    server = host(house)
    server.answer("judge", pairs=[{"premise": "a", "hypothesis": "b"}])

    started = time.monotonic()
    server.close()

    assert (server.process.returncode, server.rest()) == (0, [])
    assert time.monotonic() - started < SOON_S


def test_the_end_of_the_input_ends_a_server_that_waits_for_its_worker(own_house, host):
    server = host(own_house)
    server.ask("tools/call", {"name": "judge", "arguments": {"pairs": [{"premise": "a", "hypothesis": "b"}]}})
    server.answer("server_status")

    started = time.monotonic()
    server.close()

    assert server.process.returncode == 0
    assert time.monotonic() - started < SOON_S
