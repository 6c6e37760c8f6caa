"""The plan of the landscape: where river, town, woods and label areas lie.

Places are (x, y) in *tile units* from the western tile's upper left corner: x grows eastwards, y
southwards, 1 is the side of a tile. The landscape is about 1.85 units wide and 1 high.
"""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[float, float]


@dataclass(frozen=True)
class Patch:
    """A round place with an irregular edge."""

    centre: Place
    radius: float


RIVER: tuple[Place, ...] = (
    (0.68, -0.16), (0.62, 0.00), (0.53, 0.10), (0.585, 0.21), (0.51, 0.31), (0.545, 0.42),
    (0.63, 0.50), (0.74, 0.545), (0.85, 0.48), (0.97, 0.51), (1.08, 0.445), (1.20, 0.485),
    (1.33, 0.41), (1.46, 0.455), (1.60, 0.385), (1.74, 0.425), (1.92, 0.34), (2.10, 0.36),
)  # fmt: skip
BROOKS: tuple[tuple[Place, ...], ...] = (
    ((-0.1, 0.30), (0.08, 0.33), (0.20, 0.26), (0.33, 0.30), (0.44, 0.35), (0.53, 0.36)),
    ((0.86, 1.2), (0.90, 0.97), (0.83, 0.83), (0.90, 0.70), (0.86, 0.58), (0.90, 0.49)),
    ((1.52, 1.2), (1.44, 0.90), (1.52, 0.74), (1.45, 0.58), (1.50, 0.45)),
)
ROADS: tuple[tuple[Place, ...], ...] = (
    ((-0.1, 0.53), (0.10, 0.49), (0.24, 0.50), (0.40, 0.485), (0.55, 0.50)),
    ((0.55, 0.50), (0.72, 0.61), (0.93, 0.575), (1.14, 0.56), (1.36, 0.52), (1.62, 0.49),
     (2.0, 0.46)),
    ((0.55, 0.50), (0.53, 0.66), (0.60, 0.82), (0.575, 1.2)),
    ((0.55, 0.50), (0.47, 0.33), (0.475, 0.14), (0.44, -0.2)),
    ((1.14, 0.56), (1.09, 0.75), (1.13, 0.95), (1.10, 1.2)),
    ((1.14, 0.56), (1.16, 0.36), (1.11, 0.14), (1.18, -0.2)),
    ((0.13, 0.99), (0.10, 0.75), (0.24, 0.50), (0.14, 0.25), (0.20, -0.2)),
)  # fmt: skip
TOWN = Patch((0.555, 0.50), 0.125)
VILLAGES: tuple[Patch, ...] = (
    Patch((0.24, 0.50), 0.030), Patch((0.95, 0.59), 0.036), Patch((1.145, 0.555), 0.050),
    Patch((1.62, 0.485), 0.045), Patch((0.095, 0.755), 0.026), Patch((1.13, 0.13), 0.032),
    Patch((0.60, 0.85), 0.032), Patch((1.79, 0.12), 0.03), Patch((1.82, 0.80), 0.034),
)  # fmt: skip
LAKES: tuple[Patch, ...] = (
    Patch((1.075, 0.30), 0.062), Patch((0.505, 0.21), 0.022), Patch((0.535, 0.93), 0.03),
    Patch((1.80, 0.62), 0.035),
)  # fmt: skip
QUARRY = Patch((1.16, 0.83), 0.038)
WOODS: tuple[Patch, ...] = (
    Patch((1.08, 0.93), 0.10), Patch((0.50, 0.74), 0.08), Patch((1.14, 0.02), 0.09),
    Patch((1.86, 0.28), 0.10), Patch((0.02, 1.0), 0.10), Patch((1.74, 0.95), 0.10),
)  # fmt: skip
CLEARINGS: tuple[Patch, ...] = (
    Patch((0.13, 0.11), 0.17), Patch((0.22, 0.26), 0.25), Patch((0.22, 0.74), 0.25),
    Patch((0.86, 0.26), 0.25), Patch((0.86, 0.74), 0.28), Patch((1.46, 0.20), 0.25),
    Patch((1.47, 0.69), 0.25),
)  # fmt: skip
"""Where woods are rare: the land of the label areas."""
FELLED_WOOD = Patch((0.25, 0.615), 0.068)
"""The wood of the clear-cut, amid the labels of south|train."""
CLEAR_CUT_SIDES = (0.068, 0.050)
CLEAR_CUT_TURN_DEGREES = 24.0
CLEAR_CUT_DATE = (6, 18)
"""Month and day of the clear-cut."""

SPLITS = ("train", "validation", "test")
LABEL_COLUMNS: dict[str, tuple[int, float, float]] = {
    "train": (0, 0.040, 0.490),
    "validation": (0, 0.640, 1.090),
    "test": (1, 0.420, 0.870),
}
"""Per split the tile (0 west, 1 east) whose units count, and the range of x. ``validation`` reaches
beyond the western tile: it needs both."""
LABEL_ROWS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "north": ((0.040, 0.225), (0.295, 0.480)),
    "south": ((0.520, 0.705), (0.775, 0.960)),
}
"""Per fold the ranges of y of its two groups of labels."""
