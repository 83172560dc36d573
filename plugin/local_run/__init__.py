"""The main job without CVAT: keyframes through a video into a folder of results.

Door: `exports`, `formats`, `propagation_job`, `sample`.
Imports: `model`, `model.data`, `model.evaluation`, `model.learning`, `model.network`, `model.program`,
`model.propagation`, `plugin`, `plugin.keyframes`, `plugin.shapes`, `plugin.sinks`, `plugin.sources`.
"""
