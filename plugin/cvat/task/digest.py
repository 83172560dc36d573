"""One short digest for all that is compared by content."""

import hashlib
import json
from typing import Any


def digest_of(content: Any) -> str:
    """32 characters that differ where some JSON differs."""
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).hexdigest()[:32]
