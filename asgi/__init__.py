"""The entry: wiring only. `application` is the map of the service; start reading there."""
