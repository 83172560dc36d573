"""The memory of keys and values: what is kept, and how it is read (STCN eq. 3, PCVOS 3.2).

Door: `focused_read`, `memory_bank`, `memory_read`, `memory_thinning`.
Imports: `model`, `model.inference`.
"""
