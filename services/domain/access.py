"""Who a user is and what they may touch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.domain.errors import NotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The person on whose behalf a service acts.

    Attributes:
        name: e-mail inside Databricks Apps, ``local_user`` elsewhere.
        is_admin: sees and may act on everybody's jobs.
        doubt: why it could not be told whether they are an admin, for themselves to read; they are none then.
    """

    name: str
    is_admin: bool = False
    doubt: str = field(default="", compare=False)

    def may_touch(self, owner: str) -> bool:
        """Whether this user may see and change what ``owner`` owns."""
        return self.is_admin or self.name == owner

    def require_admin(self, action: str) -> None:
        """Raise ``NotAllowed`` unless this user is an admin."""
        if not self.is_admin:
            raise NotAllowed(action, "an admin")


LOCAL_USER = User(name="local_user", is_admin=True)
SYSTEM = User(name="system", is_admin=True)
"""Actor of what the app does by itself: observations, automatic retries."""
_RESERVED: Final = frozenset({LOCAL_USER.name, SYSTEM.name})


def user_name(given: str | None) -> str:
    """A person's name, as the proxy, the workspace or a setting writes it, in the one form that we keep.

    Empty for what names no single person: nothing, several values in one header, a name that is the app's own.
    """
    name = (given or "").strip().lower()
    is_one = name.isprintable() and not any(letter.isspace() or letter == "," for letter in name)
    return name if is_one and name not in _RESERVED else ""
