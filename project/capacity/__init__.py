"""What the service needs at a rate of uploads, and what breaks first: arithmetic on measured costs.

Pure: no Django, no database, no clock. `costs` reads the one file of measured figures (`costs.json`, written by
`python -m tests.load.costs`), `queueing` has the formulas of waiting, `model` puts the two together, `report` says it
in words, and `manage.py capacity` is the shell. It never guesses: what is neither measured nor given is not in the
answer.
"""
