"""A loopback Earth Engine: the service as the official client meets it, over local files.

``server`` speaks HTTP, ``evaluation`` answers expressions; ``faults`` and ``quota`` make it as
hard to live with as the real one. What it simplifies:

- Algorithms: those that the campaigns, the older scripts and thumbnails use; any other is refused
  by name (400). Arithmetic of integers is done in 64 bits, of anything else in float64.
- Sampling: nearest and bilinear, without pyramids: a coarse grid samples the native pixels.
  A bilinear value has no datum where one of the pixels it weighs has none.
- Masks are yes or no, never fractions.
- Geometry is planar: edges are straight in the CRS they are given in, geodesic or not; ``buffer``
  works in a local azimuthal projection.
- ``reduceToImage`` burns every pixel that a polygon touches (max, min, first, last).
- A median is exact whatever the number of images, and float64; composites have the default
  projection EPSG:4326 with pixels of one degree, which is the service's own rule.
- ``focalMax`` knows circles, measured on the grid that is asked for.
- Masked pixels are 0 in NPY and GeoTIFF; JPEG quality is arbitrary.
- Credentials are not looked at, projects are not told apart, nothing is ever written.
"""

from __future__ import annotations

from geo_assets_tests.emulators.earth_engine.assets import Assets, ImageFile

__all__ = ["Assets", "ImageFile"]
