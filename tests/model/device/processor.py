"""Marks of tests that depend on the processor's instructions: where it lacks them they are skipped, and say so."""

import pytest

from model.device.cpu_features import can_bfloat16
from model.network.quantised_convolution import can_quantise

on_all_processors = pytest.mark.processor
needs_int8 = pytest.mark.skipif(not can_quantise(), reason="this processor has no instructions for 8-bit integers")
needs_bfloat16 = pytest.mark.skipif(not can_bfloat16(), reason="this processor cannot convolve in bfloat16")
