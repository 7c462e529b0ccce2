"""THE FEED: one bounded Redis Stream of events, whose ids are every client's cursor, and its three readers.

`event` has the envelope, `publish` appends and announces, `stream` reads back, `hub` follows it live once per
process; `readers` are WebSocket, Server-Sent Events and long polling. Never changes a file.
"""
