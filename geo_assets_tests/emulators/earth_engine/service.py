"""The methods of the API: what a request asks for, and the answer to it when nothing is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import numpy as np

from geo_assets_tests.emulators.earth_engine import evaluation, service_errors
from geo_assets_tests.emulators.earth_engine.canned import LatticePixels, StaticPixels
from geo_assets_tests.emulators.earth_engine.discovery import algorithms
from geo_assets_tests.emulators.earth_engine.http_connections import Reply
from geo_assets_tests.emulators.earth_engine.rendering import CONTENT_TYPES
from geo_assets_tests.emulators.earth_engine.requests import (
    Bodies,
    Expression,
    chip_key,
    lattice_window,
    parsed,
)

if TYPE_CHECKING:
    from geo_assets_tests.emulators.earth_engine.assets import Assets
    from geo_assets_tests.emulators.earth_engine.http_connections import Request

_PROJECT = re.compile(r"/v1/(projects/[^/]+)/(.+)")
_KEPT_THUMBNAILS = 8_192


@dataclass(frozen=True)
class Call:
    """One request, understood as far as its faults and its place in the ledger need."""

    kind: str
    """``algorithms``, ``compute``, ``pixels``, ``thumbnail``, ``features``, ``asset`` or
    ``unknown``."""
    project: str
    target: str
    key: str
    """The chip's, or of anything else its path."""
    expression: Expression | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def pixels(self) -> bool:
        """Whether the answer is pixels, which go to the ledger."""
        return self.kind == "pixels"


