"""Hide pydantic from the processes that the tests start: a deployment does not have it.

FastAPI, one of the hosts in tests/sessions, needs it. Where it is installed, Litestar loads it at every start, which
takes a third of the start-up time.
"""

import sys

sys.modules["pydantic"] = None  # type: ignore[assignment]
