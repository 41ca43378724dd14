"""Checks that the app's dependencies are installed. `main.py` imports this module before anything else."""

import sys
from importlib.util import find_spec

missing = [name for name in ("click", "jinja2", "litestar", "markupsafe", "msgspec", "rich") if find_spec(name) is None]
if missing:
    sys.stderr.write(
        f"Cannot start: {sys.executable} lacks {', '.join(missing)}. "
        f"Try: {sys.executable} -m pip install -r requirements.txt\n"
    )
    sys.exit(3)  # see the end of main.py
