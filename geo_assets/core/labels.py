"""What makes polygons usable as labels: their fold, split and class.

Geometry is checked in ``polygons``, burning into pixels happens in ``label_band``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pandas as pd

from geo_assets.core.polygons import checked_polygons, name_rows
from geo_assets.errors import AreaError, CampaignError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of folds and splits: they become partition keys and folder names."""
MAX_CLASS = 254
"""Largest class value of a label band: 0 is background, 255 is ignore."""
SPLIT_WITHOUT_COLUMN = "all"
COLUMNS = ("geometry", "class", "class_name", "fold", "split")


@dataclass(frozen=True)
class LabelRules:
    """How the columns of a vector file become fold, split and class."""

    folds: Sequence[str]
    """Declared folds; values of the fold column are compared with them as strings."""
    splits: Sequence[str] = (SPLIT_WITHOUT_COLUMN,)
    """Declared splits; without a split column the one split ``all``."""
    fold: str | None = None
    """The fold of the whole file, where each fold has a file of its own."""
    fold_column: str | None = None
    """Column with the fold, where one file holds several."""
    split_column: str | None = None
    """Column with the split; without one every polygon is in the split ``all``."""
    class_column: str | None = None
    """Column with the class; without one every polygon is of class 1."""
    classes: Mapping[str, int] | None = None
    """Class name to value 1 … 254; without it the sorted names are numbered from 1."""
    class_name: str = "area"
    """Name of class 1 where there is no class column."""
    id_column: str | None = None
    """Column whose values must be unique, where the file has one."""
    max_features: int = 1_000_000
    """Largest number of polygons of one file."""

    def __post_init__(self) -> None:
        for what, names in (("folds", self.folds), ("splits", self.splits)):
            _check_names(what, names)
        joined = [f"{fold}-{split}" for fold in self.folds for split in self.splits]
        if len(set(joined)) < len(joined):
            twins = sorted({name for name in joined if joined.count(name) > 1})
            raise CampaignError(
                f"folds {list(self.folds)} and splits {list(self.splits)} give the same joined "
                f"name twice: {twins}; chip ids would not be unique"
            )
        self._check_columns()
        if self.classes is not None:
            _check_classes(self.classes)

    def _check_columns(self) -> None:
        if self.fold is not None and self.fold_column is not None:
            raise CampaignError(
                f"labels: fold {self.fold!r} and fold_column {self.fold_column!r} exclude each "
                "other"
            )
        if self.fold is not None and self.fold not in self.folds:
            raise CampaignError(f"labels: fold {self.fold!r} is not one of {list(self.folds)}")
        if self.split_column is None and tuple(self.splits) != (SPLIT_WITHOUT_COLUMN,):
            raise CampaignError(
                f"labels: splits {list(self.splits)} need a split_column; without one the only "
                f"split is {SPLIT_WITHOUT_COLUMN!r}"
            )
        if self.classes is not None and self.class_column is None:
            raise CampaignError("labels: classes need a class_column")


@dataclass(frozen=True)
class ValidatedLabels:
    """Label polygons fit for use, with what their user should know about them."""

    frame: geopandas.GeoDataFrame
    """EPSG:4326, in file order; columns geometry, class (uint8, 1 … 254), class_name, fold,
    split (strings)."""
    warnings: list[str] = field(default_factory=list)
    """What was repaired or looks odd, one sentence each."""
    classes: dict[str, int] = field(default_factory=dict)
    """Class name to value, by value, also of classes no polygon has."""


def validate_labels(
    frame: geopandas.GeoDataFrame, rules: LabelRules, *, source_name: str
) -> ValidatedLabels:
    """Check the label polygons of one file and give each its fold, split and class.

    A file that holds one fold of several (``rules.fold``) can lack splits; whether each declared
    split has polygons in some fold is then known to ``validate_label_files`` alone.

    Args:
        frame: The features as read, in any stated CRS.
        rules: How columns become fold, split and class.
        source_name: What messages call the frame: its file.

    Raises:
        AreaError: The data break a rule; the message names file, column, rows and what is allowed.
        CampaignError: The rules do not say which fold the polygons belong to.
    """
    checked, warnings = _with_names(frame, rules, source_name)
    return _finished(
        [checked],
        rules,
        warnings,
        source_names=[source_name],
        complete=rules.fold is None or set(rules.folds) == {rules.fold},
    )


