"""The app. Before anything of it is imported, it is checked that what it needs is installed."""

import sys
from importlib.util import find_spec

missing = [name for name in ("click", "jinja2", "litestar", "msgspec") if find_spec(name) is None]
if missing:
    sys.stderr.write(
        f"Cannot start: {sys.executable} lacks {', '.join(missing)}. "
        f"Try: {sys.executable} -m pip install -r requirements.txt\n"
    )
    sys.exit(3)  # see the end of main.py
