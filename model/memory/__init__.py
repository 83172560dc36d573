"""The memory: one interface, kept as tokens (STCN, PCVOS 3.2), densely (STM 3.2) or in bases (SWEM 3.2).

Door: `focused_read`, `kept_frames`, `memory`, `memory_read`, `memory_thinning`, `new_memory`.
Imports: `model`, `model.inference`.
"""
