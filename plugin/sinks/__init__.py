"""Where results go: mask pictures, videos, plots, reports and annotation files.

Door: `coco_json`, `confidence_plot`, `contact_sheet`, `cvat_xml`, `doubt`, `html_page`, `html_report`, `mask_folder`,
`overlay`, `overlay_video`, `palette`, `video_writer`.
Imports: `model`, `model.program`, `plugin.keyframes`, `plugin.shapes`, `plugin.sources`.
"""
