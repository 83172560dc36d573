"""What is found out about a mask by looking again: cycle consistency, continuity, and whether an absence is explained.

Door: `pass_observer`.
Imports: `model.confidence`, `model.inference`, `model.memory`, `model.network`.
"""
