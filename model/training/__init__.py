"""Training of the networks: per clip, as PCVOS 3.6 does it.

Door: `arguments`, `program`, `recipe`, `schedule`, `trainer`,
`training_log`.
Imports: `model`, `model.confidence`, `model.data`, `model.device`, `model.evaluation`, `model.inference`,
`model.memory`, `model.network`, `model.program`, `model.propagation`, `model.training.samples`.
"""
