"""The page and the JSON API over one collection: ``hashae serve``. Needs the extra ``serve``.

The page is rendered here (Jinja2) and made lively by a few files of plain JavaScript; there is no build step and no
request to any other host.
"""

from __future__ import annotations
