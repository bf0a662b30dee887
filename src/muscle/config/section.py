"""What every section of an `update.yaml` is: typed keys, and an identity that later versions keep."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""numpy takes none below 0, and none from 2^32 on; a recipe that is trained again has a larger one than the first."""


class Section(BaseModel):
    """Keys of one section: unknown ones, wrong types and numbers without end are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

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
