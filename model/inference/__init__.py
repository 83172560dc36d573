"""The network made ready to run: device, number format, regions; frames to network input, logits to label maps.

Door: `clip_images`, `clip_segmentation`, `framing`, `label_map`, `object_cells`, `prepared_network`, `region`,
`region_cover`.
Imports: `model`, `model.device`, `model.network`.
"""
