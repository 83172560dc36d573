"""Everything that talks to CVAT or to a person: sources, shapes, sinks and the command line."""
