"""Whole tasks and projects on a CVAT server: keyframes from there, masks back to there, human work left alone.

Door: `open_task`, `settings`.
Imports: `plugin.cvat.journal`, `plugin.cvat.server`, `plugin.cvat.task`.
"""
