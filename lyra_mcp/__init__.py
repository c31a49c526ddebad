"""The MCP server: owns the data and the rules, holds no model. For Python programs: `auto_finetune`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyra_mcp.assistant import auto_finetune

__all__ = ["auto_finetune"]


def __getattr__(name: str) -> Any:
    """Importing the package stays light: what it offers is loaded when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lyra_mcp import assistant  # noqa: PLC0415 - that is what this function is for

    return getattr(assistant, name)
