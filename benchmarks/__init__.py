"""Measurements, never asserted in tests."""

from model.program.command_line import calm_threads

calm_threads()  # here, as it must come before torch is loaded
