"""What incidents were: bundles as tables, questions as files of SQL, answers in several forms."""
