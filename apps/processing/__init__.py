"""THE WORK: from the row that waits to the row that is done.

`dispatch` sends what waits to the broker, `tasks` are Celery's shells, `run` claims, detects, processes and records;
`contract`, `detect` and `processors` know neither Django nor the database: each is a function of a path.
"""
