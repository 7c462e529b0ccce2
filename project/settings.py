"""Django settings. The environment is read here and nowhere else; every unit is in its name.

The README's settings table describes each FILEWIRE_ variable, and a test holds the two together.
"""

from pathlib import Path
from typing import Any

import dj_database_url

from project import environment as env
from project import layer
from project.secret import kept_secret

BASE_DIR = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024

# --- the service ---------------------------------------------------------------------------------------------

FILEWIRE_DATA_DIR = Path(env.text("FILEWIRE_DATA_DIR", str(BASE_DIR / "var"))).resolve()
FILEWIRE_ALLOWED_ORIGINS = env.listing("FILEWIRE_ALLOWED_ORIGINS")
FILEWIRE_LOG_LEVEL = env.text("FILEWIRE_LOG_LEVEL", "INFO").upper()

# upload: what a request may ask for
FILEWIRE_MAX_FILE_BYTES = env.integer("FILEWIRE_MAX_FILE_BYTES", 5 * 1024 * MIB, minimum=1)
FILEWIRE_MAX_PARTS = env.integer("FILEWIRE_MAX_PARTS", 32, minimum=1)
FILEWIRE_MAX_PART_HEADER_BYTES = env.integer("FILEWIRE_MAX_PART_HEADER_BYTES", 8192, minimum=256)
FILEWIRE_MAX_NAME_BYTES = env.integer("FILEWIRE_MAX_NAME_BYTES", 255, minimum=16, maximum=255)
FILEWIRE_UPLOAD_IDLE_SECONDS = env.seconds("FILEWIRE_UPLOAD_IDLE_SECONDS", 30, minimum=0.1)
FILEWIRE_UPLOAD_TOTAL_SECONDS = env.seconds("FILEWIRE_UPLOAD_TOTAL_SECONDS", 3600, minimum=0.1)
FILEWIRE_ACCEPT = env.listing("FILEWIRE_ACCEPT")
FILEWIRE_REJECT = env.listing("FILEWIRE_REJECT")
FILEWIRE_UPLOAD_RATE = env.text("FILEWIRE_UPLOAD_RATE") or None
FILEWIRE_IDEMPOTENCY_SECONDS = env.seconds("FILEWIRE_IDEMPOTENCY_SECONDS", 24 * 3600, minimum=1)
FILEWIRE_IDEMPOTENCY_WAIT_SECONDS = env.seconds("FILEWIRE_IDEMPOTENCY_WAIT_SECONDS", 5)

# upload: how its bytes and row become safe
FILEWIRE_COMMIT_BATCH_FILES = env.integer("FILEWIRE_COMMIT_BATCH_FILES", 128, minimum=1)
FILEWIRE_MAX_UPLOADS = env.integer("FILEWIRE_MAX_UPLOADS", 512, minimum=1)
FILEWIRE_COMMIT_QUEUE_FILES = env.integer("FILEWIRE_COMMIT_QUEUE_FILES", 1024, minimum=1)
FILEWIRE_FSYNC = env.switch("FILEWIRE_FSYNC", default=False)
FILEWIRE_DATABASE_THREADS = env.integer("FILEWIRE_DATABASE_THREADS", 4, minimum=1)

# the feed
FILEWIRE_FEED_EVENTS = env.integer("FILEWIRE_FEED_EVENTS", 100_000, minimum=100)

FILEWIRE_PING_SECONDS = env.seconds("FILEWIRE_PING_SECONDS", 4, minimum=0.5)

# the work
FILEWIRE_WORKER_PROCESSES = env.integer("FILEWIRE_WORKER_PROCESSES", 2, minimum=1)
FILEWIRE_PROCESSING_SECONDS = env.seconds("FILEWIRE_PROCESSING_SECONDS", 300, minimum=1)
FILEWIRE_PROCESSING_CPU_SECONDS = env.integer("FILEWIRE_PROCESSING_CPU_SECONDS", 300, minimum=1)
FILEWIRE_PROCESSING_MEMORY_BYTES = env.integer("FILEWIRE_PROCESSING_MEMORY_BYTES", 1024 * MIB, minimum=256 * MIB)
FILEWIRE_PROCESSING_OUTPUT_BYTES = env.integer("FILEWIRE_PROCESSING_OUTPUT_BYTES", 256 * MIB, minimum=MIB)
FILEWIRE_VISIBILITY_SECONDS = env.integer(
    "FILEWIRE_VISIBILITY_SECONDS", int(FILEWIRE_PROCESSING_SECONDS) + 3600, minimum=1
)
FILEWIRE_LEASE_SECONDS = env.seconds("FILEWIRE_LEASE_SECONDS", 15, minimum=1)
FILEWIRE_MAX_ATTEMPTS = env.integer("FILEWIRE_MAX_ATTEMPTS", 3, minimum=1)
FILEWIRE_MAX_RETRIES = env.integer("FILEWIRE_MAX_RETRIES", 8)
FILEWIRE_REDISPATCH_SECONDS = env.seconds("FILEWIRE_REDISPATCH_SECONDS", 20, minimum=1)
FILEWIRE_HANG_SECONDS = env.seconds("FILEWIRE_HANG_SECONDS", 20, minimum=2)
FILEWIRE_REPUBLISH_SECONDS = env.seconds("FILEWIRE_REPUBLISH_SECONDS", 3, minimum=0.1)
FILEWIRE_ORPHAN_SECONDS = env.seconds("FILEWIRE_ORPHAN_SECONDS", 900, minimum=1)
FILEWIRE_SWEEP_SECONDS = env.seconds("FILEWIRE_SWEEP_SECONDS", 2, minimum=0.1)