@dataclass
class Service:
    """Answers calls out of assets, or canned."""

    assets: Assets
    canned: StaticPixels | LatticePixels | None = None
    _bodies: Bodies = field(default_factory=Bodies)
    _thumbnails: OrderedDict[str, tuple[Expression, dict[str, Any]]] = field(
        default_factory=OrderedDict
    )
    _offered: list[Any] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def understand(self, request: Request) -> Call:
        """Return what a request asks for.

        Raises:
            ServiceError: If it makes no sense, or asks for what is not there.
        """
        self._notice_changes()
        found = _PROJECT.fullmatch(unquote(request.path))
        if found is None:
            raise service_errors.not_found(request.path)
        project, target = found.groups()
        if request.method == "GET":
            return self._understand_get(request, project, target)
        if len(request.body) > service_errors.MAX_BODY_BYTES:
            raise service_errors.payload_too_large()
        if target.endswith(":getPixels"):
            fields = parsed(request.body)
            key = chip_key(fields["grid"]) if "grid" in fields else target
            return Call("pixels", project, target, key, None, fields)
        kinds = {
            "value:compute": "compute",
            "image:computePixels": "pixels",
            "thumbnails": "thumbnail",
            "table:computeFeatures": "features",
        }
        if target not in kinds:
            raise service_errors.not_found(request.path)
        expression, fields = self._bodies.read(request.body)
        grid = fields.get("grid")
        key = chip_key(grid) if grid else f"{target}/{expression.digest[:16]}"
        return Call(kinds[target], project, target, key, expression, fields)

    def _understand_get(self, request: Request, project: str, target: str) -> Call:
        if target.startswith("thumbnails/") and target.endswith(":getPixels"):
            with self._lock:
                known = self._thumbnails.get(target.removesuffix(":getPixels"))
            if known is None:
                raise service_errors.not_found(request.path)
            return Call("pixels", project, target, target, *known)
        kind = "algorithms" if target == "algorithms" else "asset"
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        return Call(kind, project, target, target, None, query)

    def answer(self, call: Call) -> Reply:
        """Return the answer.

        Raises:
            ServiceError: As the service refuses.
        """
        match call.kind:
            case "algorithms":
                return Reply(200, algorithms())
            case "compute":
                assert call.expression is not None
                # Computed anew: what it says of assets may have changed since.
                value = evaluation.evaluate(call.expression.graph, self.assets)
                return _json({"result": evaluation.info(value)})
            case "features":
                return self._features(call)
            case "thumbnail":
                return self._thumbnail(call)
            case "pixels":
                return self._pixels(call)
        return self._asset(call)

    def _pixels(self, call: Call) -> Reply:
        file_format = call.fields.get("fileFormat", "AUTO_JPEG_PNG")
        kind = CONTENT_TYPES.get(file_format, "application/octet-stream")
        grid, bands = call.fields.get("grid"), call.fields.get("bandIds")
        if isinstance(self.canned, StaticPixels):
            return Reply(200, self.canned.payload, kind)
        if isinstance(self.canned, LatticePixels) and file_format == "NPY" and grid:
            names = tuple(bands or self.canned.bands or self._image(call).named())
            window = lattice_window(grid)
            size = window[2] * window[3] * len(names) * np.dtype(self.canned.dtype).itemsize
            if size > service_errors.MAX_PIXEL_BYTES:
                raise service_errors.too_large(size)
            return Reply(200, self.canned.payload(window, names), kind)
        body = evaluation.render(
            self._image(call), file_format, grid, bands, call.fields.get("visualizationOptions")
        )
        return Reply(200, body, kind)

    def _image(self, call: Call) -> Any:
        if call.expression is None:
            return self.assets.image(self._known_id(call, ":getPixels"))
        return evaluation.image_of(
            call.expression.value(lambda graph: evaluation.evaluate(graph, self.assets))
        )

    def _thumbnail(self, call: Call) -> Reply:
        assert call.expression is not None
        shape = json.dumps(call.fields | {"expression": ""}, sort_keys=True).encode()
        name = f"thumbnails/{call.expression.digest[:32]}-{_short_digest(shape)}"
        with self._lock:
            self._thumbnails[name] = (call.expression, call.fields)
            while len(self._thumbnails) > _KEPT_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return _json({"name": f"{call.project}/{name}"})

    def _features(self, call: Call) -> Reply:
        assert call.expression is not None
        value = evaluation.evaluate(call.expression.graph, self.assets)
        features = evaluation.features_of(value)
        first = int(call.fields.get("pageToken") or 0)
        stop = first + int(call.fields.get("pageSize") or 1_000)
        answer: dict[str, Any] = {"type": "FeatureCollection", "features": features[first:stop]}
        if stop < len(features):
            answer["nextPageToken"] = str(stop)
        return _json(answer)

    def _asset(self, call: Call) -> Reply:
        if not call.target.endswith(":listAssets"):
            return _json(self.assets.describe(self._known_id(call, "")))
        folder = self._known_id(call, ":listAssets")
        images = self.assets.collection(folder).images
        first = int(call.fields.get("pageToken") or 0)
        stop = first + int(call.fields.get("pageSize") or 1_000)
        answer: dict[str, Any] = {
            "assets": [self.assets.describe(str(image.id)) for image in images[first:stop]]
        }
        if stop < len(images):
            answer["nextPageToken"] = str(stop)
        return _json(answer)

    def _known_id(self, call: Call, method: str) -> str:
        """Return an asset's id: public and legacy assets go by the part after their project."""
        target = call.target.removesuffix(method)
        if not target.startswith("assets/"):
            raise service_errors.not_found(call.target)
        if call.project in {"projects/earthengine-public", "projects/earthengine-legacy"}:
            return target.removeprefix("assets/")
        return f"{call.project}/{target}"

    def _notice_changes(self) -> None:
        """Evaluate expressions anew once other assets are offered."""
        offered = [
            *self.assets.tables.values(),
            *(image for images in self.assets.collections.values() for image in images),
        ]
        with self._lock:
            before, self._offered = self._offered, offered
        if len(before) != len(offered) or any(
            old is not new for old, new in zip(before, offered, strict=True)
        ):
            self._bodies.forget()


def _json(value: Any) -> Reply:
    return Reply(200, json.dumps(value, separators=(",", ":")).encode())


def _short_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
