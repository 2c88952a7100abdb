"""The tables of the app in one Unity Catalog schema."""

from __future__ import annotations

from dataclasses import dataclass

from services.adapters.sql.identifiers import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Full names, quoted, for use in statements."""

    catalog: str
    schema: str

    @property
    def place(self) -> str:
        """Catalog and schema, for a person."""
        return f"{self.catalog}.{self.schema}"

    @property
    def jobs(self) -> str:
        return self._named("jobs")

    @property
    def job_events(self) -> str:
        return self._named("job_events")

    @property
    def datasets(self) -> str:
        return self._named("datasets")

    @property
    def schema_migrations(self) -> str:
        return self._named("schema_migrations")

    def _named(self, table: str) -> str:
        return quoted(self.catalog, self.schema, table)
