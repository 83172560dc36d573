"""One run over tasks, from keyframes to written annotations; taking it back; and learning from a project.

Door: `bulk`, `bulk_report`, `learned_project`, `learning_report`, `project_learning`, `task_review`, `task_run`,
`undo`.
Imports: `model`, `model.evaluation`, `model.learning`, `model.network`, `model.program`, `model.propose_reduce`,
`model.training.samples`, `plugin.cvat`, `plugin.cvat.engine`, `plugin.cvat.journal`, `plugin.cvat.planning`,
`plugin.cvat.review`, `plugin.cvat.server`, `plugin.cvat.task`, `plugin.cvat.writing`, `plugin.shapes`,
`plugin.sinks`, `plugin.sources`.
"""
