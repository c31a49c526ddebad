"""Who may do what over HTTP: one place for every tool and every action; what has none is the owner's alone."""

from typing import Literal

Role = Literal["reader", "trainer", "owner"]

#: Each may do what the ones before it may.
ROLES: tuple[Role, ...] = ("reader", "trainer", "owner")

#: A tool's role, or its actions' roles. A reader changes nothing; a trainer adds what Lyra learns from; what serves,
#: what is deleted and what is private is the owner's. A test compares this with the tools and their hints.
NEEDED: dict[str, Role | dict[str, Role]] = {
    "adapters": {
        "list": "reader",
        "status": "reader",
        "compare": "reader",
        "load": "owner",
        "unload": "owner",
        "activate": "owner",
        "rollback": "owner",
        "prune": "owner",
    },
    "add_evidence": "trainer",
    "calibration_metrics": {
        "get_stats": "reader",
        "get_evaluations": "reader",
        "get_diagram_data": "reader",
        "evaluate": "trainer",
        "fit": "trainer",
    },
    "calibration_rollback": "owner",
    "feedback": "trainer",
    "finetune": {"plan": "trainer", "start": "trainer", "cancel": "trainer", "resume": "trainer"},
    "finetune_status": "reader",
    "forget": "owner",
    "get_claims": "reader",
    "intent": {"add_example": "trainer", "train": "trainer", "predict": "reader", "status": "reader"},
    "judge": "reader",
    "preferences": {"get": "reader", "set": "trainer", "reset": "trainer", "undo": "trainer"},
    "privacy": "owner",
    "prompt_context": "reader",
    "recall": "reader",
    "remember": "trainer",
    "review_queue": "trainer",  # it remembers what it offered
    "server_status": "reader",
}


def needed_role(tool: str, action: object) -> Role:
    """The least role that may call a tool with an action; the strictest one for what nobody thought of."""
    needed = NEEDED.get(tool, "owner")
    if isinstance(needed, str):
        return needed
    return needed.get(action, "owner") if isinstance(action, str) else "owner"


def least_role(tool: str) -> Role:
    """The least role that has any use of a tool."""
    needed = NEEDED.get(tool, "owner")
    return needed if isinstance(needed, str) else min(needed.values(), key=ROLES.index)


def may(role: Role, needed: Role) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)
