"""The project's own app, with the routes of the hosts and a store that can be turned off."""

from app.main import create_app
from app.settings import Settings
from tests.sessions.hosts.actions import WatchedStore
from tests.sessions.hosts.litestar_routes import ROUTES, hear

app = create_app(Settings.from_environment())
app.state.sessions.store = WatchedStore()
for handler in ROUTES:
    app.register(handler)
app.event_emitter.listeners["session_destroyed"].add(hear)
