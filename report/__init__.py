"""The report: one self-contained HTML page out of the payment views. Knows the views database and nothing else."""
