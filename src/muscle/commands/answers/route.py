"""`muscle route`: a rule for two models, or for recorded old answers beside a new model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from muscle.commands.groups import Reading, spread
from muscle.commands.help.grouped import GroupedCommand
from muscle.commands.help.texts import help_of
from muscle.commands.options import Allow, Html, JsonFile, MaxUnpaired, On, Quiet
from muscle.commands.shell import check_outputs, start, write_result
from muscle.commands.sources import reading

if TYPE_CHECKING:
    from muscle.flips.options import CompareOptions
    from muscle.route import Labels, Prices, RouteReport, RuleFile
    from muscle.route.bound import Verdict

app = typer.Typer(
    help="Combine two models, or recorded old answers and a new model, so that less breaks.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

CODES: dict[Verdict, int] = {"pass": 0, "block": 1, "cannot_tell": 2}

Old = Annotated[str, typer.Argument(metavar="OLD", help="The old model's answers, recorded or fresh.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="The new model's answers to the same items.")]
RulePath = Annotated[Path, typer.Argument(metavar="RULE", help="The rule that muscle route fit wrote.")]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option("--labels", metavar="FILE", help="A filled-in list of muscle route label. Repeatable."),
]


@dataclass(frozen=True)
class Pairing:
    """How the items of two runs are found and paired."""

    PANEL: ClassVar[str] = "How items are paired"

    on: On = "auto"
    max_unpaired: MaxUnpaired = 0.05
    allow: Allow = None

    def options(self) -> CompareOptions:
        """Return them as `muscle.route` takes them."""
        from muscle.flips.options import CompareOptions

        return CompareOptions(on=self.on, max_unpaired=self.max_unpaired, allow=self.allow or ())


@dataclass(frozen=True)
class PairingWhatIs(Pairing):
    """The same where nothing is judged: what has no partner gets the answer that there is."""

    max_unpaired: MaxUnpaired = 1.0


@dataclass(frozen=True)
class Paying:
    """What a call costs."""

    PANEL: ClassVar[str] = "What calls cost"

    old_price: Annotated[
        float | None,
        typer.Option(min=0, help="Price of a call to the old model, 0 for a record; default: the rule's, else 1."),
    ] = None
    new_price: Annotated[
        float | None, typer.Option(min=0, help="Price of a call to the new model; default: the rule's, else 1.")
    ] = None

    def prices(self, rule: RuleFile | None = None) -> Prices:
        """Return them as `muscle.route` takes them."""
        from muscle.route import Prices

        known = Prices() if rule is None else rule.cost()
        return Prices(
            known.old if self.old_price is None else self.old_price,
            known.new if self.new_price is None else self.new_price,
        )


@dataclass(frozen=True)
class Judged:
    """What is known of right and wrong beside the runs' own verdicts."""

    labels: LabelFiles = None
    labelled_at_random: Annotated[
        bool,
        typer.Option(
            "--labelled-at-random",
            help="The judged disagreements are a random sample of all; without this, unjudged ones count as flips.",
        ),
    ] = False


@dataclass(frozen=True)
class Showing:
    """Where a report goes."""

    html: Html = None
    json_file: JsonFile = None
    quiet: Quiet = False

    def begin(self, *more: Path) -> None:
        """Set up what is printed, and see that everything can be written."""
        start(self.quiet)
        check_outputs(*more, self.html, self.json_file)

    def show(self, report: RouteReport, *, written: Path | None = None) -> None:
        """Write and print a report."""
        if self.html is not None:
            from muscle.route.shown.page import write_page

            write_page(report, self.html)
        is_json = write_result(self.json_file, report)
        if is_json or self.quiet:
            return
        from rich.console import Console

        from muscle.route.shown.terminal import print_worth

        console = Console()
        print_worth(report, console)
        if written is not None:
            console.print(f"\nRule: {written}", markup=False, highlight=False)


@dataclass(frozen=True)
class Fitting:
    """How a rule is fitted: a field for each of `muscle.route.FitOptions`."""

    PANEL: ClassVar[str] = "How the rule is fitted"

    kind: Annotated[
        Literal["auto", "gate", "stack", "mixture"],
        typer.Option(
            "--rule", help="gate uses only answers; stack and mixture use likelihoods of the options; auto picks one."
        ),
    ] = "auto"
    share: Annotated[float, typer.Option(min=0, max=1, help="The old model's share in a mixture.")] = 0.5
    flip_limit: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Highest negative flip rate: kappa is chosen to meet it, and the bound should prove it."
        ),
    ] = 0.01
    keep_accuracy: Annotated[
        bool,
        typer.Option(
            "--keep-accuracy", help="Choose the fewest flips at the new model's accuracy, whatever the flip limit."
        ),
    ] = False
    ask_share: Annotated[
        float, typer.Option(min=0, max=1, help="Ask the old model about this share, where the new one is least sure.")
    ] = 1.0
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="NAME",
            help="A slice known when a question is answered, old_answer or new_answer. Repeatable.",
        ),
    ] = None
    confidence: Annotated[str, typer.Option(metavar="SCORE", help="The score that says how sure a model is.")] = (
        "confidence"
    )
    apart: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the items held out from the fit, for the bound.")
    ] = 0.5


