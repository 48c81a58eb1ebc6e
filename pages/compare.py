"""Compare: networks and runs side by side."""

from kdexplorer.app.compare import page

page.show()
