"""The worker's life: started once, shared, watched, started again, and gone when nobody is left."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lyra_mcp.errors import WorkerGone, WorkerWarming
from lyra_mcp.worker_client.process import FAILED_RETRY_S
from lyra_mcp.worker_client.spawn import CRASH_WINDOW_S, CRASHES_MAX, spawn_lock
from schema import wire

SERVER = Path(__file__).with_name("server.py")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def until(is_true) -> None:
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - the fact lies in another process, which sends no event
            await asyncio.sleep(0.01)


@pytest.fixture
def program():
    """Run a program with pipes; it is killed when the test ends."""
    with contextlib.ExitStack() as stack:

        def run(*argv: str) -> subprocess.Popen:
            child = subprocess.Popen([sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(child)
            stack.callback(child.kill)
            return child

        yield run


@pytest.fixture
def server_program(program, settings, scripted, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json())
    return lambda: program(str(SERVER), str(file), *scripted().argv)


# Starting


async def test_a_worker_is_started_once_and_found_again(server, journal):
    process = server()
    await process.ensure()
    await process.ensure()

    assert len(journal.pids()) == 1


async def test_two_servers_at_once_start_one_worker(server, journal):
    await asyncio.gather(*(server().ensure() for _ in range(4)))

    assert len(journal.pids()) == 1


async def test_two_server_processes_at_once_start_one_worker(server_program, journal):
    for one in [server_program(), server_program()]:
        assert await asyncio.to_thread(one.stdout.readline) == b"ready\n"

    assert len(journal.pids()) == 1


async def test_other_models_have_a_worker_of_their_own(server, journal):
    await server().ensure()
    await server(update={"nli_model": "cross-encoder/other"}).ensure()

    assert len(journal.pids()) == 2


async def test_a_socket_that_a_dead_worker_left_behind_is_replaced(server, journal):
    process = server()
    process.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(process.socket))

    await process.ensure()

    assert len(journal.pids()) == 1


async def test_the_lock_of_a_dead_server_keeps_nobody_out(server, journal, program):
    process = server()
    process.socket.parent.mkdir(mode=0o700)
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); input()"
    )
    holder = program("-c", code, f"{process.socket}.spawn")
    holder.stdout.readline()
    waiting = asyncio.create_task(process.ensure())
    await asyncio.sleep(0)
    holder.kill()

    await waiting

    assert len(journal.pids()) == 1


async def test_a_lock_that_is_held_too_long_is_an_error(server, monkeypatch):
    monkeypatch.setattr("lyra_mcp.worker_client.process.SPAWN_LOCK_WAIT_S", 0.1)
    process = server()
    process.socket.parent.mkdir(mode=0o700)
    async with spawn_lock(process.socket.with_name(f"{process.socket.name}.spawn"), wait_s=0):
        with pytest.raises(WorkerGone, match=r"another server has been starting the worker .* call again"):
            await process.ensure()


async def test_a_failed_start_says_why(server):
    process = server("--exit-with=OSError: the socket is cursed")

    with pytest.raises(WorkerGone, match=r"ended with exit code 1: OSError: the socket is cursed; .* `logs` under"):
        await process.ensure()

    status = await process.status()
    assert (status.state, "cursed" in status.problem) == ("stopped", True)


async def test_a_missing_extra_names_the_command_that_installs_it(server, scripted):
    process = server(command=scripted(requires=("no_module_of_this_name",)))

    with pytest.raises(WorkerGone, match=r'no_module_of_this_name\); run `pip install "lyra-mcp\[worker\]"`'):
        await process.ensure()


async def test_a_worker_that_never_listens_is_ended(server, journal):
    with pytest.raises(WorkerGone, match=r"did not listen within 1 s"):
        await server("--never-listen", start_timeout_s=1.0).ensure()

    await journal.wait_until_living([])


async def test_what_the_previous_worker_printed_is_kept(server, settings):
    for words in ("first", "second"):
        with pytest.raises(WorkerGone):
            await server(f"--exit-with={words}").ensure()

    printed = {path.suffix: path.read_text().strip() for path in settings.log_dir.iterdir()}
    assert printed == {".out": "second", ".1": "first"}


async def test_a_worker_of_another_protocol_is_refused(server):
    with pytest.raises(WorkerGone, match=rf"speaks protocol 99, this server {wire.PROTOCOL}; end the process \d+"):
        await server("--protocol=99").ensure()


# Loading


async def test_a_worker_that_loads_too_long_is_an_error_that_says_how_long(server, journal):
    process = server("--warming-s=60", update={"worker_wait_s": 0.1})

    with pytest.raises(WorkerWarming, match=r"have been loading for 0 s; call again in about 10 s; server_status"):
        await process.ensure()

    assert (await process.status()).state == "warming"
    assert len(journal.living()) == 1


async def test_a_call_waits_for_a_worker_that_is_loading(server):
    process = server("--warming-s=0.5")
    await process.ensure()

    assert (await process.status()).state == "ready"


async def test_a_worker_that_cannot_load_says_why_and_is_tried_again_later(server, journal, clock, tmp_path):
    cause = tmp_path / "cause"
    cause.touch()
    process = server(f"--fail-while={cause}", clock=clock)
    for _ in range(2):
        with pytest.raises(WorkerGone, match=r"could not load its models: the folder holds no model; .* tries again"):
            await process.ensure()
    assert len(journal.pids()) == 1
    cause.unlink()
    clock.now = FAILED_RETRY_S

    await process.ensure()

    assert journal.living() == journal.pids()[1:]


async def test_a_worker_that_dies_while_loading_is_an_error(server, journal):
    process = server("--warming-s=60")
    waiting = asyncio.create_task(process.ensure())
    await until(lambda: process._presence.is_held)
    os.kill(journal.pids()[0], signal.SIGKILL)

    with pytest.raises(WorkerGone, match=r"ended.* while its models were loading; .* the next call starts a new"):
        await waiting


# Crashing


async def test_a_crashed_worker_is_started_again(server, journal):
    process = server()
    await process.ensure()
    os.kill(journal.pids()[0], signal.SIGKILL)
    await journal.wait_until_living([])
    process.forget()

    await process.ensure()

    assert len(journal.pids()) == 2


async def test_a_worker_that_crashes_again_and_again_is_left_alone_for_a_while(server, journal, clock):
    process = server("--exit-with=boom", clock=clock)
    for _ in range(CRASHES_MAX):
        with pytest.raises(WorkerGone, match="boom"):
            await process.ensure()

    with pytest.raises(WorkerGone, match=r"crashed 3 times within 60 s and is not started for another 60 s; .* `logs`"):
        await process.ensure()
    assert len(journal.pids()) == CRASHES_MAX

    clock.now = CRASH_WINDOW_S
    with pytest.raises(WorkerGone, match="boom"):
        await process.ensure()


async def test_crashes_after_a_good_start_count_as_well(server, journal, clock):
    process = server(clock=clock)
    for _ in range(CRASHES_MAX):
        await process.ensure()
        os.kill(journal.pids()[-1], signal.SIGKILL)
        await journal.wait_until_living([])
        process.forget()

    with pytest.raises(WorkerGone, match="crashed 3 times"):
        await process.ensure()


async def test_a_worker_that_leaves_in_order_is_no_crash(server, journal, clock):
    process = server(clock=clock)
    for _ in range(CRASHES_MAX + 1):
        await process.ensure()
        os.kill(journal.pids()[-1], signal.SIGTERM)
        await journal.wait_until_living([])
        process.forget()

    assert len(journal.pids()) == CRASHES_MAX + 1


# Leaving


async def test_a_caller_that_leaves_during_the_start_stops_it_for_nobody(server, journal, tmp_path):
    signal_file = tmp_path / "listen"
    process = server(f"--listen-after={signal_file}")
    leaving = asyncio.create_task(process.ensure())
    await until(journal.pids)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await process.status()).state == "warming"
    signal_file.touch()

    await process.ensure()
    await server().ensure()

    assert len(journal.pids()) == 1


async def test_a_server_that_closes_during_the_start_leaves_no_lock_and_no_process(server, journal, tmp_path):
    process = server("--never-listen")
    waiting = asyncio.create_task(process.ensure())
    await until(journal.pids)
    await process.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await journal.wait_until_living([])

    await server().ensure()

    assert len(journal.living()) == 1


async def test_the_worker_leaves_when_its_last_server_has_closed(server, journal):
    first, second = server(), server()
    await asyncio.gather(first.ensure(), second.ensure())
    await until(lambda: first._presence.is_held and second._presence.is_held)
    await first.close()
    await asyncio.sleep(0)
    assert len(journal.living()) == 1
    await second.close()

    await journal.wait_until_living([])


async def test_the_worker_leaves_when_its_server_is_killed(server_program, journal):
    one = server_program()
    assert await asyncio.to_thread(one.stdout.readline) == b"ready\n"
    assert len(journal.living()) == 1

    one.kill()

    await journal.wait_until_living([])


async def test_presence_follows_the_worker_that_took_the_place_of_the_first(server, journal):
    process = server()
    await process.ensure()
    await until(lambda: process._presence.is_held)
    os.kill(journal.pids()[0], signal.SIGKILL)
    await until(lambda: not process._presence.is_held)

    await process.ensure()
    await until(lambda: process._presence.is_held)
    await process.close()

    await journal.wait_until_living([])
