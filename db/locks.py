"""What the locks of a server are for: the first of their two numbers, counted from the number of the program."""

from __future__ import annotations

WRITING, ACTING, CLAIMING = 0, 1, 2
"""Writing to the tables of one database, acting on files, claiming files to index. The second number says of which."""
