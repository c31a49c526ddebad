"""What the assistant's part of the demonstration remembers and asks: ours and invented."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recollection:
    event_type: str
    description: str
    #: Asks for it in other words; None: nobody asks.
    question: str | None = None


#: The first two are asked for with hardly a word in common.
RECOLLECTIONS: tuple[Recollection, ...] = (
    Recollection(
        "visit", "Mr. Adeyemi cleaned the boiler and replaced its filter.", "Who serviced the heating system?"
    ),
    Recollection(
        "purchase", "She ordered twelve solar modules for the roof of the barn.", "What did we buy to make electricity?"
    ),
    Recollection("visit", "The chimney sweep could not come because of the snow."),
    Recollection("meeting", "The choir moved its rehearsal to Thursday evening."),
    Recollection("trip", "On the way to Lisbon the luggage went to Oslo."),
    Recollection("purchase", "He bought three kilos of green coffee from a shop in Kyoto."),
    Recollection("repair", "The left pedal of the red bicycle was glued and screwed."),
    Recollection("meeting", "The board put off the vote about the new car park."),
    Recollection("garden", "Slugs ate all the lettuce, but they left the leeks alone."),
    Recollection("letter", "The insurance company asked for photographs of the cellar."),
)

TASK = "How much does a heat pump cost to run?"
#: What was answered once, and pleased.
ASKED = "What does it cost to run our heat pump?"
ANSWERED = "About 0.9 kWh a day in spring, so 27 ct; in January it was 6 kWh a day, so 1.80 €."
RATING = 5

#: (what the person asked, what they were answered): all of them want the same thing.
WISHES: tuple[tuple[str, str], ...] = (
    ("Please keep it short: which valve do I close first?", "The one below the tank."),
    ("Be brief. Can the pump stand in the sun?", "Yes."),
    ("Short answers please. Is the filter washable?", "Yes, twice a year."),
    ("Answer in one sentence: why does it hum at night?", "It defrosts itself when the air is damp."),
)
WISH_RATING = 5
WISHED = ("detail_level", "brief")
