"""All detectors in their turn, over a folded text."""

import re

from lyra_mcp.domain.detectors.addresses import find_ip_addresses
from lyra_mcp.domain.detectors.announced_phones import find_announced_phone
from lyra_mcp.domain.detectors.bank_accounts import find_ibans
from lyra_mcp.domain.detectors.cards import find_cards, find_loose_card
from lyra_mcp.domain.detectors.digit_runs import find_runs
from lyra_mcp.domain.detectors.email import find_emails
from lyra_mcp.domain.detectors.findings import Findings
from lyra_mcp.domain.detectors.identity import find_my_numbers, find_ssns
from lyra_mcp.domain.detectors.phones import DIGITS_MIN, find_phones
from lyra_mcp.domain.detectors.secrets import find_keys, find_private_keys

_DIGIT = re.compile("[0-9]")


def find_built_in(text: str) -> Findings:
    yield from find_emails(text)
    yield from find_private_keys(text)
    if not _DIGIT.search(text):  # nothing below is without one, and most texts are
        return
    yield from find_keys(text)
    yield from find_ip_addresses(text)
    yield from find_ibans(text)
    yield from find_ssns(text)
    yield from find_my_numbers(text)
    yield from find_cards(text)
    phones = list(find_phones(text))
    yield from phones
    begun = {phone.start for phone in phones}
    for start, end in find_runs(text, DIGITS_MIN):
        yield from find_loose_card(text, start, end)
        if start not in begun:
            yield from find_announced_phone(text, start, end)
