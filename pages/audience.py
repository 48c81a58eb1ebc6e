"""Audience: votes from phones become a soft label beside the teacher's."""

from kdexplorer.app import audience

audience.show()
