"""Serve a host whose environment has no click, which uvicorn itself needs: `serve.py APP PORT FOLDER`.

uvicorn imports click from FOLDER. Then both are taken away, so the app cannot import it.
"""

import sys

application, port, server_only = sys.argv[1:]
sys.path.append(server_only)
import uvicorn  # noqa: E402

sys.path.remove(server_only)
for name in [
    name for name, module in sys.modules.items() if (getattr(module, "__file__", "") or "").startswith(server_only)
]:
    del sys.modules[name]
sys.path[0] = "."
uvicorn.run(application, port=int(port))
