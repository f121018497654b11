"""RGER and RadGraph F1: how far two reports' graphs agree.

RGER is the RG_ER reward of Delbrouck et al. 2022 (https://aclanthology.org/2022.findings-emnlp.319), as the package
`radgraph` computes it; RadGraph F1 is that of Yu et al. 2023 (https://doi.org/10.1016/j.patter.2023.100802), as
``CXRMetric/radgraph_evaluate_model.py`` of https://github.com/rajpurkarlab/CXR-Report-Metric computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator

from bench.contracts import Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics import text
from metrics.means import mean, mean_stats

Level = Literal["simple", "partial", "complete"]
Side = Literal["candidate", "reference"]
Entity = Mapping[str, Any]
Entities = Mapping[str, Entity]
Items = Set[tuple[Any, ...]]


class AnnotatorOptions(Options):
    """The annotator, also called `model`."""

    annotator: str = Field(validation_alias=AliasChoices("annotator", "model"))
    """Annotator whose annotations have entities."""

    @model_validator(mode="before")
    @classmethod
    def _named_once(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and {"annotator", "model"} <= given.keys():
            raise ValueError("annotator and model are two names of one option: give one")
        return given


class RGEROptions(AnnotatorOptions):
    """Variants of RG_ER; the defaults are those of PyPI's radgraph 0.1.18."""

    annotator: str = Field("radgraph-xl", validation_alias=AliasChoices("annotator", "model"))
    """Annotator of the graphs: radgraph-xl, radgraph, modern-radgraph-xl, rules …; `model` is another name of it."""
    level: Level = "partial"
    """What of an entity must agree: simple, tokens and label; partial, and whether it has a relation; complete, each
    of its relations with its target's tokens."""
    lowercase: bool = False
    """Fold the case of tokens first; radgraph's repository does since 2026 under the same version number."""


class RadGraphF1Options(AnnotatorOptions):
    """Options of RadGraph F1."""

    annotator: str = Field("radgraph", validation_alias=AliasChoices("annotator", "model"))
    """Annotator of the graphs; the paper's is the original radgraph. `model` is another name of it."""


def entity_items(entity: Entity, entities: Entities, level: Level, fold: Callable[[str], str]) -> Iterator[Any]:
    """Yield what is compared of one entity at a level. At level complete a relation's tokens are lower-cased always."""
    tokens, label, relations = fold(entity["tokens"]), entity["label"], entity["relations"]
    if level == "simple" or not relations:
        yield tokens, label
    elif level == "partial":
        yield tokens, label, True
    else:
        for name, target in relations:
            yield entity["tokens"].lower(), label, name, entities[target]["tokens"].lower()


def relation_items(entity: Entity, entities: Entities) -> Iterator[Any]:
    """Yield the relations of an entity as (source, target, name), source and target as (tokens, label)."""
    for name, target in entity["relations"]:
        other = entities[target]
        yield (entity["tokens"], entity["label"]), (other["tokens"], other["label"]), name


def f1(candidate: Items, reference: Items) -> float:
    """Return the F1 of two sets in [0, 1], 0 where either is empty or none is shared.

    2PR / (P + R) in the order in which both reference implementations compute it.
    """
    shared = len(candidate & reference)
    if shared == 0:
        return 0.0
    precision, recall = shared / len(candidate), shared / len(reference)
    return 2 * precision * recall / (precision + recall)


