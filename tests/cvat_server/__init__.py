"""A local HTTP server that speaks CVAT's API as measured, its traps included."""

from tests.cvat_server.server import FakeCvat
from tests.cvat_server.state import Attribute, CvatState, FakeJob, FakeLabel, FakeTask

__all__ = ["Attribute", "CvatState", "FakeCvat", "FakeJob", "FakeLabel", "FakeTask"]
