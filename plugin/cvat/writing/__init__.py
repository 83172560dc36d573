"""Writing annotations into jobs, in the face of people who work there at the same time.

Door: `job_writer`, `joint_writer`, `written_shapes`.
Imports: `model`, `plugin.cvat`, `plugin.cvat.journal`, `plugin.cvat.planning`, `plugin.cvat.server`,
`plugin.cvat.task`, `plugin.shapes`.
"""
