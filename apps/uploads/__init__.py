"""DOOR: bytes in. One upload's way: `view` → `multipart` → `sink` → `commit`.

The body is read as it arrives, parsed, counted, hashed and written in one pass; the row and the bytes become safe
together, with those of the uploads that arrived meanwhile. What does not become a File leaves nothing behind.
"""
