"""Single frames segmented for a caller that keeps the state: tracker calls.

Door: `bounded_cache`, `frame_recall`, `frame_tracker`, `remembered_frames`.
Imports: `model`, `model.confidence`, `model.data`, `model.inference`, `model.memory`, `model.network`,
`model.propagation`.
"""
