"""Settings, URLs and the Celery application: configuration only, no behaviour of the service."""
