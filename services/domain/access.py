"""Who a user is and what they may touch."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.errors import NotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The person on whose behalf a service acts.

    Attributes:
        name: e-mail inside Databricks Apps, ``local_user`` elsewhere.
        is_admin: sees and may act on everybody's jobs.
    """

    name: str
    is_admin: bool = False

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
