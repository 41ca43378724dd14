"""The app. Start with `main.py`."""
