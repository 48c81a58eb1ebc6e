"""Overview: what distillation is, on the bundled networks."""

from kdexplorer.app import overview

overview.show()
