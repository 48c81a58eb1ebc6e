"""Methods: what each distillation method asks of a student."""

from kdexplorer.app import methods

methods.show()
