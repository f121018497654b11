"""What the pages show, worked out: the templates only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.contracts import SmallTable
from systems.sae_rad.atlas.activity import Histogram, LabelLink
from systems.sae_rad.atlas.finished import OwnScore
from systems.sae_rad.atlas.passages import Passage
from systems.sae_rad.atlas.scores import FeatureScores


@dataclass(frozen=True, slots=True)
class Picture:
    """An image on a page."""

    src: str | None
    """Path inside the atlas; None where the image could not be read."""
    alt: str
    why: str = ""
    """Why it could not be read."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture in a gallery."""

    picture: Picture
    rank: int
    activation: float
    case_id: str
    view: str
    read: bool = False
    """Whether its report is among those behind the description."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A training report that a description was made from."""

    picture: Picture
    activation: float
    case_id: str
    passages: tuple[Passage, ...]
    """Sentences that say what the description says carry the verdict "agree"."""


@dataclass(frozen=True, slots=True)
class PartnerView:
    """A co-active feature."""

    feature: int
    description: str
    together: int
    share: float
    lift: float
    linked: bool
    """Whether it has a page."""


@dataclass(frozen=True, slots=True)
class Told:
    """A description, or why there is none."""

    text: str
    reasoning: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A feature's page."""

    feature: int
    told: Told
    count: int
    n_images: int
    held_out_count: int | None
    n_held_out: int
    split: str
    scores: FeatureScores
    histogram: Histogram | None
    tiles: tuple[Tile, ...]
    held_out_tiles: tuple[Tile, ...]
    sources: tuple[SourceReport, ...]
    partners: tuple[PartnerView, ...]
    labels: tuple[LabelLink, ...]
    before: int | None
    after: int | None

    @property
    def share(self) -> float:
        """Share of the training images that activate it."""
        return self.count / self.n_images if self.n_images else 0.0


@dataclass(frozen=True, slots=True)
class ActiveView:
    """An active feature beside a report."""

    feature: int
    importance: float
    description: str
    sentences: tuple[int, ...]
    """Numbers of the report's sentences that say what it says."""
    linked: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Report and reference with one metric's marks."""

    metric: str
    report: tuple[Passage, ...]
    reference: tuple[Passage, ...]
    tables: tuple[SmallTable, ...]
    counts: Sequence[tuple[str, str, int]]
    """(side, verdict, places) for the line below the texts."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class PriorView:
    """An earlier report that the composer was shown."""

    when: str
    text: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report's page."""

    number: int
    case_id: str
    group: str
    pictures: tuple[Picture, ...]
    indication: str | None
    indication_used: bool
    priors: tuple[PriorView, ...]
    empty: str
    """Why there is no text; "" where there is."""
    comparisons: tuple[Comparison, ...]
    active: tuple[ActiveView, ...]
    notes: tuple[str, ...]
    unsaid: int
    """Active features with a description that no sentence says."""
    scores: tuple[OwnScore, ...]
    before: int | None
    after: int | None
