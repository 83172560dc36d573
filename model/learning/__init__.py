"""Learning from the keyframes of a task: the network is fine-tuned on what a person drew in this very video.

Door: `check`, `kept_lessons`, `learned_weights`, `learner`, `lesson`, `project_check`,
`project_learner`, `recipe`, `record`, `reduced_lesson`.
Imports: `model`, `model.evaluation`, `model.inference`, `model.network`, `model.program`, `model.propagation`,
`model.training`, `model.training.samples`.
"""
