"""The command ``hashae``: every command opens something, calls one library function and prints."""
