"""Live: teacher and students run in the visitor's own browser."""

from kdexplorer.app import live

live.show()
