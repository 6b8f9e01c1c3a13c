"""Numbered migrations; each is appended and never edited, with its SQL spelt out."""
