"""Which masks on different frames are one object (Propose-Reduce).

Door: `reduction`.
Imports: `model`.
"""
