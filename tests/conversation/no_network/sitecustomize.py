"""First on the path of a process: nothing in it reaches another machine, and whoever tries is on record.

Python imports a module of this name by itself. `NO_NETWORK_RECORD` names the file that every guarded process and every
attempt gets a line in.
"""

import errno
import ipaddress
import json
import os
import socket
import sys
from typing import Any

#: Audit event: where the address stands among its arguments.
CONNECTING = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
LOOKING_UP = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
RECORD = os.environ["NO_NETWORK_RECORD"]


def is_of_this_machine(host: object) -> bool:
    """No host at all means this machine too."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def note(**line: object) -> None:
    with open(RECORD, "a", encoding="utf-8") as record:  # noqa: PTH123 - pathlib is more to import in every process
        record.write(json.dumps({"pid": os.getpid(), **line}) + "\n")


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in CONNECTING:
        address = arguments[CONNECTING[event]]
        if arguments[0].family not in {socket.AF_INET, socket.AF_INET6} or address is None:
            return
        host = address[0]
    elif event in LOOKING_UP:
        host = arguments[LOOKING_UP[event]]
    else:
        return
    if not is_of_this_machine(host):
        note(tried=str(host), event=event)
        raise OSError(errno.ENETUNREACH, "there is no network here")


note(guarded=sys.orig_argv)
sys.addaudithook(guard)
