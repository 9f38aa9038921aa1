"""`gate-report.html`: one file that opens anywhere, for somebody who has two minutes."""
