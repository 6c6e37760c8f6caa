"""The label polygons of a campaign: its vector files, read and checked as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.campaign_values import ARCHIVE_PREFIX
from geo_assets.core.labels import LabelRules, validate_label_files, validate_labels
from geo_assets.sources.archive import prepare_archive
from geo_assets.storage.vectors import read_vector

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign
    from geo_assets.core.labels import ValidatedLabels
    from geo_assets.storage.layout import Layout


def read_labels(campaign: Campaign, layout: Layout) -> ValidatedLabels:
    """Read and check the label polygons of every fold.

    Raises:
        AreaError: Naming the file, the column and what is allowed.
    """
    areas = campaign.areas
    rules = LabelRules(
        folds=campaign.folds,
        splits=campaign.splits,
        fold_column=areas.fold_column,
        split_column=areas.split_column,
        id_column=areas.id_column,
        class_column=areas.class_column,
        classes=areas.classes,
    )
    if areas.files is not None:
        return validate_label_files(
            {
                fold: (
                    read_vector(_located(path, campaign, layout), layer=areas.layer),
                    path.name,
                )
                for fold, path in areas.files.items()
            },
            rules,
        )
    assert areas.file is not None  # noqa: S101  # the campaign's own validation
    frame = read_vector(_located(areas.file, campaign, layout), layer=areas.layer)
    return validate_labels(frame, rules, source_name=areas.file.name)


def _located(path: Path, campaign: Campaign, layout: Layout) -> Path:
    """Where a file of the campaign lies; one of the simulated archive is written if need be."""
    text = str(path)
    if text.startswith(ARCHIVE_PREFIX):
        return prepare_archive(campaign, layout) / text.removeprefix(ARCHIVE_PREFIX)
    return path
