"""The catalogue of spectral indices: names, formulas, and the bands they need.

The catalogue is Awesome Spectral Indices (Montero et al. 2023, doi:10.1038/s41597-023-02096-0), as
the library spyndex ships it. Only names and formulas live here, no arrays; definitions load this
module, so the catalogue itself is read at first use.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import CodeType  # noqa: TC003  # the type of a field of a dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTICAL_BANDS: Mapping[str, str] = {
    "A": "coastal",
    "B": "blue",
    "G1": "green05",
    "G": "green",
    "Y": "yellow",
    "R": "red",
    "RE1": "rededge071",
    "RE2": "rededge075",
    "RE3": "rededge078",
    "N": "nir",
    "N2": "nir08",
    "WV": "nir09",
    "S1": "swir16",
    "S2": "swir22",
}
"""The catalogue's letters of bands -> STAC common names."""

SMOOTHED = "_smoothed"
"""How a cube's name of the smoothed copy of an index ends."""

_DIFFERENCE = re.compile(r"\((\w+)-(\w+)\)/\(\1\+\2\)")
_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Pow,
    ast.USub,
    ast.UAdd,
)
_SAMPLES = ((0.037, 1.0), (0.037, 2.5), (0.011, 7.0))
"""Made-up reflectances: first value, and by how much each next band is brighter, in percent."""


@dataclass(frozen=True)
class SpectralIndex:
    """One index of the catalogue.

    Attributes:
        name: As the catalogue writes it: ``NDVI``, ``kNDVI``.
        variable: Name in a cube: the name in small letters, where that is unmistakable.
        long_name: In words.
        reference: Where it was published.
        formula: Of letters of bands and constants.
        bands: STAC common name of each band of the formula, by letter.
        constants: Value of each constant of the formula.
        difference: Letters (a, b) if it is (a - b) / (a + b) of two bands, else None.
        scale_free: Whether digital numbers give the same as reflectance in units.
    """

    name: str
    variable: str
    long_name: str
    reference: str
    formula: str
    bands: Mapping[str, str]
    constants: Mapping[str, float]
    difference: tuple[str, str] | None
    scale_free: bool

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the formula of numbers or arrays, by letter of the band."""
        return _evaluated(_code(self.formula), {**self.constants, **values})


def find_index(name: str) -> SpectralIndex:
    """Return an index by its name, exact or in other letters.

    Raises:
        GeoAssetsError: If there is none (the message names what is near), several differ in
            capitals only, or it needs more than optical bands and known constants.
    """
    entries = _entries()
    known = [name] if name in entries else _spellings().get(name.casefold(), [])
    if len(known) > 1:
        raise GeoAssetsError(f"index {name!r}: could be {' or '.join(known)}; write it exactly so")
    if not known:
        near = nearest(name, entries)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise GeoAssetsError(f"index {name!r}: is unknown to the catalogue{hint}")
    return _index(known[0])


def is_index(name: str) -> bool:
    """Whether the catalogue has an index of this name, in any letters."""
    # What every campaign asks for is known without reading the catalogue.
    return name.casefold() == "ndvi" or name.casefold() in _spellings()


def nearest(name: str, names: Any) -> list[str]:
    """Return up to five of the names that are spelled much like one, in any letters."""
    by_small: dict[str, list[str]] = {}
    for known in names:
        by_small.setdefault(known.casefold(), []).append(known)
    found = get_close_matches(name.casefold(), by_small, n=5, cutoff=0.6)
    return [known for small in found for known in by_small[small]][:5]


def index_names() -> list[str]:
    """Return the names of all indices that optical bands give, sorted."""
    names = []
    for name in _entries():
        try:
            names.append(_index(name).name)
        except GeoAssetsError:
            continue
    return sorted(names)


@cache
def _entries() -> dict[str, Any]:
    import spyndex  # type: ignore[import-untyped]  # ships no types

    return dict(spyndex.indices.items())


@cache
def _spellings() -> dict[str, list[str]]:
    spellings: dict[str, list[str]] = {}
    for name in _entries():
        spellings.setdefault(name.casefold(), []).append(name)
    return spellings


@cache
def _index(name: str) -> SpectralIndex:
    import spyndex

    entry = _entries()[name]
    bands: dict[str, str] = {}
    constants: dict[str, float] = {}
    for letter in entry.bands:
        default = spyndex.constants[letter].default if letter in spyndex.constants else None
        if letter in OPTICAL_BANDS:
            bands[letter] = OPTICAL_BANDS[letter]
        elif default is not None:
            constants[letter] = float(default)
        else:
            raise GeoAssetsError(
                f"index {name!r}: its formula {entry.formula} needs {letter!r}, which is neither "
                "an optical band nor a constant with a value"
            )
    twins = len(_spellings()[name.casefold()]) > 1
    difference = _DIFFERENCE.fullmatch(re.sub(r"\s", "", entry.formula))
    return SpectralIndex(
        name,
        name if twins else name.casefold(),
        str(entry.long_name),
        str(entry.reference),
        str(entry.formula),
        bands,
        constants,
        (difference[1], difference[2]) if difference else None,
        _is_scale_free(str(entry.formula), bands, constants),
    )


def _is_scale_free(formula: str, bands: Mapping[str, str], constants: Mapping[str, float]) -> bool:
    """Whether a formula gives the same for bands in other units, tried on a few values."""
    code = _code(formula)
    for first, step in _SAMPLES:
        values = {letter: first * (1 + step * (n + 1) ** 1.3) for n, letter in enumerate(bands)}
        results = [
            _evaluated(code, {**constants, **{k: v * unit for k, v in values.items()}})
            for unit in (1.0, 3.0, 10_000.0)
        ]
        if any(isinstance(result, complex) for result in results):
            return False
        if any(abs(result - results[0]) > 1e-9 * max(abs(results[0]), 1e-9) for result in results):
            return False
    return True


@cache
def _code(formula: str) -> CodeType:
    """Compile a formula, which may hold arithmetic alone."""
    tree = ast.parse(formula, mode="eval")
    foreign = [node for node in ast.walk(tree) if not isinstance(node, _ARITHMETIC)]
    if foreign:
        raise GeoAssetsError(f"formula {formula!r}: {ast.unparse(foreign[0])!r} is no arithmetic")
    return compile(tree, "<formula>", "eval")


def _evaluated(code: CodeType, names: Mapping[str, Any]) -> Any:
    return eval(code, {"__builtins__": {}}, dict(names))  # noqa: S307  # checked: arithmetic alone
