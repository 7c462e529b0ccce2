"""THE RECORD: what is known of each file, where its bytes lie, and every change of its state.

Knows nothing of HTTP and nothing of Celery. The row is the outbox: what has still to be sent to the queue or to
the feed is written in the same statement as the change itself.
"""
