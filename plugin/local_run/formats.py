"""The formats that results can be written in beside the masks, and the file each one gives."""

FORMATS = {
    "overlay": "overlay.mp4",
    "coco": "instances.json",
    "cvat-video": "cvat_video.xml",
    "cvat-images": "cvat_images.xml",
    "contact-sheet": "contact_sheet.png",
    "confidence": "confidence.png",
    "report": "report.html",
}
