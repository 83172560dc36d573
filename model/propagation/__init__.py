"""The propagation engine: keyframes in, a mask for every frame out, clip by clip (PCVOS 3).

Door: `layers`, `per_clip_pass`, `prediction`, `propagator`, `run_record`.
Imports: `model`, `model.confidence`, `model.consistency`, `model.inference`, `model.memory`, `model.network`.
"""
