"""The error answers of Earth Engine's service, with the texts that its users have met.

Here live bodies and codes only; when they are given is decided in ``faults`` and ``quota``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace


@dataclass(eq=False)
class ServiceError(Exception):
    """An error in the form of Google's Cloud APIs."""

    code: int
    status: str
    message: str
    reason: str | None = None
    """``error.errors[0].reason``, where the service gives one."""
    retry_after_s: float | None = None
    """Value of the header Retry-After, where the answer has it."""

    def body(self) -> bytes:
        """Return the JSON that the service sends."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "status": self.status,
        }
        if self.reason is not None:
            error["errors"] = [
                {"message": self.message, "domain": "usageLimits", "reason": self.reason}
            ]
        return json.dumps({"error": error}).encode()

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that go beside the body."""
        if self.retry_after_s is None:
            return ()
        return (("Retry-After", f"{self.retry_after_s:g}"),)

    def with_retry_after(self, seconds: float) -> ServiceError:
        """Return the same error that names the wait it asks for."""
        return replace(self, retry_after_s=seconds)


TOO_MANY_REQUESTS = ServiceError(
    429,
    "RESOURCE_EXHAUSTED",
    "Too Many Requests: Request was rejected because the request rate or concurrency limit"
    " was exceeded.",
)
RATE_QUOTA = ServiceError(
    429,
    "RESOURCE_EXHAUSTED",
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read"
    " requests per minute per user' of service 'earthengine.googleapis.com' for consumer"
    " 'project_number:123456789012'.",
    reason="rateLimitExceeded",
)
QUOTA_FORBIDDEN = replace(RATE_QUOTA, code=403, status="PERMISSION_DENIED")
PERMISSION_FORBIDDEN = ServiceError(
    403,
    "PERMISSION_DENIED",
    "Permission 'earthengine.computations.create' denied on resource 'projects/test-project'"
    " (or it may not exist).",
)
INTERNAL = ServiceError(500, "INTERNAL", "An internal error has occurred.")
UNAVAILABLE = ServiceError(503, "UNAVAILABLE", "The service is currently unavailable.")
MEMORY_LIMIT = ServiceError(400, "INVALID_ARGUMENT", "User memory limit exceeded.")
TIMED_OUT = ServiceError(400, "INVALID_ARGUMENT", "Computation timed out.")
UNAUTHENTICATED = ServiceError(
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login"
    " cookie or other valid authentication credential.",
)

MAX_PIXEL_BYTES = 50_331_648
MAX_BODY_BYTES = 10_485_760


def too_large(size: int) -> ServiceError:
    """Return the refusal of pixels above 48 MiB."""
    return ServiceError(
        400,
        "INVALID_ARGUMENT",
        f"Total request size ({size} bytes) must be less than or equal to {MAX_PIXEL_BYTES} bytes.",
    )


def payload_too_large() -> ServiceError:
    """Return the refusal of an expression above 10 MiB."""
    return ServiceError(
        400,
        "INVALID_ARGUMENT",
        f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.",
    )


def not_found(path: str) -> ServiceError:
    """Return the answer to a path or an asset that is not there."""
    return ServiceError(404, "NOT_FOUND", f"'{path}' does not exist or is not accessible.")


def invalid(message: str) -> ServiceError:
    """Return the answer to a request that makes no sense."""
    return ServiceError(400, "INVALID_ARGUMENT", message)
