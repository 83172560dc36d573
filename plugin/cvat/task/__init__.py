"""Reading a task: its layout, its frames, its annotations, and what people drew.

Door: `annotations`, `chunk_store`, `drawn`, `frames`, `layout`.
Imports: `model`, `model.data`, `model.program`, `plugin`, `plugin.cvat.server`, `plugin.shapes`, `plugin.sources`.
"""
