from __future__ import annotations

import json
import logging
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.credentials import (
    ADDRESSES,
    KEY_VARIABLE,
    PROJECT_VARIABLE,
    URL_VARIABLE,
    examine_connection,
    find_connection,
)

CANARY = "canary-5e11e"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without any credentials."""
    for name in (PROJECT_VARIABLE, URL_VARIABLE, KEY_VARIABLE, "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path / "limits"))
    # No question to the metadata server of a machine in Google's cloud.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv(PROJECT_VARIABLE, "some-project")
    return tmp_path


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def service_account(private_key):
    return {
        "type": "service_account",
        "project_id": "another-project",
        "private_key_id": CANARY,
        "private_key": private_key,
        "client_email": "robot@another-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def write_token(home):
    path = home / ".config" / "earthengine" / "credentials"
    path.parent.mkdir(parents=True)
    token = {"refresh_token": f"1//{CANARY}", "client_secret": CANARY, "client_id": CANARY}
    path.write_text(json.dumps(token))


def test_a_missing_project_is_said_with_how_to_get_one(monkeypatch):
    monkeypatch.delenv(PROJECT_VARIABLE)
    with pytest.raises(SourceError, match=rf"{PROJECT_VARIABLE}.*register"):
        find_connection("standard")


@pytest.mark.parametrize("project", ["a/b", "../x", "a b", "-a", "a" * 101, "ä"])
def test_a_project_that_cannot_be_one_is_refused(project, monkeypatch):
    monkeypatch.setenv(PROJECT_VARIABLE, project)
    with pytest.raises(SourceError, match="no project id"):
        find_connection("standard")


def test_missing_credentials_are_said_with_how_to_get_them():
    with pytest.raises(SourceError, match=r"earthengine authenticate.*GOOGLE_APPLICATION"):
        find_connection("standard")


def test_loopback_needs_no_credentials(monkeypatch):
    for url in ("http://127.0.0.1:8080/", "http://localhost:1", "http://[::1]:9"):
        monkeypatch.setenv(URL_VARIABLE, url)
        found = find_connection("high-volume")
        assert found.credentials is None
        assert found.base_url == url.rstrip("/")
        assert found.project == "some-project"


def test_a_service_accounts_key_comes_first(home, monkeypatch, private_key):
    write_token(home)
    (home / "key.json").write_text(json.dumps(service_account(private_key)))
    monkeypatch.setenv(KEY_VARIABLE, str(home / "key.json"))
    found = find_connection("high-volume")
    assert found.base_url == ADDRESSES["high-volume"]
    assert found.kind.startswith("service account")
    assert "https://www.googleapis.com/auth/earthengine" in found.credentials.scopes
    assert found.project == "some-project"


def test_the_clients_own_token_is_found(home):
    write_token(home)
    found = find_connection("standard")
    assert found.base_url == ADDRESSES["standard"]
    assert "earthengine authenticate" in found.kind
    assert found.credentials.refresh_token == f"1//{CANARY}"


def test_application_default_credentials_come_last(home):
    path = home / "gcloud" / "application_default_credentials.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps(
            {
                "type": "authorized_user",
                "client_id": "id",
                "client_secret": CANARY,
                "refresh_token": CANARY,
            }
        )
    )
    found = find_connection("standard")
    assert found.kind == "application default credentials"
    assert found.credentials.refresh_token == CANARY


@pytest.mark.parametrize(
    "url",
    [
        "earthengine",
        "ftp://127.0.0.1",
        "http://",
        "http://[bad",
        "http://127.0.0.1:99999999",
        f"http://{CANARY}:x@127.0.0.1:1",
        f"https://host.example/?key={CANARY}",
        f"https://host.example/#{CANARY}",
        "http://host.example",
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url, monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, url)
    with pytest.raises(SourceError, match=URL_VARIABLE) as raised:
        find_connection("standard")
    assert CANARY not in str(raised.value)


BROKEN = {
    "no json": CANARY,
    "a list": f'["{CANARY}"]',
    "no type": json.dumps({"private_key": CANARY}),
    "an unknown type": json.dumps({"type": CANARY}),
    "no private key": json.dumps({"type": "service_account", "client_email": CANARY}),
    "a private key that is none": json.dumps(service_account(CANARY)),
    "no refresh token": json.dumps({"type": "authorized_user", "client_secret": CANARY}),
    "empty": "",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_key_is_named_and_not_quoted(content, home, monkeypatch, caplog):
    (home / "key.json").write_text(content)
    monkeypatch.setenv(KEY_VARIABLE, str(home / "key.json"))
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError, match=r"key\.json") as raised:
        find_connection("standard")
    assert CANARY not in "".join(traceback.format_exception(raised.value))
    assert CANARY not in caplog.text
    assert CANARY not in str(examine_connection("standard"))


def test_a_file_that_is_not_there_is_named(home, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, str(home / "absent.json"))
    with pytest.raises(SourceError, match=r"absent\.json"):
        find_connection("standard")


def test_no_secret_is_in_what_people_see(home, monkeypatch, private_key):
    write_token(home)
    seen = [repr(find_connection("standard")), str(examine_connection("standard"))]
    (home / "key.json").write_text(json.dumps(service_account(private_key)))
    monkeypatch.setenv(KEY_VARIABLE, str(home / "key.json"))
    seen += [repr(find_connection("standard")), str(examine_connection("standard"))]
    for text in seen:
        assert CANARY not in text
        assert "PRIVATE KEY" not in text


def test_an_examination_says_what_is_missing(monkeypatch):
    monkeypatch.delenv(PROJECT_VARIABLE)
    findings = {what: (fine, detail) for fine, what, detail in examine_connection("standard")}
    assert findings["project"][0] is False
    assert "register" in findings["project"][1]
    assert findings["service"] == (True, ADDRESSES["standard"])
    assert findings["credentials"][0] is False
    assert "earthengine authenticate" in findings["credentials"][1]


def test_an_examination_of_what_is_complete_finds_nothing_missing(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:8080")
    assert all(fine for fine, _, _ in examine_connection("standard"))


def test_an_examination_finds_limits_that_cannot_be_shared(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(home / "file"))
    findings = {what: (fine, detail) for fine, what, detail in examine_connection("standard")}
    assert findings["limits"][0] is False
    assert "GEO_ASSETS_EE_LIMITS" in findings["limits"][1]
