"""Style sheet, scripts and icon of the page, as they are sent."""
