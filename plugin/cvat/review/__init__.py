"""Where a person should look: doubtful frames, marked in CVAT and shown in pictures.

Door: `doubtful_masks`, `doubts`, `pictures`.
Imports: `model`, `plugin`, `plugin.cvat`, `plugin.cvat.journal`, `plugin.cvat.planning`, `plugin.cvat.server`,
`plugin.cvat.task`, `plugin.cvat.writing`, `plugin.shapes`, `plugin.sinks`, `plugin.sources`.
"""
