"""The feed's three readers: WebSocket, Server-Sent Events, long polling. One `Reader` behind all of them."""
