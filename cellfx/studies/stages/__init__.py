"""The kinds of stages a study is made of: ``cellfx.studies.stages.<kind>.<kind>(folder, inputs, **section)``.

``folder`` is the stage's own, ``inputs`` the folders of the stages it comes after, by name. The function may return
paths of files that it left in the study's folder. Beside it a module may have

- ``check(inputs=..., **section)``, called before anything is run, which refuses what cannot work. What it returns tells
  the checks of later stages what this one will be like: ``inputs`` has it by stage;
- ``outside(**section)``, which describes what the stage reads from outside the study, so that a change of it is
  noticed.
"""

from typing import Annotated

READ, SHOWN = "read", "shown"
InputStage = Annotated[str, READ]
"""Name of a stage that this one cannot do without."""
ShownStage = Annotated[str, SHOWN]
"""Name of a stage that a page shows, and leaves out where the study has none of this name."""
