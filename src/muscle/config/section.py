"""What every section of an `update.yaml` is: typed keys, and an identity that later versions keep."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Keys of one section: unknown ones and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    _later: ClassVar[tuple[str, ...]] = ()

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint.

        A key that came with a later version is left out while it has its default: an older run folder stays done.
        """
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.model_dump().items()
            if key not in self._later or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }
