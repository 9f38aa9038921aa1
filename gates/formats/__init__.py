"""A report in the forms that other programs read. All say only what is in `gate-report.json`."""
