"""DOOR: questions. The list, the file, its bytes, re-processing and deletion; and the shell of every HTTP door.

`view` (asynchronous DRF views), `requests` (request ids), `rendering` and `problems` (one error shape) are used by
all doors. Never decides about a file's state: that is the record's.
"""
