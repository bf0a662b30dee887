"""The generation task of the real case: 60 short questions with one right answer each.

A model of 135 million parameters has about half of them right; sums of small numbers, and GSM8K, are too hard for it.
"""

from __future__ import annotations

import json
from pathlib import Path


def pairs(text: str) -> dict[str, str]:
    """Read `question:answer` words."""
    return dict(pair.split(":") for pair in text.split())


OPPOSITES = pairs("""
    hot:cold big:small up:down fast:slow happy:sad open:closed early:late hard:soft full:empty
    light:dark young:old rich:poor strong:weak wet:dry high:low left:right day:night good:bad
    clean:dirty loud:quiet thick:thin true:false black:white hate:love win:lose buy:sell push:pull
    start:end inside:outside first:last
""")
CAPITALS = pairs("""
    France:Paris Italy:Rome Japan:Tokyo Spain:Madrid Egypt:Cairo Greece:Athens Norway:Oslo Cuba:Havana
    Peru:Lima Kenya:Nairobi Austria:Vienna Poland:Warsaw Portugal:Lisbon Ireland:Dublin Canada:Ottawa
    Chile:Santiago Finland:Helsinki Hungary:Budapest Iran:Tehran Iraq:Baghdad Thailand:Bangkok
    Turkey:Ankara Vietnam:Hanoi Sweden:Stockholm Russia:Moscow Germany:Berlin Belgium:Brussels
    Denmark:Copenhagen Australia:Canberra Brazil:Brasilia
""")


def items() -> list[dict[str, str]]:
    """Return the questions: 30 opposites, 30 capitals."""
    rows = [(f"What is the opposite of {word}?", answer, "opposite") for word, answer in OPPOSITES.items()]
    rows += [(f"What is the capital of {country}?", city, "capital") for country, city in CAPITALS.items()]
    return [
        {"id": f"{kind}-{number:03}", "question": question, "answer": answer, "kind": kind}
        for number, (question, answer, kind) in enumerate(rows)
    ]


def write_items(path: Path) -> None:
    """Write the questions as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in items()), encoding="utf-8")
