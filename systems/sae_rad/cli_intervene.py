"""``bench sae-rad intervene``: set a feature to a value, and see what else moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from systems.sae_rad import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table

    from bench.contracts import Case, Embeddings, NoAnswer
    from systems.sae_rad.opened import Opened
    from systems.sae_rad.trained import Active, TrainedSAE

METHOD = "intervene/1"
"""Counts up when the same features and rows would give other numbers."""
LINES_FILE, SUMMARY_FILE = "interventions.jsonl", "interventions.json"
MOST_ACTIVE = 20
"""Features measured where none is named: the most often active on the split."""
DEFAULT_ROWS = 32
DISTRIBUTIONS: Mapping[str, str] = {
    "reached_on": "reached,\nwas on",
    "reached_off": "reached,\nwas off",
    "share": "share",
    "returned_code": "taken\nback",
    "random.moved": "moved by\nrandom step",
}
"""Measures whose distribution over features is shown, with their headings."""
BINS = ("≤-0.1", *(f"{k / 10:.1f}" for k in range(11)), "≥1.1")
"""Of a histogram: values that round to these."""
BAR_WIDTH, DIGITS = 7, 6


@click.command()
@click.option("--feature", "features", type=click.IntRange(min=0), multiple=True, help="A feature. May be repeated.")
@click.option("--all", "every", is_flag=True, help="All features that any training image activates.")
@click.option(
    "--beta",
    default="max",
    show_default=True,
    help="What the feature is set to, in units of h: a number, max (its largest value on a training image) or off (0).",
)
@click.option("--case", "case_id", metavar="ID", help="Show what one intervention does to one case's report.")
@click.option("--split", default="test", show_default=True, help="Split whose images are edited.")
@click.option(
    "--rows",
    type=click.IntRange(min=2),
    help=f"Images a feature is measured on, half of them with it on where there are so many. Default: {DEFAULT_ROWS}.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Output folder. Default: features/<dataset>-<label>-<12 hex>."
)
@opened.options
def intervene(
    features: Sequence[int],
    every: bool,
    beta: str,
    case_id: str | None,
    split: str,
    rows: int | None,
    out: Path | None,
    config: Path | None,
    assignments: Sequence[str],
    label: str | None,
    dataset: str | None,
    seed: int | None,
) -> None:
    """Set features to a value in the embeddings of images, encode them again, and measure what moved.

    \b
    Does the feature get there (effectiveness), does only it move, and does setting it back return the start
    (reversibility)? Beside it, steps as long along random directions and along other features'. Without --feature or
    --all: the 20 features most often active on the split. Features already measured are not measured again.

    With --case and one --feature: the case's active features and its report, before and after.
    """
    target = _Target.of(beta)
    features = list(dict.fromkeys(features))
    _check_choices(features, every, case_id, rows, out)
    settings, entry = opened.select(config, assignments, label, dataset, seed)
    with opened.opened(settings, entry) as found:
        subject = _Subject.of(found, split, target)
        if case_id is not None:
            _show_case(subject, case_id, features[0])
        else:
            folder = opened.folder(settings, entry, out)
            _survey(subject, _chosen(subject, features, every), rows or DEFAULT_ROWS, folder)


def _check_choices(
    features: Sequence[int], every: bool, case_id: str | None, rows: int | None, out: Path | None
) -> None:
    """Raise BenchError on options that contradict one another."""
    from bench.errors import BenchError

    if features and every:
        raise BenchError("--feature and --all: choose one of them")
    if case_id is None:
        return
    if len(features) != 1:
        raise BenchError("--case shows one intervention: give exactly one --feature with it")
    given = [name for name, value in (("--rows", rows), ("--out", out)) if value is not None]
    if given:
        raise BenchError(f"{' and '.join(given)}: not read with --case, which prints what it finds; leave it out")


# ------------------------------------------------------------------ what is intervened on


@dataclass(frozen=True)
class _Target:
    """What features are set to."""

    said: str
    value: float | None
    """None: each feature's largest value on a training image."""

    @classmethod
    def of(cls, said: str) -> _Target:
        """Read --beta. Raises BenchError."""
        from bench.errors import BenchError

        if said in ("max", "off"):
            return cls(said, None if said == "max" else 0.0)
        try:
            value = float(said)
        except ValueError:
            value = -1.0
        if not (np.isfinite(value) and value >= 0):
            raise BenchError(f"--beta {said}: give a number from 0 on (in units of h), max or off")
        return cls(f"{value:g}", value)


