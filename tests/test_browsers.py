"""The tests drive three browsers through the same API, and `limits.py` lists what each cannot do."""

import importlib
import inspect
import re

import pytest
from playwright import sync_api

from tests.browsers import ENGINES, webkit
from tests.browsers.limits import LIMITS

PAIRS = [
    (webkit.BrowserContext, sync_api.BrowserContext),
    (webkit.Page, sync_api.Page),
    (webkit.Locator, sync_api.Locator),
    (webkit.Keyboard, sync_api.Keyboard),
    (webkit.Dialog, sync_api.Dialog),
    (webkit.Requests, sync_api.APIRequestContext),
]
OWN = {"run", "send", "script", "states", "wait", "element", "step"}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_our_webkit_driver_has_playwrights_api(ours: type, theirs: type) -> None:
    for name, method in inspect.getmembers(ours, inspect.isfunction):
        if name.startswith("_") or name in OWN:
            continue
        known = set(inspect.signature(getattr(theirs, name)).parameters) | {"selector"}  # its name differs there
        assert set(inspect.signature(method).parameters) <= known, f"{theirs.__name__}.{name}"


@pytest.mark.parametrize("test", LIMITS)
def test_each_limit_names_a_test_that_runs_in_several_browsers(test: str) -> None:
    module, function, value = re.fullmatch(r"(.+)::(\w+)(?:\[(.+)\])?", test).groups()  # type: ignore[union-attr]
    function = getattr(importlib.import_module(f"tests.{module.replace('/', '.')}"), function)
    assert {"visit", "page_without_cookies"} & set(inspect.signature(function).parameters)
    if value:
        cases = [case for mark in function.pytestmark if mark.name == "parametrize" for case in mark.args[1]]
        assert value in [str(getattr(case, "values", [case])[0]) for case in cases]
    assert set(LIMITS[test]) < set(ENGINES), "every test runs in at least one engine"
    assert all(LIMITS[test].values()), "each needs a reason"
