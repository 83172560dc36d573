"""The networks as the papers draw them, their layers and their checkpoints.

Door: `activated_convolution`, `checkpoint`, `checkpoint_files`, `compact_trunk`, `compact_value_encoder`, `config`,
`decoder`, `fitted_options`, `input_constants`, `pcvos`, `quantised_convolution`, `refinement`, `residual_block`,
`resnet`, `segmentation_network`, `soft_aggregation`.
Imports: `model`, `model.confidence`, `model.device`.
"""
