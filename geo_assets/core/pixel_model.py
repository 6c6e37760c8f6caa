"""A fitted K-Means of pixels: its centres and scales, as values and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geo_assets.core.pixel_assignment import assign_pixels
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.core.feature_scaling import Scaling

Missing = Literal["fill", "ignore"]
"""What was done about missing features: gaps were filled before, and a pixel that still has one is
0; or they are left out of distances, which are scaled to all features."""


def rising(centers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the order of centres (K, feature) by their mean over the features they know.

    Of equal means, by the first feature that differs.
    """
    return np.lexsort((*centers.T[::-1], np.nanmean(centers, axis=1)))


@dataclass(frozen=True, eq=False)
class PixelKMeans:
    """A fitted model; label k (from 1) is the k-th centre.

    Attributes:
        centers: (K, feature) float64 in units of the features, NaN where no pixel of a cluster
            says anything of a feature (``missing="ignore"``), which then is left out of distances
            to this centre. In the order of ``rising``.
        scaled_centers: (K, feature) float32, what scaled pixels are compared with, but where
            ``centers`` are NaN; none is NaN.
        offsets: (feature,) float64, subtracted from a feature before its division by the scale.
        scales: (feature,) float64.
        scaling: How offsets and scales were found.
        missing: What is done about missing features.
        seed: Seed of the fit.
        sample_size: Pixels the model was fitted on.
        sample_inertia: Their sum of squared scaled distances to the nearest centre.
        placed: Whether the last two features are the place of a pixel, see ``assign_pixels``.
    """

    centers: NDArray[np.float64]
    scaled_centers: NDArray[np.float32]
    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]
    scaling: Scaling
    missing: Missing
    seed: int
    sample_size: int
    sample_inertia: float
    placed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the model as JSON values; ``from_dict`` gives back the very same model."""
        return {
            "centers": [[None if np.isnan(x) else x for x in row] for row in self.centers.tolist()],
            "scaled_centers": self.scaled_centers.tolist(),
            "offsets": self.offsets.tolist(),
            "scales": self.scales.tolist(),
            "scaling": self.scaling,
            "missing": self.missing,
            "seed": self.seed,
            "sample_size": self.sample_size,
            "sample_inertia": self.sample_inertia,
            "placed": self.placed,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PixelKMeans:
        """Return the model of a ``to_dict``.

        Raises:
            ValueError: Shapes do not fit, or a number is none; KeyError, TypeError: it is no model.
        """
        model = cls(
            centers=np.array(values["centers"], np.float64),
            scaled_centers=np.array(values["scaled_centers"], np.float32),
            offsets=np.array(values["offsets"], np.float64),
            scales=np.array(values["scales"], np.float64),
            scaling=values["scaling"],
            missing=values["missing"],
            seed=int(values["seed"]),
            sample_size=int(values["sample_size"]),
            sample_inertia=float(values["sample_inertia"]),
            placed=bool(values.get("placed", False)),
        )
        # Kernels read these without looking at their bounds.
        if model.centers.ndim != 2 or model.centers.shape != model.scaled_centers.shape:
            raise ValueError("centers and scaled_centers: their shapes differ")
        if not model.offsets.shape == model.scales.shape == model.centers.shape[1:]:
            raise ValueError("offsets and scales: not one for each feature of the centers")
        numbers = (model.scaled_centers, model.offsets, model.scales)
        if not all(np.isfinite(each).all() for each in numbers) or not (model.scales > 0).all():
            raise ValueError("scaled_centers, offsets, scales: not finite, or a scale of 0 or less")
        if model.missing != "ignore" and np.isnan(model.centers).any():
            raise ValueError("centers: null, which only those of missing: ignore may be")
        return model

    @classmethod
    def of(
        cls,
        scaled_centers: NDArray[np.float64],
        *,
        offsets: NDArray[np.float64],
        scales: NDArray[np.float64],
        scaling: Scaling,
        missing: Missing,
        seed: int,
        sample: NDArray[np.float32],
        placed: bool = False,
        threads: int | None = None,
    ) -> PixelKMeans:
        """Return the model of scaled centres (K, feature) and of the sample (feature, n) behind."""
        # Pixels are scaled by float32 numbers: of others, centres would lie beside their pixels.
        by, to = (each.astype(np.float32).astype(np.float64) for each in (scales, offsets))
        centers = scaled_centers * by + to
        small = scaled_centers.astype(np.float32)

        def label(found: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
            return assign_pixels(
                sample,
                np.ones(sample.shape[1], bool),
                offsets=offsets,
                scales=scales,
                centers=found,
                ignore=missing == "ignore",
                placed=placed,
                threads=threads,
            )

        labels, inertia = label(small)
        if missing == "ignore":
            for center, own in zip(centers, range(1, len(centers) + 1), strict=True):
                known = ~np.isnan(sample[:, labels == own])
                # Where a fit knows nothing it holds what it started from, which nobody measured.
                center[~known.any(axis=1) & known.any()] = np.nan
            if np.isnan(centers).any():
                _, inertia = label(_without_unknown(small, centers))
        order = rising(centers)
        return cls(
            centers=centers[order],
            scaled_centers=small[order],
            offsets=offsets,
            scales=scales,
            scaling=scaling,
            missing=missing,
            seed=seed,
            sample_size=sample.shape[1],
            sample_inertia=inertia,
            placed=placed,
        )

    def assign(
        self,
        features: NDArray[Any],
        valid: NDArray[np.bool_],
        threads: int | None = None,
    ) -> tuple[NDArray[np.uint8], float]:
        """Return labels and inertia of pixels (feature, n), see ``assign_pixels``.

        Raises:
            ClusteringError: If the number of features is another than the model's.
        """
        if len(features) != len(self.offsets):
            msg = f"features: {len(features)} in shape {features.shape}; "
            raise ClusteringError(f"{msg}the model has {len(self.offsets)}")
        return assign_pixels(
            features,
            valid,
            offsets=self.offsets,
            scales=self.scales,
            centers=_without_unknown(self.scaled_centers, self.centers),
            ignore=self.missing == "ignore",
            placed=self.placed,
            threads=threads,
        )


def _without_unknown(
    scaled: NDArray[np.float32], centers: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return scaled centres (K, feature), NaN where the published ones say nothing."""
    return np.where(np.isnan(centers), np.float32(np.nan), scaled)
