"""What the demonstration talks about: claims on heating old houses, and what sources said; all sentences are ours.

The sources stand on domains reserved for examples (RFC 2606): they do not exist, and nothing here was measured.
"""

from dataclasses import dataclass

from schema.vocabulary import Label

TOPIC = "Is a heat pump a good idea for an old house?"

#: The person blocks it: hearsay. Matches forum.example.com and blog.example.com, not example.com itself.
BLOCKED_PATTERN = "*.example.com"

#: About nothing the person has corrected: it must not look similar.
UNRELATED_PREMISE = "The choir rehearses on Tuesday evenings in the town hall."
UNRELATED_HYPOTHESIS = "The bakery opens at seven."


@dataclass(frozen=True, slots=True)
class Evidence:
    text: str
    source_url: str
    #: What the simulated person answers.
    label: Label
    #: The same thing in other words, as another source might put it.
    again: str


@dataclass(frozen=True, slots=True)
class Topic:
    claim: str
    evidence: tuple[Evidence, ...]


CLAIMS = (
    Topic(
        "A heat pump keeps an old house warm in winter.",
        (
            Evidence(
                "In a field trial of 120 houses built before 1960, the heat pumps kept every living room at 20 degrees "
                "through January.",
                "https://institute.example.org/field-trial",
                "supports",
                "All 120 houses of the field trial were built before 1960, and their heat pumps kept every living room "
                "at 20 degrees in January.",
            ),
            Evidence(
                "After two winters, 38 of 40 owners of old houses say that their rooms are as warm as before.",
                "https://tenants.example.org/survey",
                "supports",
                "Two winters later, 38 of the 40 owners of old houses say their rooms are as warm as they were.",
            ),
            Evidence(
                "Our house is from 1931, and last winter the heat pump left us shivering at 15 degrees.",
                "https://homes.example.net/diary",
                "refutes",
                "Our house was built in 1931, and the heat pump left us shivering at 15 degrees last winter.",
            ),
            Evidence(
                "The city hall of Zurich has used a heat pump since 1938.",
                "https://museum.example.net/history",
                "neutral",
                "A heat pump has been in use in the city hall of Zurich since 1938.",
            ),
            Evidence(
                "Everybody knows that a heat pump cannot heat an old house.",
                "https://forum.example.com/thread/17",
                "refutes",
                "Everyone knows that an old house cannot be heated with a heat pump.",
            ),
        ),
    ),
    Topic(
        "Heat pumps stop working when it is colder than minus ten degrees.",
        (
            Evidence(
                "On the test bench the heat pump still delivered two thirds of its heat at minus fifteen degrees.",
                "https://lab.example.org/bench",
                "refutes",
                "At minus fifteen degrees the heat pump on the test bench still delivered two thirds of its heat.",
            ),
            Evidence(
                "None of the 120 machines failed in the week of frost, when it was minus fourteen outside.",
                "https://institute.example.org/field-trial",
                "refutes",
                "It was minus fourteen outside in the week of frost, and none of the 120 machines failed.",
            ),
            Evidence(
                "The coldest night of the year brought minus eleven degrees.",
                "https://weather.example.org/january",
                "neutral",
                "The year's coldest night brought minus eleven degrees.",
            ),
            Evidence(
                "The machine weighs 140 kilograms, and its case is made of recycled aluminium.",
                "https://shop.example.net/model-6",
                "neutral",
                "The machine has a case of recycled aluminium and weighs 140 kilograms.",
            ),
            Evidence(
                "At minus twelve our heat pump switched itself off and stayed off until the morning.",
                "https://forum.example.com/thread/23",
                "supports",
                "Our heat pump switched itself off at minus twelve and stayed off until morning.",
            ),
        ),
    ),
    Topic(
        "A heat pump needs less energy than a gas boiler.",
        (
            Evidence(
                "After the change, the meters of the school showed 58 percent less energy than with the gas boiler.",
                "https://city.example.org/schools",
                "supports",
                "The meters of the school showed 58 percent less energy after the change than with the gas boiler.",
            ),
            Evidence(
                "The heat pumps made three kilowatt hours of heat from one of electricity; a gas boiler never makes "
                "more heat than it burns.",
                "https://institute.example.org/field-trial",
                "supports",
                "From one kilowatt hour of electricity the heat pumps made three of heat; a gas boiler never makes "
                "more than it burns.",
            ),
            Evidence(
                "In the leaky house of the study, the heat pump drew just as much energy as the gas boiler before it.",
                "https://lab.example.org/leaky-house",
                "refutes",
                "In the study's leaky house, the heat pump drew just as much energy as the gas boiler had before.",
            ),
            Evidence(
                "Gas boilers have to be inspected every year.",
                "https://city.example.org/rules",
                "neutral",
                "Every year, gas boilers have to be inspected.",
            ),
            Evidence(
                "A heat pump swallows twice the energy of a gas boiler.",
                "https://blog.example.com/truth",
                "refutes",
                "Heat pumps swallow twice the energy of a gas boiler.",
            ),
        ),
    ),
    Topic(
        "Heat pumps are too loud for streets with close houses.",
        (
            Evidence(
                "Three metres from the machine the city measured 38 decibels, as quiet as a library.",
                "https://city.example.org/noise",
                "refutes",
                "The city measured 38 decibels at three metres from the machine, as quiet as in a library.",
            ),
            Evidence(
                "Of the 900 households in the terraced streets, three complained about the noise.",
                "https://tenants.example.org/survey",
                "refutes",
                "Three of the 900 households in the terraced streets complained about the noise.",
            ),
            Evidence(
                "A court let the owner run the machine only by day, because the family next door could not sleep.",
                "https://court.example.net/rulings/88",
                "supports",
                "Because the family next door could not sleep, a court let the owner run the machine only by day.",
            ),
            Evidence(
                "The city counted four hundred new heat pumps last year.",
                "https://city.example.org/figures",
                "neutral",
                "Last year the city counted four hundred new heat pumps.",
            ),
            Evidence(
                "Nobody in our narrow street can sleep since the heat pump came.",
                "https://blog.example.com/noise",
                "supports",
                "Since the heat pump came, nobody in our narrow street can sleep.",
            ),
        ),
    ),
    Topic(
        "A heat pump costs more to install than a gas boiler.",
        (
            Evidence(
                "For the same house, the offers were 24,000 for the heat pump and 11,000 for the gas boiler.",
                "https://homes.example.net/offers",
                "supports",
                "The offers for the same house were 24,000 for the heat pump and 11,000 for the gas boiler.",
            ),
            Evidence(
                "Fitters in the region ask twice as much for a heat pump as for a gas boiler.",
                "https://fitters.example.org/prices",
                "supports",
                "For a heat pump, fitters in the region ask twice as much as for a gas boiler.",
            ),
            Evidence(
                "With the grant, the family paid less for the heat pump than the gas boiler would have cost.",
                "https://city.example.org/grants",
                "refutes",
                "The family paid less for the heat pump, with the grant, than the gas boiler would have cost.",
            ),
            Evidence(
                "The work took four days, and the family stayed in the house.",
                "https://homes.example.net/diary",
                "neutral",
                "The family stayed in the house, and the work took four days.",
            ),
            Evidence(
                "It is a lie that heat pumps are dear; putting in a gas boiler costs more.",
                "https://blog.example.com/truth",
                "refutes",
                "That heat pumps are dear is a lie; putting in a gas boiler costs more.",
            ),
        ),
    ),
    Topic(
        "A heat pump needs new radiators.",
        (
            Evidence(
                "Nine out of ten houses of the trial kept their old radiators.",
                "https://institute.example.org/field-trial",
                "refutes",
                "Nine out of ten houses in the trial kept the old radiators.",
            ),
            Evidence(
                "The engineers lowered the temperature of the water and left every radiator where it was.",
                "https://lab.example.org/leaky-house",
                "refutes",
                "The engineers left every radiator where it was and lowered the temperature of the water.",
            ),
            Evidence(
                "The old radiators were too small for the heat pump, and all of them were replaced.",
                "https://homes.example.net/diary",
                "supports",
                "The old radiators, too small for the heat pump, were all replaced.",
            ),
            Evidence(
                "Radiators of the nineteen-seventies were mostly painted white.",
                "https://museum.example.net/history",
                "neutral",
                "Most radiators of the nineteen-seventies were painted white.",
            ),
            Evidence(
                "Without new radiators you will freeze, so reckon with a whole new set.",
                "https://forum.example.com/thread/31",
                "supports",
                "You will freeze without new radiators, so reckon with a whole new set.",
            ),
        ),
    ),
)