def validate_label_files(
    files: Mapping[str, tuple[geopandas.GeoDataFrame, str]], rules: LabelRules
) -> ValidatedLabels:
    """Check the label polygons of one file per fold, with one numbering of classes for all.

    Args:
        files: Fold to (features as read, name of their file).
        rules: As for ``validate_labels``; its ``fold`` is set here for each file.

    Raises:
        AreaError: The data break a rule.
        CampaignError: A fold is not declared, or a fold column is named as well.
    """
    checked, warnings = [], []
    for fold, (frame, source_name) in files.items():
        named, found = _with_names(frame, replace(rules, fold=fold), source_name)
        checked.append(named)
        warnings += found
    return _finished(
        checked,
        rules,
        warnings,
        source_names=[name for _, name in files.values()],
        complete=set(files) == set(rules.folds),
    )


def _with_names(
    frame: geopandas.GeoDataFrame, rules: LabelRules, source_name: str
) -> tuple[geopandas.GeoDataFrame, list[str]]:
    if len(frame) > rules.max_features:
        raise AreaError(
            f"{source_name}: {len(frame)} polygons; max_features allows {rules.max_features}"
        )
    geometry, warnings = checked_polygons(frame, source_name=source_name)
    if rules.id_column is not None:
        _check_unique(_column(frame, rules.id_column, "id_column", source_name), source_name)
    if rules.fold_column is not None:
        fold = _declared(frame, rules.fold_column, "fold", rules.folds, source_name)
    else:
        fold = _constant(_only_fold(rules), frame)
    if rules.split_column is not None:
        split = _declared(frame, rules.split_column, "split", rules.splits, source_name)
    else:
        split = _constant(SPLIT_WITHOUT_COLUMN, frame)
    if rules.class_column is not None:
        class_name = _complete(frame, rules.class_column, "class", source_name)
    else:
        class_name = _constant(rules.class_name, frame)
    named = geopandas.GeoDataFrame(
        {"class_name": class_name, "fold": fold, "split": split},
        geometry=geometry.reset_index(drop=True).array,
        crs=geometry.crs,
    )
    return named, warnings


def _finished(
    frames: list[geopandas.GeoDataFrame],
    rules: LabelRules,
    warnings: list[str],
    *,
    source_names: list[str],
    complete: bool,
) -> ValidatedLabels:
    where = ", ".join(source_names)
    frame = pd.concat(frames, ignore_index=True)
    if complete:
        lacking = [split for split in rules.splits if split not in set(frame["split"])]
        if lacking:
            raise AreaError(
                f"{where}: no polygon in any fold has split {lacking}; "
                f"declared are {list(rules.splits)}, found {sorted(set(frame['split']))}"
            )
        warnings += [
            f"{where}: fold {fold!r} has no polygons"
            for fold in rules.folds
            if fold not in set(frame["fold"])
        ]
    classes = _numbered(frame["class_name"], rules, where)
    frame["class"] = frame["class_name"].map(classes).astype(np.uint8)
    return ValidatedLabels(frame=frame[list(COLUMNS)], warnings=warnings, classes=classes)


