"""The feed, part by part."""
