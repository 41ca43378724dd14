"""A fresh Litestar app, with nothing but a copy of the session layer."""

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig

from app.sessions.litestar import SessionPlugin
from tests.sessions.hosts.actions import WatchedStore
from tests.sessions.hosts.litestar_routes import ROUTES, hear

app = Litestar(
    ROUTES,
    plugins=[SessionPlugin(WatchedStore())],
    listeners=[hear],
    cors_config=CORSConfig(allow_origins=["https://front.example"]),
    template_config=TemplateConfig(directory=".", engine=JinjaTemplateEngine),
)
