"""Two models, or a record of the old one's answers beside a new model, behind one answer.

from muscle.route import fit_route, write_rule
fitted = fit_route("old.jsonl", "new.jsonl")
print(fitted.report.headline)
write_rule(Path("rule.yaml"), fitted.rule)
"""

from muscle.route.applying import Applied, Chosen, Question, Route, Said, apply_route, load_route
from muscle.route.bound import Bound, Prices
from muscle.route.fitting import FitOptions, RouteFit, check_route, fit_route
from muscle.route.labelling.labels import Labels, ToLabel, read_labels, write_list
from muscle.route.labelling.listing import list_to_label
from muscle.route.rule_file import RuleFile, read_rule, write_rule
from muscle.route.served import ServedRow, served_rows
from muscle.route.worth import CurvePoint, RouteReport, Way

__all__ = [
    "Applied",
    "Bound",
    "Chosen",
    "CurvePoint",
    "FitOptions",
    "Labels",
    "Prices",
    "Question",
    "Route",
    "RouteFit",
    "RouteReport",
    "RuleFile",
    "Said",
    "ServedRow",
    "ToLabel",
    "Way",
    "apply_route",
    "check_route",
    "fit_route",
    "list_to_label",
    "load_route",
    "read_labels",
    "read_rule",
    "served_rows",
    "write_list",
    "write_rule",
]
