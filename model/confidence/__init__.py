"""How much a mask is to be trusted: the cues that a network leaves, and the calibrated number that is made of them.

Door: `calibration`, `cues`, `mask_quality`.
Imports: nothing.
"""