@app.command("fit", cls=GroupedCommand, epilog=help_of("route fit").epilog)
@spread
def fit_command(
    old: Old,
    new: New,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the rule is written.")] = Path("rule.yaml"),
    *,
    fitting: Fitting,
    paying: Paying,
    judged: Judged,
    how: Reading,
    pairing: Pairing,
    showing: Showing,
) -> None:
    """Fit a rule on part of the labelled items, and measure it on the rest.

    Runs are given as for muscle compare; RUN::key=value sets an option for one run alone.
    Exit code 0, whatever the rule is worth (muscle route check judges it); 3: bad input.
    """
    showing.begin(out)
    from muscle.route import FitOptions, fit_route, write_rule

    given = FitOptions(**{**vars(fitting), "slices": tuple(fitting.slices or ())})
    with reading([old, new], how, then="fitting") as runs:
        found = fit_route(
            runs[0],
            runs[1],
            options=pairing.options(),
            fit=given,
            prices=paying.prices(),
            labels=_labels_of(judged.labels),
            labelled_at_random=judged.labelled_at_random,
        )
    write_rule(out, found.rule)
    showing.show(found.report, written=out)


@app.command("check", cls=GroupedCommand, epilog=help_of("route check").epilog)
@spread
def check_command(
    rule: RulePath,
    old: Old,
    new: New,
    leave_out_fitted: Annotated[
        bool, typer.Option("--leave-out-fitted", help="Leave out the items that the rule was fitted on.")
    ] = False,
    *,
    paying: Paying,
    judged: Judged,
    how: Reading,
    pairing: Pairing,
    showing: Showing,
) -> None:
    """Measure a rule on items that it was not fitted on; items of the fit are refused.

    Exit code 0: the bound is within the limit; 1: the limit is exceeded; 2: cannot tell; 3: bad input.
    """
    showing.begin()
    from muscle.route import check_route, read_rule

    read = read_rule(rule)
    with reading([old, new], how, then="checking") as runs:
        found = check_route(
            read,
            runs[0],
            runs[1],
            options=pairing.options(),
            prices=paying.prices(read),
            labels=_labels_of(judged.labels),
            labelled_at_random=judged.labelled_at_random,
            leave_out_fitted=leave_out_fitted,
        )
    showing.show(found)
    raise typer.Exit(CODES[found.verdict])


@app.command("apply", cls=GroupedCommand, epilog=help_of("route apply").epilog)
@spread
def apply_command(
    rule: RulePath,
    old: Old,
    new: New,
    out: Annotated[Path, typer.Option("--out", "-o", help="The answers, .jsonl or .parquet.")] = Path("served.jsonl"),
    *,
    paying: Paying,
    how: Reading,
    pairing: PairingWhatIs,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Write the answers that a rule gives; no verdicts are needed.

    An item without a recorded answer gets the new one, and is named.
    The output is a run: muscle compare OLD served.jsonl shows what breaks, by whose answer it is (the slice route).
    On items of the fit the rule looks too good: measure it with muscle route check.
    """
    start(quiet)
    check_outputs(out, json_file)
    from muscle.errors import ConfigError
    from muscle.predictions.writers.records import write_records
    from muscle.route import apply_route, read_rule

    if out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"--out {out}: expected a .jsonl or .parquet file")
    read = read_rule(rule)
    with reading([old, new], how, then="answering") as runs:
        found = apply_route(read, runs[0], runs[1], options=pairing.options(), prices=paying.prices(read))
    write_records(out, found.frame)
    told = {name: value for name, value in vars(found).items() if name != "frame"}
    if write_result(json_file, {"num": found.frame.height, **told}) or quiet:
        return
    from rich.console import Console

    from muscle.route.shown.terminal import print_applied

    print_applied(found, out, Console())


@app.command("label", cls=GroupedCommand, epilog=help_of("route label").epilog)
@spread
def label_command(
    old: Old,
    new: New,
    out: Annotated[Path, typer.Option("--out", "-o", help="The list, .jsonl or .csv.")] = Path("to-label.csv"),
    num: Annotated[int, typer.Option(min=1, help="Items to label.")] = 200,
    for_bound: Annotated[
        float, typer.Option(min=0, max=1, help="Share of them to draw at random, for the bound.")
    ] = 0.5,
    apart: Annotated[
        float, typer.Option(min=0, max=0.95, help="The same as for route fit; with --rule, the rule's own.")
    ] = 0.5,
    rule: Annotated[
        Path | None,
        typer.Option(
            "--rule",
            metavar="RULE",
            help="A rule that estimates what each label gains; without it the order is random.",
        ),
    ] = None,
    *,
    labels: LabelFiles = None,
    how: Reading,
    pairing: Pairing,
    quiet: Quiet = False,
) -> None:
    """List the disagreements to label, those with the highest expected gain first.

    Fill in `label` with old, new, both or neither (who is right), and pass the list to route fit or check.
    """
    start(quiet)
    check_outputs(out)
    from muscle.route import list_to_label, read_rule, write_list

    read = None if rule is None else read_rule(rule)
    with reading([old, new], how, then="choosing") as runs:
        found = list_to_label(
            runs[0],
            runs[1],
            num=num,
            for_bound=for_bound,
            apart=apart,
            rule=read,
            labels=_labels_of(labels),
            options=pairing.options(),
        )
    write_list(out, found)
    if quiet:
        return
    from rich.console import Console

    from muscle.route.shown.terminal import print_list

    print_list(found, out, Console())


def _labels_of(paths: list[Path] | None) -> Labels | None:
    from muscle.route import read_labels

    return read_labels(*paths) if paths else None