@dataclass(frozen=True)
class _Subject:
    """A prepared system, the split whose images are edited, and what features are set to."""

    found: Opened
    trained: TrainedSAE
    split: str
    target: _Target
    cases: Sequence[Case]
    readable: NDArray[np.bool_]
    z: Embeddings
    """Of all cases; NaN where the image cannot be read."""

    @classmethod
    def of(cls, found: Opened, split: str, target: _Target) -> _Subject:
        """Read the split's embeddings. Raises BenchError where the system has no trained autoencoder."""
        from bench.errors import BenchError
        from systems.readable import finite_rows

        trained, label = found.system.trained, found.entry.label
        if trained is None:
            raise BenchError(
                f"{label}: has no trained autoencoder, and so no decoder directions to step along; "
                "interventions need a sae-rad with learnt features"
            )
        cases = found.cases(split)
        z = np.asarray(found.context.embeddings(found.system.options.encoder, cases))
        return cls(found, trained, split, target, cases, finite_rows(z), z)

    def beta(self, feature: int) -> float:
        """Return what a feature is set to, in units of h."""
        if self.target.value is not None:
            return self.target.value
        largest = float(self.found.system.top.activations[feature, 0])
        return largest / float(self.trained.readout.norms[feature])

    def check(self, feature: int) -> None:
        """Raise BenchError on a feature that is not there, or is dead."""
        from bench.errors import BenchError
        from systems.sae_rad.intervene import check_feature

        check_feature(self.trained, feature)
        if not self.found.system.top.counts[feature]:
            raise BenchError(f"feature {feature} is dead: no training image activates it, and nothing describes it")

    def recipe(self, rows: int) -> dict[str, Any]:
        """Return all that a feature's numbers depend on."""
        return {
            "method": METHOD,
            "autoencoder": _weights(self.trained),
            "encoder": self.found.context.encoder(self.found.system.options.encoder).fingerprint(),
            "dataset": self.found.dataset.fingerprint(),
            "split": self.split,
            "beta": self.target.said,
            "rows": rows,
            "seed": self.found.context.seed,
        }


def _weights(trained: TrainedSAE) -> str:
    """Return a hash of an autoencoder's weights and scale."""
    import hashlib

    found = hashlib.sha256(repr(trained.scale).encode())
    for name, value in sorted(trained.sae.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:24]


def _chosen(subject: _Subject, features: Sequence[int], every: bool) -> list[int]:
    """Return the features to measure. Raises BenchError on one that is not there, or is dead."""
    counts = subject.found.system.top.counts
    if features:
        for feature in features:
            subject.check(feature)
        return list(features)
    alive = np.flatnonzero(counts > 0)
    if every:
        return [int(feature) for feature in alive]
    active = subject.found.system.dictionary.encode(subject.z[subject.readable])
    often = np.bincount(active.features, minlength=len(counts))[alive]
    return [int(alive[k]) for k in np.lexsort((alive, -counts[alive], -often))[:MOST_ACTIVE]]


# ------------------------------------------------------------------ many features, over a split


def _survey(subject: _Subject, features: Sequence[int], rows: int, folder: Path) -> None:
    """Measure features, keep a line of each, and print what came out."""
    from rich.console import Console

    from bench.config import digest
    from bench.store import locked, write_json

    recipe = subject.recipe(rows)
    key = digest(recipe)
    with locked(folder):
        lines = _measured(subject, features, rows, folder / LINES_FILE, key)
        write_json(folder / SUMMARY_FILE, {"recipe": recipe, "digest": key, **overall(list(lines.values()))})
    counts = subject.found.system.top.counts
    _print_survey(Console(), [lines[feature] for feature in sorted(features, key=lambda f: (-counts[f], f))], subject)
    click.echo(f"{_features(len(lines))} in {folder / LINES_FILE}, with all measures")


