"""Perclip as a Nuclio function of CVAT: one request carries an object through a clip.

Door: `local_server`.
Imports: `model`, `model.confidence`, `model.data`, `model.inference`, `model.learning`, `model.memory`,
`model.network`, `model.program`, `model.propagation`, `model.tracking`, `plugin.shapes`.
"""
