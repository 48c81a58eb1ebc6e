"""Launch: start a run from a form and watch it train."""

from kdexplorer.app import launch

launch.show()
