"""The programs: argument parsing and mains."""
