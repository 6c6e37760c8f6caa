"""What is wrong with what was published: the answers to the questions of checks.

Each function answers for one partition with a row for each problem; nothing is changed.
"""

from __future__ import annotations

from typing import Any

Problems = list[dict[str, Any]]
"""One row for each problem, all with the same keys."""
