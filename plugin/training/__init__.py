"""Training data from CVAT: exported tasks beside all that `model.training` reads.

Door: `training_data`.
Imports: `model`, `model.data`, `model.propagation`, `model.training.samples`, `plugin.keyframes`.
"""
