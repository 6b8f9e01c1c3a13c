"""Hashes side by side: the same images, the same budget, one table.

>>> from hashae.comparison import compare, load_data  # doctest: +SKIP
>>> compare(load_data("digits"), steps=200).rows  # doctest: +SKIP
"""

from __future__ import annotations

from hashae.comparison.data import ComparisonData, load_data
from hashae.comparison.measure import Measures
from hashae.comparison.rows import Comparison, Row
from hashae.comparison.run import compare
from hashae.comparison.variants import Variant, parse_variants

__all__ = ["Comparison", "ComparisonData", "Measures", "Row", "Variant", "compare", "load_data", "parse_variants"]
