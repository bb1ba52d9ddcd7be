"""Measurements of Backstory beside what else could be written, on the same data in the same run.

`python -m bench list` says what there is; every scenario is one function whose docstring names what it measures,
in which unit, and its target.
"""
