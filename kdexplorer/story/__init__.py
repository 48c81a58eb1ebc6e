"""A lecture as data: the figures that its steps may show, and the file that puts the steps in order."""
