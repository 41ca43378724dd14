"""The demo: a quote that a visitor can change. Delete this package with its templates, static files and tests."""

from .routes import create_router

__all__ = ["create_router"]
