"""A loopback Earth Engine: the service as the official client meets it, over local files.

``server`` speaks HTTP, ``evaluation`` answers expressions; ``faults`` and ``quota`` make it as
hard to live with as the real one. What it simplifies:

- Algorithms: those that the campaigns, the older scripts and thumbnails use; any other is refused
  by name (400), ``Image.expression`` and palettes among them.
- Data types: the service tracks the range of every band; here arithmetic of integers gives int64,
  of anything else float64; a constant has the smallest dtype that holds it; ``where``, ``unmask``
  and reducers that pick a value unite dtypes. Casts cut fractions and stop at the limits.
- Arithmetic keeps of an image's properties its ``system:index`` alone.
- Sampling: nearest and bilinear (bicubic is refused), without pyramids: a coarse grid samples the
  native pixels. A bilinear value has no datum where one of the pixels it weighs has none, and a
  band keeps its dtype: integers that are asked for as they are lose their fraction.
- An image is one raster; all images of a composite have the first one's bands.
- Filters are objects of the client; filters written as text are refused. An element that lacks the
  property is not kept by a comparison, and is kept by its negation.
- Masks are yes or no, never fractions.
- Geometry is planar: edges are straight in the CRS they are given in, geodesic or not; ``buffer``
  works in a local azimuthal projection.
- ``reduceToImage`` burns every pixel that a polygon touches (max, min, first, last).
- A median is exact whatever the number of images, and float64; composites have the default
  projection EPSG:4326 with pixels of one degree, which is the service's own rule.
- ``focalMax`` knows circles, measured in pixels of the grid that is asked for; metres are units of
  that grid's CRS; it spreads into masked pixels. ``clip`` counts pixels by their centres.
- ``unmask`` fills up to the edges of an image, of ``addBands`` those of the first; composites,
  constants and burned tables have none. ``clipToBoundsAndScale`` fills the bounds in the image's
  CRS, whatever the outline.
- ``count`` is 0 where no image has a datum, and double; ``visualize`` rounds to the nearest and
  refuses a min that equals the max.
- ``reproject`` with a scale puts the corner of a pixel at the origin of the CRS; a scale in degrees
  is measured along the equator.
- Masked pixels are 0 in NPY and GeoTIFF; JPEG quality is arbitrary.
- Credentials are not looked at, projects are not told apart, nothing is ever written.
"""

from __future__ import annotations

from geo_assets_tests.emulators.earth_engine.assets import Assets, ImageFile

__all__ = ["Assets", "ImageFile"]
