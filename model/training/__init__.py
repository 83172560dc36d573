"""Training of the networks: per clip, as PCVOS 3.6 does it."""
