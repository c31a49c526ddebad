"""Exchanges as Markdown, for a person to read; what was said is quoted, so that it cannot pass as our own headings."""

import unicodedata

from lyra_mcp.domain.exchanges import Exchange

#: Where Unicode has pictures of the control characters.
PICTURES = 0x2400


def write_page(exchange: Exchange) -> str:
    """One section, with an empty line at its end."""
    about = [exchange.model or "", _rating(exchange)]
    lines = [f"## {_heading(exchange)}", ""]
    if said := " · ".join(part for part in about if part):
        lines += [said, ""]
    for message in exchange.messages:
        lines += [f"**{message.role}**", "", *_quoted(message.content), ""]
    lines += ["**assistant**", "", *_quoted(exchange.response), ""]
    return "\n".join(lines) + "\n"


def _heading(exchange: Exchange) -> str:
    title = exchange.metadata.get("title")
    parts = [(exchange.created_at or "")[:16].replace("T", " "), _line(title) if isinstance(title, str) else ""]
    return " · ".join(part for part in parts if part) or "Conversation"


def _rating(exchange: Exchange) -> str:
    if exchange.rating is None:
        return ""
    comment = f": {_line(exchange.comment)}" if exchange.comment else ""
    return f"rated {exchange.rating} of 5{comment}"


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _quoted(text: str) -> list[str]:
    return [f"> {line}".rstrip() for line in visible(text).split("\n")]


def visible(text: str) -> str:
    """With pictures in the place of control characters, which could steer a terminal; lines and tabs stay."""
    text = text.replace("\r\n", "\n")
    return "".join(_picture(character) if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) == "Cc"


def _picture(character: str) -> str:
    code = ord(character)
    return chr(PICTURES + code) if code < ord(" ") else "\N{SYMBOL FOR DELETE}"
