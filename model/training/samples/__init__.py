"""Samples to train on, made from annotated videos, keyframes, stills, cut-outs and backgrounds.

Door: `batches`, `keyframe_clips`, `sample_shape`, `sources`, `stills`, `training_samples`.
Imports: `model`, `model.data`, `model.program`, `model.training`.
"""
