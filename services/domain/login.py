"""With whose rights something outside is read: a person's own token, or the login of this process."""

from __future__ import annotations

from typing import Final, NoReturn

SCOPES: Final = ("sql", "catalog.catalogs:read", "catalog.schemas:read", "catalog.tables:read")
"""What an app's user authorization needs for its tokens to read tables."""


class Login:
    """A person's right to read, for one call.

    It shows its token to nobody but ``reveal``: not in a repr, a log, an error, a copy or a cache.

    Args:
        token: forwarded by the proxy; ``None`` where this process's login is meant.
        whom: who lacks what is refused, for messages.
    """

    __slots__ = ("_token", "whom")

    def __init__(self, token: str | None = None, *, whom: str = "you") -> None:
        self._token = token
        self.whom = whom

    @property
    def is_own(self) -> bool:
        """Whether the login of this process is meant."""
        return self._token is None

    def reveal(self) -> str:
        """The token, for a header that is sent now.

        Raises:
            ValueError: there is none.
        """
        if self._token is None:
            raise ValueError("the process's own login has no token of a person's")
        return self._token

    def __repr__(self) -> str:
        return f"Login({'own' if self.is_own else 'token hidden'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a login can't be copied or kept")


OWN_LOGIN: Final = Login()
"""Where the process's only user is logged in."""

APP_LOGIN: Final = Login(whom="the app's service principal")
"""As which training runs read."""
