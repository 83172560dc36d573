"""The memory: one interface, kept as tokens (STCN, PCVOS 3.2), densely (STM 3.2) or in bases (SWEM 3.2).

Door: `bases`, `bases_memory`, `focused_read`, `kept_frames`, `memory`, `memory_read`, `memory_thinning`, `new_memory`,
`packed_bases`.
Imports: `model`, `model.inference`.
"""
