"""What propagates the masks of a task: the network in this process, or a deployed function.

Door: `engine`, `function_engine`.
Imports: `model`, `model.data`, `model.learning`, `model.network`, `model.propose_reduce`, `plugin`,
`plugin.cvat.server`, `plugin.shapes`.
"""
