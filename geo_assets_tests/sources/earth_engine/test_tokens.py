"""One token for all threads, renewed once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import google.auth.exceptions
import google.oauth2.credentials
import pytest

from geo_assets.sources.earth_engine.faults import CredentialsError, TransientFault
from geo_assets.sources.earth_engine.tokens import Tokens


class Credentials(google.oauth2.credentials.Credentials):
    def __init__(self, error=None):
        super().__init__(token=None)
        self.issued = 0
        self.error = error

    def refresh(self, request):  # noqa: ARG002  # google-auth's
        if self.error:
            raise self.error
        self.issued += 1
        self.token = f"token-{self.issued}"
        self.expiry = _now() + timedelta(hours=1)


def _now():
    # google-auth's times have no zone.
    return datetime.now(UTC).replace(tzinfo=None)


def test_forty_threads_share_one_token():
    credentials = Credentials()
    tokens = Tokens(credentials)
    with ThreadPoolExecutor(40) as threads:
        got = set(threads.map(lambda _: tokens.current(), range(200)))
    assert credentials.issued == len(got) == 1


def test_a_token_about_to_expire_is_renewed():
    credentials = Credentials()
    tokens = Tokens(credentials)
    first = tokens.current()
    credentials.expiry = _now() + timedelta(seconds=5)
    assert tokens.current() is not first
    assert credentials.issued == 2


def test_forty_threads_whose_token_was_refused_get_one_new_token():
    credentials = Credentials()
    tokens = Tokens(credentials)
    refused = tokens.current()
    with ThreadPoolExecutor(40) as threads:
        renewed = set(threads.map(lambda _: tokens.renewed(refused), range(40)))
    assert len(renewed) == 1
    assert credentials.issued == 2


def test_a_token_that_was_renewed_for_a_refusal_is_not_renewed_for_another():
    tokens = Tokens(Credentials())
    renewed = tokens.renewed(tokens.current())
    assert tokens.renewed(renewed) is None


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (google.auth.exceptions.TransportError("no way"), TransientFault),
        (google.auth.exceptions.RefreshError("busy", retryable=True), TransientFault),
        (google.auth.exceptions.RefreshError("invalid_grant", {"secret": 1}), CredentialsError),
    ],
)
def test_what_gives_no_token_is_said_without_the_servers_whole_answer(error, raised):
    with pytest.raises(raised, match="no token for Earth Engine") as caught:
        Tokens(Credentials(error)).current()
    assert "secret" not in str(caught.value)


def test_a_token_is_not_shown():
    assert "token-1" not in repr(Tokens(Credentials()).current())
