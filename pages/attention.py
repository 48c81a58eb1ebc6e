"""Attention: where teacher and students look, stage by stage."""

from kdexplorer.app import attention

attention.show()
