"""Figures of fields and statistics, and the report. The only place where matplotlib and plotly are imported."""
