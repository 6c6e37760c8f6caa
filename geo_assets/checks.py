"""Asset checks: standing questions to what was published, answered in words an operator can use.

A check reads results by path and changes nothing; how problems are found is in ``assets.problems``.
What is left failed is a warning, never a red run: a partial download must not block what can be
made of the rest.
https://docs.dagster.io/guides/test/asset-checks
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.label_models import borrowing_rules
from geo_assets.assets.problems import chips, imagery, labels
from geo_assets.assets.step import table_of
from geo_assets.errors import StorageError
from geo_assets.partitions import fold_and_split, partition_keys

# Dagster reads the annotations of a function when it is defined.
from geo_assets.resources import Results  # noqa: TC001
from geo_assets.sources.protocol import SERVER_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from geo_assets.assets.problems import Problems
    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout

SAMPLE = 20
"""Problems shown by name; the count is always exact."""

CHIP_RECOVERY = """\
**What to do**

- `transient`, `invalid_payload`, `corrupt`: nothing. The failed-chips sensor asks again; or
  materialize `chip_catalog` for the partition, which asks for these chips alone.
- `permanent`: the file or band is not there. Restore it, or leave the scene out (dates,
  `clouds.max_cover`), then materialize `scenes` and what follows.
- `geo-assets verify` reads and hashes every chip again.
"""
IMAGERY_RECOVERY = """\
**What to do**

Materialize the asset again for the partition: what could not be read is read again. What
is `permanent` waits until the scene's file is restored, or the scene left out (dates,
`clouds.max_cover`) and `scenes` materialized again.
"""
EXPRESSION_RECOVERY = """\
**What to do**

Materialize `composite_image` for the partition: what is damaged is written again. An area whose
preview the server refuses (too large, too slow) still has its chips; take smaller areas
(`clusters.count`) or live without the picture.
"""
LABEL_RECOVERY = """\
**What to do**

Materialize the asset again for the partition: rasters and models are written together.
"""
COMPOSITE_RECOVERY = """\
**What to do**

Materialize `land_cover_labels` for the partition: its composite was healed (runs of chips do that)
or made again after its labels.
"""
CUBE_RECOVERY = """\
**What to do**

Materialize the asset again for the partition: its cube was extended, healed or made again after its
labels.
"""
LENDER_RECOVERY = """\
**What to do**

Materialize the asset for the partition: the model of `model_from` was made again after its labels.
"""


@dataclass(frozen=True)
class Question:
    """What one check asks of each partition of an asset."""

    asset: str
    name: str
    description: str
    problems: Callable[[Layout, str, str], Problems]
    recovery: str
    on_server: bool | None = None
    """Whether it is asked where composites stay on a server, or where not; None: of either."""


def build_checks(campaign: Campaign, names: AbstractSet[str]) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the assets that a campaign has."""
    on_server = campaign.imagery.kind in SERVER_KINDS
    return [
        _check(campaign, question)
        for question in (*QUESTIONS, *_questions_of_lenders(campaign))
        if question.asset in names and question.on_server in {None, on_server}
    ]


def _questions_of_lenders(campaign: Campaign) -> list[Question]:
    """Return what is asked of labels whose model is that of one partition."""
    return [
        Question(
            asset,
            "labels_are_of_the_lending_model",
            "Each area was labelled by the model that the partition of model_from has now.",
            partial(labels.labels_of_another_lender, asset=asset, lender=rules.model_from),
            LENDER_RECOVERY,
        )
        for asset, rules in borrowing_rules(campaign).items()
        if rules.model_from is not None
    ]


def _check(campaign: Campaign, question: Question) -> dg.AssetChecksDefinition:
    """A check that looks at every partition there is and passes if it finds no problem."""

    @dg.asset_check(
        asset=dg.AssetKey([campaign.name, question.asset]),
        name=question.name,
        description=question.description,
    )
    def check(results: Results) -> dg.AssetCheckResult:
        layout = results.layout(campaign.name)
        problems: Problems = []
        unreadable: Problems = []
        for key in partition_keys(campaign):
            try:
                found = question.problems(layout, *fold_and_split(key))
            except StorageError as error:
                unreadable.append({"partition": key, "error": str(error)})
            except Exception as error:  # whatever lies there: a check never ends a run
                unreadable.append({"partition": key, "error": repr(error)})
            else:
                problems += [{"partition": key, **problem} for problem in found]
        metadata: dict[str, Any] = {"count": len(problems), "unreadable": len(unreadable)}
        for name, rows in (("sample", problems), ("unreadable_sample", unreadable)):
            if rows:
                metadata[name] = table_of(rows[:SAMPLE])
        count = len(problems) + len(unreadable)
        if count:
            metadata["recovery"] = dg.MetadataValue.md(question.recovery)
        return dg.AssetCheckResult(
            passed=count == 0,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{count} found" if count else None,
            metadata=metadata,
        )

    return check


QUESTIONS = (
    Question(
        "chip_catalog",
        "nothing_is_left_failed",
        "Every chip ended ok or as no imagery.",
        chips.failed,
        CHIP_RECOVERY,
    ),
    Question(
        "chip_catalog",
        "every_ok_chip_has_its_file",
        "Each row that says ok has a file of the recorded size.",
        chips.without_file,
        CHIP_RECOVERY,
    ),
    Question(
        "composite_image",
        "every_window_was_read",
        "No window of a composite is missing because a scene could not be read.",
        imagery.windows_of_composites,
        IMAGERY_RECOVERY,
        on_server=False,
    ),
    Question(
        "composite_image",
        "every_expression_is_whole",
        "Each expression is the one its checksum was taken of, and has its preview.",
        imagery.damaged_expressions,
        EXPRESSION_RECOVERY,
        on_server=True,
    ),
    Question(
        "ndvi_cube",
        "every_date_was_read",
        "No window of a cube is missing because a scene could not be read.",
        imagery.windows_of_cubes,
        IMAGERY_RECOVERY,
    ),
    Question(
        "ndvi_spatial_labels",
        "labels_are_of_their_model",
        "Each label raster was labelled by the model beside it and holds its clusters alone.",
        labels.spatial_labels,
        LABEL_RECOVERY,
    ),
    Question(
        "ndvi_temporal_labels",
        "labels_are_of_their_model",
        "Each label raster was labelled by the model beside it and holds its clusters alone.",
        labels.temporal_labels,
        LABEL_RECOVERY,
    ),
    Question(
        "ndvi_spatial_labels",
        "labels_are_of_their_cube",
        "Each label raster was made from the cube that is there now.",
        labels.spatial_labels_of_another_cube,
        CUBE_RECOVERY,
    ),
    Question(
        "ndvi_temporal_labels",
        "labels_are_of_their_cube",
        "Each label raster was made from the cube that is there now.",
        labels.temporal_labels_of_another_cube,
        CUBE_RECOVERY,
    ),
    Question(
        "land_cover_labels",
        "labels_are_of_their_model",
        "Each label raster was labelled by the model beside it and holds its clusters alone.",
        labels.land_cover_labels,
        LABEL_RECOVERY,
    ),
    Question(
        "land_cover_labels",
        "labels_are_of_their_composite",
        "Each label raster was made from the composite that is there now.",
        labels.land_cover_of_another_composite,
        COMPOSITE_RECOVERY,
    ),
    Question(
        "ndvi_label_changes",
        "changes_are_of_their_tables",
        "Each change map is of the labels of its tables and holds their clusters and dates alone.",
        labels.label_changes,
        LABEL_RECOVERY,
    ),
)
"""What is asked of every campaign, asset by asset; see ``_questions_of_lenders`` too."""
