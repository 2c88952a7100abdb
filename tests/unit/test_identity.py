"""Who is looking, and for how long it is believed who is an admin."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.domain.access import LOCAL_USER, SYSTEM, User, user_name
from services.domain.errors import DirectoryUnavailable, LoginRefused, NotAllowed
from services.domain.login import OWN_LOGIN
from services.identity import ASK_AGAIN_S, KEPT_S, MAX_KEPT, NAME, TOKEN, Identity

ANN = "ann@example.com"


class Directory:
    """``Groups`` in memory.

    Attributes:
        asked: every question.
    """

    def __init__(self, *members: str) -> None:
        self.members = set(members)
        self.asked: list[tuple[str, str | None]] = []
        self.is_down = False
        self.takes_s = 0.0

    def is_member(self, user: str, group: str, *, token: str | None) -> bool:
        assert group == "admins"
        self.asked.append((user, token))
        time.sleep(self.takes_s)
        if self.is_down:
            raise DirectoryUnavailable("The workspace does not answer.")
        return user in self.members


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def identity(directory: Directory, seconds: Seconds | None = None, **more: object) -> Identity:
    given: dict[str, object] = {"is_behind_proxy": True, "admin_group": "admins", "groups": directory} | more
    return Identity(**given, seconds=seconds or Seconds())  # type: ignore[arg-type]


def headers(name: str = ANN, token: str | None = None) -> dict[str, str]:
    return {NAME: name} | ({TOKEN: token} if token else {})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (" Ann@Example.COM ", ANN),
        ("0a1b2c3d-service-principal", "0a1b2c3d-service-principal"),
        *((bad, "") for bad in (None, "", "  ", "a@x.com, b@x.com", "a@x.com b@x.com", "a@x.com\0", "a\nb")),
        *((ours, "") for ours in (SYSTEM.name, LOCAL_USER.name, "System")),
    ],
)
def test_a_name_has_one_form(given: str | None, name: str) -> None:
    assert user_name(given) == name


@pytest.mark.parametrize("name", ["", "   ", "local_user", "system", "a@x.com,b@x.com"])
def test_without_the_proxys_word_nobody_gets_in(name: str) -> None:
    directory = Directory(name)
    with pytest.raises(NotAllowed, match="signed in through Databricks"):
        identity(directory).user({NAME: name, TOKEN: "t"})
    assert directory.asked == []


def test_outside_databricks_apps_the_headers_mean_nothing() -> None:
    assert Identity().user(headers("mallory@example.com")) == LOCAL_USER
    assert Identity(admin_users=("mallory@example.com",)).user({}) == LOCAL_USER


def test_admins_are_listed_or_in_the_group() -> None:
    listed = identity(Directory(ANN), admin_users=("Boss@Example.com ", ""))
    assert listed.user(headers("boss@example.com")).is_admin
    assert listed.user(headers("ANN@example.com")) == User(name=ANN, is_admin=True)
    assert listed.user(headers("bob@example.com")) == User(name="bob@example.com")


def test_without_a_group_only_the_list_counts() -> None:
    directory = Directory(ANN)
    assert not identity(directory, admin_group=None).user(headers()).is_admin
    assert directory.asked == []


def test_an_answer_is_kept_for_minutes_and_no_longer() -> None:
    directory, seconds = Directory(ANN), Seconds()
    who = identity(directory, seconds)
    assert who.user(headers()).is_admin
    directory.members.clear()
    seconds.now += KEPT_S - 1
    assert who.user(headers()).is_admin, "believed for a while"
    assert len(directory.asked) == 1
    seconds.now += 1
    assert not who.user(headers()).is_admin, "somebody who left the group"
    assert len(directory.asked) == 2


def test_answers_belong_to_a_person_and_their_token() -> None:
    directory = Directory(ANN)
    who = identity(directory)
    assert who.user(headers(ANN, "t1")).is_admin
    assert not who.user(headers("bob@example.com", "t1")).is_admin
    assert who.user(headers(ANN, "t2")).is_admin
    assert who.user(headers(ANN)).is_admin
    assert directory.asked == [(ANN, "t1"), ("bob@example.com", "t1"), (ANN, "t2"), (ANN, None)]


def test_what_can_not_be_told_makes_no_admin_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    directory, seconds = Directory(ANN), Seconds()
    directory.is_down = True
    who = identity(directory, seconds)
    with caplog.at_level(logging.WARNING):
        user = who.user(headers(ANN, "secret-token"))
    assert not user.is_admin
    assert "could not be checked" in user.doubt
    assert "The workspace does not answer." in user.doubt
    assert ANN in caplog.text
    assert "secret-token" not in caplog.text + user.doubt
    who.user(headers(ANN, "secret-token"))
    assert len(directory.asked) == 1, "not asked again by every rerun"
    directory.is_down = False
    seconds.now += ASK_AGAIN_S
    again = who.user(headers(ANN, "secret-token"))
    assert (again.is_admin, again.doubt) == (True, "")


def test_an_admin_whose_rights_can_not_be_renewed_has_none() -> None:
    directory, seconds = Directory(ANN), Seconds()
    who = identity(directory, seconds)
    assert who.user(headers()).is_admin
    directory.is_down = True
    seconds.now += KEPT_S
    assert not who.user(headers()).is_admin


def test_many_reruns_at_once_ask_once() -> None:
    directory = Directory(ANN)
    directory.takes_s = 0.05
    who = identity(directory)
    gate = threading.Barrier(8)

    def look(_: int) -> bool:
        gate.wait()
        return who.user(headers()).is_admin

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(8)))
    assert len(directory.asked) == 1


def test_no_more_than_a_bounded_number_of_answers_is_kept() -> None:
    directory = Directory()
    who = identity(directory)
    for n in range(MAX_KEPT + 1):
        who.user(headers(f"u{n}@example.com"))
    who.user(headers(f"u{MAX_KEPT}@example.com"))
    assert len(directory.asked) == MAX_KEPT + 1, "the latest is kept"
    who.user(headers("u0@example.com"))
    assert len(directory.asked) == MAX_KEPT + 2, "the oldest was given up"


def test_the_login_is_the_person_s_own_behind_the_proxy_and_the_process_s_elsewhere() -> None:
    behind = Identity(is_behind_proxy=True)
    assert behind.login({TOKEN: " token "}).reveal() == "token"
    for without in ({}, {TOKEN: " "}):
        with pytest.raises(LoginRefused, match="no user authorization"):
            behind.login(without)
    assert Identity().login({TOKEN: "anybody can send this"}) is OWN_LOGIN
