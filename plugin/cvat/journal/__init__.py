"""What Perclip has written into a task, and whose an annotation is.

Door: `joint_track`, `journal`, `ownership`.
Imports: `model`, `model.evaluation`, `model.learning`, `model.program`, `plugin`, `plugin.cvat.task`, `plugin.shapes`.
"""
