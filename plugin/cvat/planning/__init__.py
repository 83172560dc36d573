"""From a task's annotations to what is to be propagated: objects, keyframes, stretches, windows.

Door: `blocked_frames`, `comparison`, `stretches`, `task_objects`, `task_plan`, `task_planner`.
Imports: `model`, `model.evaluation`, `model.propagation`, `model.propose_reduce`, `plugin`, `plugin.cvat`,
`plugin.cvat.engine`, `plugin.cvat.journal`, `plugin.cvat.server`, `plugin.cvat.task`, `plugin.shapes`,
`plugin.sources`.
"""
