"""Perclip as a Nuclio function of CVAT: one request carries an object through a clip."""
