"""Samples to train on, made from annotated videos, stills, cut-outs and backgrounds.

Door: `batches`, `sample_shape`, `sources`, `stills`, `training_samples`.
Imports: `model`, `model.data`, `model.program`, `model.training`.
"""
