"""Measurements, never asserted in tests."""

import os

# As the command line of the plugin sets it, and why; here, as it must be set before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
