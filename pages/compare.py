"""Compare: networks and runs side by side."""

from kdexplorer.app import compare

compare.show()
