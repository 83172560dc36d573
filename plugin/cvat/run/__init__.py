"""One run over tasks, from keyframes to written annotations; and taking it back.

Door: `bulk`, `bulk_report`, `learned_project`, `learning_report`, `project_learning`, `task_review`, `task_run`,
`undo`.
Imports: `model`, `model.evaluation`, `model.learning`, `model.propose_reduce`, `plugin.cvat`, `plugin.cvat.engine`,
`plugin.cvat.journal`, `plugin.cvat.planning`, `plugin.cvat.review`, `plugin.cvat.server`, `plugin.cvat.task`,
`plugin.cvat.writing`, `plugin.shapes`, `plugin.sinks`, `plugin.sources`.
"""
