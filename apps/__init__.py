"""Doors, record, work: a file enters through a door, is recorded, is worked on; only events travel back out."""
