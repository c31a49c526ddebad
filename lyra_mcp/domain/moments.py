"""Times as callers write them, made comparable with the times we keep."""

from datetime import UTC, date, datetime, time

from lyra_mcp.errors import Invalid


def read_moment(name: str, written: str, *, is_end: bool) -> str:
    """An aware moment in UTC as `as_text` writes it; a day alone means its beginning, or its end.

    Without an offset UTC is meant.

    Raises:
        Invalid: it is no ISO 8601 date or time.
    """
    try:
        if len(written.strip()) <= len("2026-03-01"):
            day = date.fromisoformat(written.strip())
            moment = datetime.combine(day, time.max if is_end else time.min, UTC)
        else:
            moment = datetime.fromisoformat(written.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{name} must be a date or time like 2026-03-01 or 2026-03-01T09:30:00+09:00") from error
    return moment.isoformat(timespec="microseconds")
