"""Three hosts of the session layer, each served by a real uvicorn.

`this_app.py` is the project's own app with a few more routes. `litestar_app.py` and `fastapi_app.py` are fresh apps:
they run in their own folders, with a copy of `app/sessions/` that is called `sessions` there. All handlers do the same
to the session: see `actions.py`.
"""
