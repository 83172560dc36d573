"""Whole tasks and projects on a CVAT server: keyframes from there, masks back to there, human work left alone.

Door: `settings`.
Imports: nothing.
"""