def _numbered(names: pd.Series[str], rules: LabelRules, where: str) -> dict[str, int]:
    found = set(names)
    if rules.classes is not None:
        unknown = sorted(found - set(rules.classes))
        if unknown:
            raise AreaError(
                f"{where}: column {rules.class_column!r} has classes {unknown} "
                f"({int(names.isin(unknown).sum())} polygons); allowed are {sorted(rules.classes)}"
            )
        return dict(sorted(rules.classes.items(), key=lambda item: (item[1], item[0])))
    if len(found) > MAX_CLASS:
        raise AreaError(
            f"{where}: column {rules.class_column!r} has {len(found)} classes; "
            f"a label band holds at most {MAX_CLASS}"
        )
    numeric = all(re.fullmatch(r"-?\d+", name) for name in found)
    # Names of one number, as "1" and "01", by themselves: a set has no order that lasts.
    ordered = sorted(found, key=lambda name: (int(name), name)) if numeric else sorted(found)
    return {name: value for value, name in enumerate(ordered, start=1)}


def _only_fold(rules: LabelRules) -> str:
    if rules.fold is not None:
        return rules.fold
    if len(rules.folds) == 1:
        return rules.folds[0]
    raise CampaignError(
        f"labels: {len(rules.folds)} folds are declared, {list(rules.folds)}; name a fold_column "
        "or give one file per fold"
    )


def _constant(value: str, frame: geopandas.GeoDataFrame) -> pd.Series[str]:
    return pd.Series([value] * len(frame), dtype="str")


def _column(
    frame: geopandas.GeoDataFrame, name: str, role: str, source_name: str
) -> pd.Series[str]:
    """Give a column as strings; numbers without a fraction as integers, null stays null."""
    attributes = [str(column) for column in frame.columns if column != frame.geometry.name]
    if name not in attributes:
        raise AreaError(f"{source_name}: {role} {name!r} is not one of its columns {attributes}")
    values = frame[name].reset_index(drop=True)
    if pd.api.types.is_float_dtype(values) and (values.isna() | (values % 1 == 0)).all():
        values = values.astype("Int64")  # integers beside nulls are read as floats
    texts: pd.Series[str] = values.astype("str").where(values.notna())
    return texts


def _complete(
    frame: geopandas.GeoDataFrame, column: str, role: str, source_name: str
) -> pd.Series[str]:
    values = _column(frame, column, f"{role}_column", source_name)
    null = np.asarray(values.isna())
    if null.any():
        raise AreaError(
            f"{source_name}: column {column!r} ({role}) is null in {null.sum()} of {len(values)} "
            f"polygons: {name_rows(null)}"
        )
    return values


def _declared(
    frame: geopandas.GeoDataFrame, column: str, role: str, allowed: Sequence[str], source_name: str
) -> pd.Series[str]:
    values = _complete(frame, column, role, source_name)
    unknown = ~np.asarray(values.isin(list(allowed)))
    if unknown.any():
        raise AreaError(
            f"{source_name}: column {column!r} has undeclared {role}s "
            f"{sorted(set(values[unknown]))} ({unknown.sum()} polygons); declared are "
            f"{list(allowed)}, compared as strings ('0' is not '{role}0')"
        )
    return values


def _check_unique(ids: pd.Series[str], source_name: str) -> None:
    twins = np.asarray(ids.duplicated(keep=False) & ids.notna())
    if twins.any():
        raise AreaError(
            f"{source_name}: ids occur more than once: {sorted(set(ids[twins]))[:10]} "
            f"in {name_rows(twins)}"
        )


def _check_names(what: str, names: Sequence[str]) -> None:
    bad = [name for name in names if not NAME.fullmatch(name)]
    if bad or not names:
        raise CampaignError(
            f"{what} {list(names)}: {bad or 'at least one is needed'}; "
            f"allowed are names that match ^{NAME.pattern}$"
        )
    if len(set(names)) < len(names):
        raise CampaignError(f"{what} {list(names)}: each may be named once")


def _check_classes(classes: Mapping[str, int]) -> None:
    bad = {name: value for name, value in classes.items() if not 1 <= value <= MAX_CLASS}
    if bad or not classes:
        raise CampaignError(
            f"labels: classes {bad or dict(classes)}: values must be whole numbers "
            f"from 1 to {MAX_CLASS}"
        )
