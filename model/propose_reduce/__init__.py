"""Which masks on different frames are one object (Propose-Reduce).

Door: `keyframes`, `links`, `mask_identity`, `reduction`.
Imports: `model`.
"""
