"""The machine that the network runs on: its instructions, its memory, the way there.

Door: `allocator`, `cpu_features`, `device_memory`, `primitive_cache`, `upload`.
Imports: nothing.
"""
