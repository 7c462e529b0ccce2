"""Unit tests mirror apps/; integration tests use real PostgreSQL and Valkey; acceptance tests run real processes."""
