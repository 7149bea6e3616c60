"""A sweep's report as one HTML file that opens offline: data, context, templates."""
