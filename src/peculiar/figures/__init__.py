"""Figures of fields and statistics, and the report. The only place where matplotlib and plotly are imported."""

from peculiar.core.extras import extra

with extra("report"):
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
    import plotly  # noqa: F401
