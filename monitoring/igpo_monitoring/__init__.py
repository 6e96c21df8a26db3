"""The dashboards of the chart as code. Rendered JSON is committed; neither image holds this package."""
