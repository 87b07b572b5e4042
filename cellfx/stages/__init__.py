"""The kinds of stages a study is made of: ``cellfx.stages.<kind>.<kind>(folder, inputs, **section)``.

``folder`` is the stage's own, ``inputs`` the folders of the stages it comes after, by name. The function may return
paths of files that it left in the study's folder. Beside it a module may have ``check(**section)``, called before
anything is run, and ``outside(**section)``, which describes what the stage reads from outside the study, so that a
change of it is noticed.
"""