def _measured(subject: _Subject, features: Sequence[int], rows: int, file: Path, key: str) -> dict[int, dict[str, Any]]:
    """Return the lines of all features measured under a recipe, after measuring those asked for that are missing."""
    from bench.store import Appender, read_lines

    lines = {line["feature"]: line for line in read_lines(file) if line.get("recipe") == key}
    todo = [feature for feature in features if feature not in lines]
    if not todo:
        return lines
    z = subject.z[subject.readable]
    active = subject.found.system.dictionary.encode(z)
    with Appender(file) as out, subject.found.context.progress("interventions", len(todo), "features") as bar:
        for feature in todo:
            line = {"recipe": key, **_line(subject, feature, z, active, rows)}
            out.write(line)
            lines[feature] = line
            bar.advance()
    return lines


def _line(subject: _Subject, feature: int, z: Embeddings, active: Active, rows: int) -> dict[str, Any]:
    """Return what an intervention on one feature does: the line of interventions.jsonl."""
    from systems.sae_rad import intervene as library

    beta, seed = subject.beta(feature), subject.found.context.seed
    drawn = library.rows_of(active, feature, rows, seed, off=beta > 0)
    alive = np.flatnonzero(subject.found.system.top.counts > 0)
    effects = library.measure(subject.trained, z[drawn], feature, beta, seed=seed, others=alive)
    line = {
        "feature": feature,
        "beta": beta,
        "gain": library.gain(subject.trained, feature),
        "rows_on": int(effects.on.sum()),
        "rows_off": int((~effects.on).sum()),
        **library.summary(effects),
    }
    rounded: dict[str, Any] = _rounded(line)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def overall(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return, for each measure, how the features' medians are spread, with histograms of `DISTRIBUTIONS`."""
    from systems.sae_rad.intervene import spread

    named = {name: values for name in _names(lines) if (values := medians(lines, name)).size}
    shown = {name: histogram(named[name]) for name in DISTRIBUTIONS if name in named}
    measures = {name: spread(values) for name, values in named.items()}
    return {"features": len(lines), "medians": measures, "bins": list(BINS), "histograms": shown}


def _names(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the measures of any line; a control's as "random.reached"."""
    found: dict[str, None] = {}
    for line in lines:
        for name, value in line.items():
            if isinstance(value, Mapping) and "median" not in value:
                found.update(dict.fromkeys(f"{name}.{inner}" for inner in value))
            elif isinstance(value, Mapping) or name == "gain":
                found[name] = None
    return list(found)


def median(line: Mapping[str, Any], name: str) -> float | None:
    """Return the median over rows of one measure of a line; None where it has none."""
    value = _named(line, name)
    value = value.get("median") if isinstance(value, Mapping) else value
    return None if value is None else float(value)


def _named(line: Mapping[str, Any], name: str) -> Any:
    """Return what a line has under a name, a control's as "random.reached"; None where it has nothing."""
    value: Any = line
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def medians(lines: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """Return the medians of one measure, of the features that have it."""
    return np.array([value for line in lines if (value := median(line, name)) is not None], np.float64)


def histogram(values: NDArray[np.float64]) -> list[int]:
    """Return how many values fall in each of `BINS`."""
    places = np.clip(np.floor(values * 10 + 0.5), -1, 11).astype(int)
    return [int(count) for count in np.bincount(places + 1, minlength=len(BINS))]


# ------------------------------------------------------------------ in print


def _print_survey(console: Console, lines: Sequence[Mapping[str, Any]], subject: _Subject) -> None:
    console.print(_features_table(lines[:MOST_ACTIVE], subject))
    more = len(lines) - MOST_ACTIVE
    if more > 0:
        console.print(f"{more:,} more {'features are' if more > 1 else 'feature is'} in the file.", highlight=False)
    console.print()
    console.print(_overall_table(lines))
    if len(lines) > 1:
        console.print()
        console.print(_histograms_table(lines))
    unseen = sum(not line["rows_on"] for line in lines)
    if unseen:
        verb = "is" if unseen == 1 else "are"
        console.print(
            f"{unseen:,} of {_features(len(lines))} {verb} active on no image of {subject.split}.", highlight=False
        )


def _features(count: int) -> str:
    return f"{count:,} feature{'' if count == 1 else 's'}"


FEATURE_COLUMNS: Sequence[tuple[str, str]] = (
    ("reached_on", "reached\nwas on"),
    ("reached_off", "reached\nwas off"),
    ("share", "share"),
    ("side", "others'\nchange"),
    ("random.side", "random\nstep's"),
    ("returned_code", "taken\nback"),
)
"""The few measures that fit on a terminal of 80 columns beside a description; all of them are in the file."""


def _features_table(lines: Sequence[Mapping[str, Any]], subject: _Subject) -> Table:
    from rich.text import Text

    table = _plain_table(f"do(feature, {subject.target.said}) on {subject.split}: medians over images")
    table.add_column("feature", justify="right", no_wrap=True)
    told = _descriptions(subject, [line["feature"] for line in lines])
    if told:  # the only column that gives way
        table.add_column("description")
    for heading in ("β", *(heading for _, heading in FEATURE_COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        text = [Text(told[line["feature"]] or "–", no_wrap=True, overflow="ellipsis")] if told else []
        numbers = (_number(median(line, name)) for name, _ in FEATURE_COLUMNS)
        table.add_row(str(line["feature"]), *text, _number(line["beta"]), *numbers)
    return table


def _descriptions(subject: _Subject, features: Sequence[int]) -> dict[int, str]:
    """Return descriptions; none where a language model writes them, which nobody asked for here."""
    system = subject.found.system
    if system.options.describe.by == "llm":
        return {}
    system.describe(features)
    return {feature: system.description(feature) for feature in features}


def _plain_table(title: str) -> Table:
    """Return a table without lines, which leaves the width to what it says."""
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)


MEASURES: Sequence[tuple[str, str]] = (
    ("reached", "effectiveness: of the way to β, reached (1)"),
    ("reached_on", "  where the feature was on"),
    ("reached_off", "  where it was off"),
    ("share", "only it moves: its share of all change (1)"),
    ("side", "  others' change, over the change asked for (0)"),
    ("switched_on", "  others switched on (0)"),
    ("switched_off", "  others switched off (0)"),
    ("returned", "reversibility: of the way back to z (1)"),
    ("returned_code", "  taken back: of the change of activations (1)"),
    ("same", "  features active before and again (1)"),
    ("residue", "  left of β after setting it to 0 (0)"),
    ("random.moved", "random direction: the feature moves (0)"),
    ("random.side", "  others' change, over the step"),
    ("random.switched", "  others switched"),
    ("other.moved", "another's direction: the feature moves (0)"),
    ("other.side", "  all but it, over the step"),
    ("other.switched", "  all but it, switched"),
)


def _overall_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Return how features' medians are spread; of a single feature, how its images are."""
    from systems.sae_rad.intervene import spread

    one = len(lines) == 1
    title = f"feature {lines[0]['feature']}, over images" if one else f"medians of {_features(len(lines))}"
    table = _plain_table(f"{title} (in brackets: what is perfect)")
    table.add_column("measure", no_wrap=True)
    for heading in ("images" if one else "features", "5 %", "median", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, text in MEASURES:
        found = (_named(lines[0], name) if one else spread(medians(lines, name))) or {}
        numbers = (_number(found.get(key)) for key in ("q05", "median", "q95"))
        table.add_row(text, f"{found.get('n', 0):,}", *numbers)
    return table


def _histograms_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    table = _plain_table("features by median")
    table.add_column("", justify="right", no_wrap=True)
    columns = [histogram(medians(lines, name)) for name in DISTRIBUTIONS]
    for heading in DISTRIBUTIONS.values():
        table.add_column(heading, no_wrap=True)
    for place, label in enumerate(BINS):
        table.add_row(label, *(_bar(counts[place], max(counts)) for counts in columns))
    return table


def _bar(count: int, most: int) -> str:
    """Return a bar with its number; nothing for none."""
    return f"{'█' * max(1, round(BAR_WIDTH * count / most))} {count:,}" if count else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-0.00", "0.00")


# ------------------------------------------------------------------ one case


def _show_case(subject: _Subject, case_id: str, feature: int) -> None:
    """Print the active features and the report of a case before and after an intervention."""
    from rich.console import Console

    from systems.sae_rad import intervene as library

    subject.check(feature)
    row = _row_of(subject, case_id)
    z, beta = subject.z[row : row + 1], subject.beta(feature)
    edited = library.do(subject.trained, z, feature, beta)
    h = [float(library.code(subject.trained, found, feature)[0]) for found in (z, edited)]
    active = subject.found.system.dictionary.encode(np.concatenate([z, edited]))
    console = Console()
    console.print(
        f"do({feature}, {beta:.3f}) on case {case_id}: h was {h[0]:.3f}, and is {h[1]:.3f} encoded again",
        highlight=False,
        markup=False,
    )
    reports = _reports(subject, subject.cases[row], active)
    console.print(_case_table(subject, feature, active))
    for line in _report_lines(*reports):
        console.print(line, highlight=False, markup=False)


def _row_of(subject: _Subject, case_id: str) -> int:
    """Return the row of a case. Raises BenchError where there is none, or its image cannot be read."""
    from difflib import get_close_matches

    from bench.errors import BenchError

    ids = [case.id for case in subject.cases]
    if case_id not in ids:
        close = get_close_matches(case_id, ids, 3, 0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else f" Its {len(ids):,} cases begin with {ids[0]}."
        raise BenchError(f"--case: split {subject.split} has no case {case_id!r}.{hint}")
    row = ids.index(case_id)
    if not subject.readable[row]:
        raise BenchError(f"case {case_id}: its image {subject.cases[row].images[0].path} cannot be read")
    return row


def _reports(subject: _Subject, case: Case, active: Active) -> list[str | NoAnswer]:
    """Return the reports composed from each row of `active`; "" where no feature is active."""
    system = subject.found.system
    important = [system.important(*active.row(k)) for k in range(len(active))]
    system.describe(feature for features in important for feature, _ in features)
    drafts = {k: system.draft(case, features) for k, features in enumerate(important) if features}
    texts = dict(zip(drafts, system.compose(list(drafts.values())), strict=True))
    return [texts.get(k, "") for k in range(len(active))]


def _case_table(subject: _Subject, feature: int, active: Active) -> Table:
    from rich.table import Table
    from rich.text import Text

    before, after = (dict(zip(*(part.tolist() for part in active.row(k)), strict=True)) for k in (0, 1))
    table = Table(title="active features", title_justify="left")
    for heading in ("feature", "before", "after"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("description")
    shown = {feature, *before, *after}
    for one in sorted(shown, key=lambda one: (-before.get(one, 0), -after.get(one, 0), one)):
        note = "set" if one == feature else "on" if one not in before else "off" if one not in after else ""
        numbers = [_number(found.get(one)) for found in (before, after)]
        table.add_row(str(one), *numbers, note, Text(subject.found.system.description(one)))
    return table


def _report_lines(before: str | NoAnswer, after: str | NoAnswer) -> Iterator[str]:
    """Yield the report before and after, a sentence a line, with what left and what came marked."""
    from bench.contracts import NoAnswer
    from systems.sae_rad.sentences import split

    if isinstance(before, NoAnswer) or isinstance(after, NoAnswer):
        for name, text in (("before", before), ("after", after)):
            yield f"report {name}: {f'(none: {text.kind}: {text.why})' if isinstance(text, NoAnswer) else text}"
        return
    said: list[Sequence[str]] = [split(text) for text in (before, after)]
    yield from _marked("report before", said[0], "-", lambda sentence: sentence not in said[1])
    yield from _marked("report after", said[1], "+", lambda sentence: sentence not in said[0])
    if said[0] == said[1]:
        yield "The report is the same."


def _marked(title: str, sentences: Sequence[str], sign: str, changed: Callable[[str], bool]) -> Iterator[str]:
    yield f"{title}:"
    for sentence in sentences or ["(empty: no active feature has anything to say)"]:
        yield f"  {sign if changed(sentence) else ' '} {sentence}"
