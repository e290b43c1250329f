"""Reads a sandbox with edfi-api-client, a client that no one here wrote.

Arguments are environment variables: SANDBOX_URL, SANDBOX_KEY, SANDBOX_SECRET, and what the caller
knows of the sandbox: SANDBOX_SECTIONS and SANDBOX_DELETES and SANDBOX_KEY_CHANGES (numbers of
sections, of deleted and of renamed ones), SANDBOX_VERSION, and SANDBOX_YEAR if it has one in its
paths. Ends with status 0 if the client finds all of it.
"""

import os

from edfi_api_client import EdFiClient

URL = os.environ["SANDBOX_URL"]
VERSION = os.environ["SANDBOX_VERSION"]
YEAR = os.environ.get("SANDBOX_YEAR")
SECTIONS = int(os.environ["SANDBOX_SECTIONS"])
DELETES = int(os.environ["SANDBOX_DELETES"])
KEY_CHANGES = int(os.environ["SANDBOX_KEY_CHANGES"])


def connected(use_snapshot):
    mode = {"api_mode": "year_specific", "api_year": int(YEAR)} if YEAR else {}
    if VERSION == "7.3" and not YEAR:
        mode = {"api_mode": "shared_instance"}
    client = EdFiClient(URL, os.environ["SANDBOX_KEY"], os.environ["SANDBOX_SECRET"], **mode)
    client.connect(retry_on_failure=False, use_snapshot=use_snapshot)
    return client


def ids(rows):
    return sorted(row["id"] for row in rows)


def reads_everything_in_every_way(client):
    newest = client.get_newest_change_version()
    assert newest > SECTIONS, newest
    window = {"min_change_version": 0, "max_change_version": newest}
    sections = client.resource("sections", **window)
    assert sections.get_total_count() == SECTIONS

    # By cursor since 7.3, by offset before.
    expected = ids(sections.get_rows(page_size=100))
    assert len(expected) == SECTIONS and len(set(expected)) == SECTIONS
    by_offset = [row for page in sections.get_pages(page_size=100) for row in page]
    assert ids(by_offset) == expected
    for reverse in (True, False):
        pages = sections.get_pages(
            page_size=100,
            step_change_version=True,
            change_version_step_size=5000,
            reverse_paging=reverse,
        )
        assert ids(row for page in pages for row in page) == expected, reverse

    deletes = client.resource("sections", get_deletes=True, **window)
    rows = list(deletes.get_rows(page_size=100))
    assert deletes.get_total_count() == len(rows) == DELETES
    for row in rows:
        assert set(row) == {"id", "changeVersion", "keyValues"}
        assert set(row["keyValues"]) == {
            "localCourseCode", "schoolId", "schoolYear", "sectionIdentifier", "sessionName",
        }

    changes = client.resource("sections", get_key_changes=True, **window)
    rows = list(changes.get_rows(page_size=100))
    assert len(rows) == KEY_CHANGES
    for row in rows:
        assert set(row) == {"id", "changeVersion", "oldKeyValues", "newKeyValues"}
        assert row["oldKeyValues"] != row["newKeyValues"]


def knows_the_server(client):
    assert client.get_ods_version() == VERSION
    assert client.get_info()["dataModels"][0]["name"] == "Ed-Fi"
    assert client.get_token_info()["active"]
    assert client.resource("sections").has_deletes
    assert client.resource("sections").description
    assert ("ed-fi", "sections") in list(client.resources)
    assert any(name == "termDescriptors" for _, name in client.descriptors)
    keys = client.swaggers["resources"].reference_skeys["sectionReference"]
    assert "sectionIdentifier" in keys and "link" not in keys


live = connected(use_snapshot=False)
knows_the_server(live)
reads_everything_in_every_way(live)
if VERSION == "7.3":
    reads_everything_in_every_way(connected(use_snapshot=True))
print("read")