class _GraphMetric:
    """The mean over pairs of a value of two graphs; a report without words or entities gives 0."""

    group = "clinical"

    def __init__(self, annotator: str, context: Context) -> None:
        self._name = annotator
        self._annotator = context.annotator(annotator)

    def value(self, candidate: Entities, reference: Entities) -> float:
        """Return the value of two graphs, neither of which is empty."""
        raise NotImplementedError

    def items(self, entity: Entity, entities: Entities) -> Items:
        """Return what is compared of one entity."""
        raise NotImplementedError

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [value, 1] of each pair; FAILED where a report could not be annotated."""
        full = [pair for pair in pairs if pair.candidate.strip() and pair.reference.strip()]
        found = self._entities([text for pair in full for text in (pair.candidate, pair.reference)])
        values = {
            id(pair): self._compare(candidate, reference)
            for pair, candidate, reference in zip(full, found[::2], found[1::2], strict=True)
        }
        return mean_stats([values.get(id(pair), 0.0) for pair in pairs])

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over pairs, [..., 1]."""
        return mean(totals)

    def _entities(self, texts: Sequence[str]) -> list[Entities | None]:
        """Return the entities of each text, None where it could not be annotated."""
        return [
            None if isinstance(annotation, Unannotated) else self._checked(annotation)
            for annotation in self._annotator.annotate(texts)
        ]

    def _checked(self, annotation: Any) -> Entities:
        if not isinstance(annotation, Mapping) or "entities" not in annotation:
            raise BenchError(
                f"annotator {self._name!r} finds no RadGraph entities: use radgraph-xl, radgraph, modern-radgraph-xl "
                "or rules"
            )
        entities: Entities = annotation["entities"]
        return entities

    def _compare(self, candidate: Entities | None, reference: Entities | None) -> float | None:
        if candidate is None or reference is None:
            return None
        return self.value(candidate, reference) if candidate and reference else 0.0

    # -------------------------------------------------------------- pages

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the entities of both sides by whether the other side has them too, and list them with relations."""
        given: dict[Side, str] = {"candidate": pair.candidate, "reference": pair.reference}
        made = {side: self._annotator.annotate([said])[0] for side, said in given.items() if said.strip()}
        failed = tuple((side, found.why) for side, found in made.items() if isinstance(found, Unannotated))
        if failed:
            return [SmallTable("Not annotated", ("side", "why"), failed)]
        graphs = {side: self._checked(found) for side, found in made.items()}
        items = {
            side: {item for entity in graph.values() for item in self.items(entity, graph)}
            for side, graph in graphs.items()
        }
        shared = frozenset.intersection(*map(frozenset, items.values())) if len(items) == 2 else frozenset()
        shown: list[Mark | SmallTable] = []
        rows = []
        for side, graph in graphs.items():
            kinds = {key: _kind(self.items(entity, graph), shared) for key, entity in graph.items()}
            shown += _marks(side, given[side], made[side]["text"].split(), graph, kinds)
            rows += [_row(side, entity, graph, kinds[key]) for key, entity in graph.items()]
        headings = ("side", "tokens", "label", "relations", "on the other side")
        return [*shown, SmallTable("Entities", headings, tuple(rows)), self._summary(graphs)]

    def _summary(self, graphs: Mapping[Side, Entities]) -> SmallTable:
        candidate, reference = graphs.get("candidate", {}), graphs.get("reference", {})
        value = self._compare(candidate, reference) or 0.0
        rows = (
            ("entities in the candidate", str(len(candidate))),
            ("entities in the reference", str(len(reference))),
            ("F1", f"{100 * value:.1f}"),
        )
        return SmallTable("Graphs", ("what", "value"), rows)


def _kind(items: Items, shared: Items) -> str:
    """Return "match" where all of an entity's items are shared, "partial" where some, else "unmatched"."""
    common = len(items & shared)
    return "unmatched" if common == 0 else "match" if common == len(items) else "partial"


def _marks(side: Side, given: str, words: Sequence[str], graph: Entities, kinds: Mapping[str, str]) -> Iterator[Mark]:
    places = text.spans(given, words)
    for key, entity in graph.items():
        inside = [place for place in places[entity["start_ix"] : entity["end_ix"] + 1] if place is not None]
        if inside:
            yield Mark(side, inside[0][0], inside[-1][1], kinds[key], entity["label"])


def _row(side: Side, entity: Entity, graph: Entities, kind: str) -> tuple[str, ...]:
    relations = "; ".join(f"{name} {graph[target]['tokens']}" for name, target in entity["relations"])
    return side, entity["tokens"], entity["label"], relations, kind


class RGER(_GraphMetric):
    """RG_ER (RGER): the F1 of a pair's sets of entities, with whether each has a relation, mean over pairs.

    Per-pair values are bit-identical to ``radgraph.rewards.compute_reward`` at the same level.
    """

    Options = RGEROptions
    table1 = True
    columns = (Column("RGER", "RGER"),)

    def __init__(self, options: RGEROptions, context: Context) -> None:
        super().__init__(options.annotator, context)
        self.options = options
        self._fold: Callable[[str], str] = str.lower if options.lowercase else str

    def signature(self) -> str:
        """Return level, case and annotator."""
        case = "lc" if self.options.lowercase else "mixed"
        return f"rger|level:{self.options.level}|case:{case}|annotator:{self._annotator.fingerprint()}|v:1"

    def items(self, entity: Entity, entities: Entities) -> Items:
        """Return what is compared of one entity."""
        return set(entity_items(entity, entities, self.options.level, self._fold))

    def value(self, candidate: Entities, reference: Entities) -> float:
        """Return the F1 of the two sides' entities."""
        said, true = (
            {item for entity in side.values() for item in entity_items(entity, side, self.options.level, self._fold)}
            for side in (candidate, reference)
        )
        return f1(said, true)


class RadGraphF1(_GraphMetric):
    """RadGraph F1 of Yu et al. 2023: the mean of entity F1 and relation F1 of a pair, then the mean over pairs.

    An entity is (tokens, label), a relation (source, target, name) of two entities; case counts. As in the authors'
    code the F1 of an empty set is 0, also where both sides are empty: a pair of reports without relations reaches 0.5.
    """

    Options = RadGraphF1Options
    table1 = False
    columns = (Column("RadGraph-F1", "RadGraph F1"),)

    def __init__(self, options: RadGraphF1Options, context: Context) -> None:
        super().__init__(options.annotator, context)
        self.options = options

    def signature(self) -> str:
        """Return the definition and the annotator."""
        return f"radgraph-f1|of:yu-2023|case:mixed|empty:0|annotator:{self._annotator.fingerprint()}|v:1"

    def items(self, entity: Entity, entities: Entities) -> Items:
        """Return the entity and its relations."""
        return {(entity["tokens"], entity["label"]), *relation_items(entity, entities)}

    def value(self, candidate: Entities, reference: Entities) -> float:
        """Return the mean of the F1 of entities and that of relations."""
        entities = f1(*({(e["tokens"], e["label"]) for e in side.values()} for side in (candidate, reference)))
        relations = f1(
            *({item for e in side.values() for item in relation_items(e, side)} for side in (candidate, reference))
        )
        return (entities + relations) / 2
