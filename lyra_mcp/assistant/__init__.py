"""The Python API: a wrapper that keeps what a program's assistant answers, over the same operations as the tools."""

from lyra_mcp.assistant.wrapper import Answered, PrivacyFilter, auto_finetune

__all__ = ["Answered", "PrivacyFilter", "auto_finetune"]
