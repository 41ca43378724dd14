"""What an engine, or the program that drives it, cannot do: test → engine → reason. Such a test is skipped by name.

A value in brackets is one of the test's parameters. `test_browsers.py` checks that each test named here exists and runs
in several engines.
"""

NO_SPECULATION = "the engine has no speculation rules"
NO_OFFLINE = "the driver cannot take the network away"
NO_BEFOREUNLOAD = "the driver answers beforeunload by itself"
NO_DOWNLOADS = "the driver does not report downloads"
OUT_OF_SIGHT = "Playwright loses a page that Firefox shows again without a reload"
LEAVING = "Playwright stops working in Firefox after beforeunload was accepted"
STALE = "skeleton/test_staleness"
NAVIGATION = "skeleton/test_navigation"

LIMITS: dict[str, dict[str, str]] = {
    f"{STALE}::test_a_page_from_the_back_forward_cache_is_reloaded[True]": {"firefox": OUT_OF_SIGHT},
    f"{STALE}::test_reload_does_not_fill_in_an_old_text[True]": {
        "chromium": "it never does so",
        "webkit": "it never does so",
    },
    f"{STALE}::test_speculation_rules_injected_into_the_page_have_no_effect": {
        "firefox": NO_SPECULATION,
        "webkit": NO_SPECULATION,
    },
    f"{STALE}::test_speculation_rules_injected_by_a_header_get_no_page": {
        "firefox": NO_SPECULATION,
        "webkit": NO_SPECULATION,
    },
    f"{STALE}::test_a_prefetch_link_injected_into_the_page_gets_no_page": {
        "firefox": "it obeys the Content-Security-Policy and sends no request",
        "webkit": "it does not prefetch by default",
    },
    f"{STALE}::test_the_browsers_cache_keeps_no_page[True]": {"webkit": "it asks the server here anyway"},
    f"{STALE}::test_a_tab_that_is_shown_again_ignores_a_failed_request[offline]": {"webkit": NO_OFFLINE},
    f"{STALE}::test_a_session_page_that_is_shown_again_ignores_a_failed_request[offline]": {"webkit": NO_OFFLINE},
    f"{STALE}::test_a_visitor_who_leaves_unsaved_text_is_asked_and_may_stay[beforeunload]": {"webkit": NO_BEFOREUNLOAD},
    f"{STALE}::test_a_visitor_who_leaves_unsaved_text_is_asked_once_and_may_leave[beforeunload]": {
        "firefox": LEAVING,
        "webkit": NO_BEFOREUNLOAD,
    },
    f"{STALE}::test_a_visitor_without_unsaved_text_may_leave_unasked[beforeunload]": {"webkit": NO_BEFOREUNLOAD},
    f"{STALE}::test_going_back_does_not_ask_again_about_abandoned_text": {
        "firefox": LEAVING,
        "webkit": NO_BEFOREUNLOAD,
    },
    "skeleton/test_browser::test_without_javascript_a_save_to_a_server_that_is_gone_can_be_sent_again": {
        "firefox": "Playwright waits in vain for the reload of its error page",
        "webkit": "a reload of its error page does not send the form again",
    },
    f"{NAVIGATION}::test_a_boosted_link_downloads_a_file": {"webkit": NO_DOWNLOADS},
    f"{NAVIGATION}::test_a_boosted_form_downloads_a_file_and_is_sent_once": {
        "firefox": "Playwright does not report a download that a script starts",
        "webkit": NO_DOWNLOADS,
    },
    f"{NAVIGATION}::test_a_plain_form_says_that_the_server_cannot_be_reached": {"webkit": NO_OFFLINE},
}
