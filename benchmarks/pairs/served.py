"""Two models served side by side: what both say of the options becomes one answer. A bound for one model, no rival.

Computed from stored records by `muscle.route`, whose rules these are: the mean of both distributions, the mean with the
old model's share at .7, the stack with kappa = 1 and 2, kappa by the flip limit (1 % on the validation texts), and that
one with the old model asked for the least sure share alone. Temperatures, the stack's weights, kappa and the sureness
below which the old model is asked are fitted on the validation texts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from answers import Unit, records, write_answers
from bench import Bench

from muscle.flips.options import TOLERANCE
from muscle.route.bound import Prices
from muscle.route.items import pair_items
from muscle.route.option_rules import OptionRule, OptionScores
from muscle.route.scores import option_scores
from muscle.route.served import VARIANTS, Variant


@dataclass(frozen=True)
class Served:
    """Two models behind one answer.

    Attributes:
        name: of its records.
        words: what it is, in the table.
        partner: the model beside the old one.
        variant: how their distributions become one.
    """

    name: str
    words: str
    partner: str
    variant: Variant


def _variants(partner: str, words: str) -> tuple[Served, ...]:
    start = f"two models served, old and {words}"
    return tuple(Served(f"served_{v.name}_{partner}", f"{start}: {v.words}", partner, v) for v in VARIANTS)


SERVED = (*_variants("new", "plain update"), *_variants("labels", "labels alone"))


def serve(bench: Bench, served: Served, unit: Unit) -> None:
    """Write the records of two models served, where both have answered and it is not done."""
    pair = ("old", served.partner)
    out = records(bench, served.name, unit)
    files = [records(bench, name, unit, part) for name in pair for part in ("validation", "test")]
    if out.is_file() or not all(file.is_file() for file in files):
        return
    rule = served.variant.fit(_scores(bench, pair, unit, "validation"), TOLERANCE)
    test = _scores(bench, pair, unit, "test")
    write_answers(
        bench.task,
        bench.examples("test"),
        rule.values(test).tolist(),
        out,
        name=served.name,
        facts={"served": served_facts(rule, float(rule.asked(test).mean()))},
    )


def served_facts(rule: OptionRule, asked_share: float) -> dict[str, object]:
    """Return what was fitted, the share of the test texts about which the old model is asked, and the cost.

    A call of either model costs 1.
    """
    kappa = math.exp(rule.log_kappa) if rule.log_kappa < math.inf else "infinite"
    fitted = {name: value for name, value in asdict(rule).items() if name != "log_kappa"}
    return {
        **fitted,
        "kappa": kappa if rule.weights else None,
        "asked_share": asked_share,
        "cost_per_1000": Prices().per_thousand(asked_share),
    }


def _scores(bench: Bench, pair: tuple[str, str], unit: Unit, part: str) -> OptionScores:
    """Return what both models' stored records say of the options, in the order of the texts."""
    items = pair_items(*(records(bench, name, unit, part) for name in pair))
    ids = [example.id for example in bench.examples(part)]
    assert items.old.frame["id"].to_list() == ids, "records stand in the order of the texts"
    return option_scores(items)
