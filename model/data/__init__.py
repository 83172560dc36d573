"""Pictures, mask pictures and data sets on disk, read without trust.

Door: `annotated_sequences`, `dataset_files`, `image_file`, `inside_out`, `mask_picture`, `natural_order`,
`picture_files`, `pixel_formats`.
Imports: `model`, `model.program`.
"""
