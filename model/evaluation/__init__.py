"""The measures of the field: J, F, and the semi-supervised evaluation of DAVIS.

Door: `metrics`, `scores`, `semi_supervised`, `worst_frames`.
Imports: `model`, `model.data`, `model.propagation`.
"""