# --- Django --------------------------------------------------------------------------------------------------

DEBUG = env.switch("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY") or kept_secret(FILEWIRE_DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = FILEWIRE_ALLOWED_ORIGINS

INSTALLED_APPS = [
    "project",
    "daphne",  # before staticfiles: it gives `runserver` an ASGI server
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "apps.files",
    "apps.events",
    "apps.uploads",
    "apps.api",
    "apps.processing",
]

# The doors' own, short and async-native chain (asgi/doors.py): each of Django's stock middlewares would cost
# every upload a hop into a thread.
DOOR_MIDDLEWARE = ["apps.api.requests.identify", "apps.api.origins.AllowedOrigins"]

# Everything that is not a door (the admin, the documents) goes through Django's stock handler and chain.
MIDDLEWARE = [
    "apps.api.requests.identify",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

CSRF_FAILURE_VIEW = "apps.api.problems.csrf_failure"
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "asgi.application.application"
APPEND_SLASH = False  # both spellings are routed: a POST cannot be redirected
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
STATIC_URL = "/static/"

# --- database ------------------------------------------------------------------------------------------------


def database(url: str) -> dict[str, Any]:
    """Django's settings for this database URL; SQLite gets what several processes writing at once need."""
    # A connection stays open as long as its thread: new ones cost PostgreSQL 8 ms each.
    config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True))
    if config["ENGINE"].endswith("sqlite3"):
        config["OPTIONS"] = {
            # IMMEDIATE takes the write lock at BEGIN, where the busy timeout applies; a deferred transaction
            # that turns into a writer fails at once with "database is locked".
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA cache_size=-16000;"
                # In WAL mode NORMAL survives a crash of every process, FULL a power cut too.
                f"PRAGMA synchronous={'FULL' if FILEWIRE_FSYNC else 'NORMAL'}"
            ),
        }
    else:
        # A server that vanished without a word (a lost machine, a cut network) is noticed after some 15 s.
        vanished = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
        config["OPTIONS"] = {"connect_timeout": 3, **vanished, **config.get("OPTIONS", {})}
    return config


DATABASE_URL = env.text("DATABASE_URL") or f"sqlite:///{FILEWIRE_DATA_DIR / 'filewire.sqlite3'}"
DATABASES = {"default": database(DATABASE_URL)}

# --- Redis: broker, channel layer, feed ----------------------------------------------------------------------

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
REDIS_CONNECT_SECONDS = 1.0
REDIS_ANSWER_SECONDS = 2.0

CHANNEL_LAYERS = layer.channel_layers(REDIS_URL, REDIS_CONNECT_SECONDS, REDIS_ANSWER_SECONDS)

# --- REST framework ------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["apps.api.rendering.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "apps.api.negotiation.RememberedNegotiation",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is a parameter like any other: not known
    "EXCEPTION_HANDLER": "apps.api.problems.exception_response",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "NUM_PROXIES": env.integer("FILEWIRE_PROXIES", 0),
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Filewire",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Files in, processed, watched live.",
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.0",  # whose schemas are JSON Schema: the results' are
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {"StatusEnum": "apps.files.models.Status"},
}

CORS_ALLOWED_ORIGINS = FILEWIRE_ALLOWED_ORIGINS
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "range",
    "x-request-id",
    "x-requested-with",
]
CORS_EXPOSE_HEADERS = [
    "accept-ranges",
    "content-disposition",
    "content-range",
    "etag",
    "idempotency-replayed",
    "location",
    "retry-after",
    "x-request-id",
]

# --- logs ----------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "apps.files.context.ContextFilter"}},
    "formatters": {
        "line": {
            "format": "%(asctime)s %(levelname)s %(name)s request_id=%(request_id)s file_id=%(file_id)s %(message)s"
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["context"]},
    },
    "root": {"handlers": ["stderr"], "level": FILEWIRE_LOG_LEVEL},
    "loggers": {
        # While Redis is away this logs a traceback a second; the hub says the same in one line.
        "channels_redis.pubsub": {"level": "CRITICAL"},
        # Every 4xx answer is a client's affair, already in the answer.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "daphne": {"level": "WARNING"},
        # Two lines a socket; `web` says itself where it listens.
        "uvicorn.error": {"level": "WARNING"},
        # Two lines a file; `run` says more in one.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
