"""What an engine, or the program that drives it, cannot do: test → engine → reason. Such a test is skipped by name.

A value in brackets is one of the test's parameters. `test_browsers.py` checks that each test named here exists and runs
in several engines.
"""

NO_SPECULATION = "the engine has no speculation rules and no prefetch links"
NO_OFFLINE = "the driver cannot take the network away"
NO_BEFOREUNLOAD = "the driver answers beforeunload by itself"
NO_DOWNLOADS = "the driver does not tell of downloads"
WIDE = "its window is at least 447 pixels wide"

LIMITS: dict[str, dict[str, str]] = {
    "skeleton/test_staleness::test_speculation_rules_that_somebody_put_into_the_page_are_not_obeyed": {
        "firefox": NO_SPECULATION,
        "webkit": NO_SPECULATION,
    },
    "skeleton/test_staleness::test_speculation_rules_that_somebody_put_into_a_header_get_nothing": {
        "firefox": NO_SPECULATION,
        "webkit": NO_SPECULATION,
    },
    "skeleton/test_staleness::test_a_prefetch_link_that_somebody_put_into_the_page_gets_nothing": {
        "webkit": NO_SPECULATION
    },
    "skeleton/test_staleness::test_the_browsers_cache_keeps_no_page[True]": {
        "webkit": "it does not use its cache here, so there is nothing to take out",
    },
    "skeleton/test_staleness::test_without_an_answer_a_tab_that_is_shown_again_says_nothing[offline]": {
        "webkit": NO_OFFLINE
    },
    "skeleton/test_staleness::test_a_session_page_that_is_shown_again_stays_as_it_is_without_an_answer[offline]": {
        "webkit": NO_OFFLINE
    },
    "skeleton/test_staleness::test_whoever_leaves_unsaved_text_is_asked[beforeunload]": {"webkit": NO_BEFOREUNLOAD},
    "skeleton/test_staleness::test_whoever_leaves_nothing_unsaved_is_not_asked[beforeunload]": {
        "webkit": NO_BEFOREUNLOAD
    },
    "skeleton/test_staleness::test_text_left_behind_is_not_asked_about_again_on_the_way_back": {
        "webkit": NO_BEFOREUNLOAD
    },
    "skeleton/test_navigation::test_a_boosted_link_downloads_a_file": {"webkit": NO_DOWNLOADS},
    "skeleton/test_navigation::test_a_boosted_form_downloads_a_file_and_is_sent_once": {"webkit": NO_DOWNLOADS},
    "skeleton/test_navigation::test_a_form_without_any_attribute_says_that_the_server_cannot_be_reached": {
        "webkit": NO_OFFLINE
    },
    "skeleton/test_browser::test_nothing_scrolls_sideways_at_320_pixels": {"webkit": WIDE},
}
