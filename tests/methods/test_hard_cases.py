"""Every registered method on batches that are unusual: a finite loss with a finite gradient, or a clear error."""

import pytest
import torch

from kdexplorer.methods import all_methods
from kdexplorer.networks import Outputs, get_architecture

STUDENT, TEACHER = get_architecture("resnet8"), get_architecture("wrn_16_2")
SHAPES = ((16, 16, 16), (32, 8, 8), (64, 4, 4)), ((32, 16, 16), (64, 8, 8), (128, 4, 4))


def outputs(network, batch, classes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(network)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=generator).to(dtype).requires_grad_(network == 0)

    return Outputs(draw(classes), [draw(*shape) for shape in SHAPES[network]], draw(SHAPES[network][-1][0]))


def with_logits(*logits, dtype=torch.float32):
    """A student and a teacher with the same logits for each of four images."""
    student, teacher = (torch.tensor(4 * [one], dtype=dtype) for one in logits)
    others = outputs(0, 4, 10, dtype), outputs(1, 4, 10, dtype)
    return others[0]._replace(logits=student.requires_grad_()), others[1]._replace(logits=teacher)


CASES = {
    "two classes": (outputs(0, 4, 2), outputs(1, 4, 2), torch.tensor([0, 1, 1, 0])),
    "classes missing": (outputs(0, 4, 10), outputs(1, 4, 10), torch.tensor([3, 3, 3, 3])),
    "one image": (outputs(0, 1, 10), outputs(1, 1, 10), torch.tensor([9])),
    "extreme logits": (*with_logits(5 * [1e4, -1e4], 5 * [-1e4, 1e4]), torch.arange(4)),  # the reverse preference
    "equal logits": (*with_logits(10 * [0.0], 10 * [0.0]), torch.arange(4)),
    "float16": (*with_logits(5 * [3e4, -3e4], 5 * [-3e4, 3e4], dtype=torch.float16), torch.arange(4)),
    "bfloat16": (outputs(0, 4, 10, torch.bfloat16), outputs(1, 4, 10, torch.bfloat16), torch.arange(4)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.key)
def test_the_loss_is_finite_with_a_finite_gradient_or_a_clear_error(method, case):
    student, teacher, labels = CASES[case]
    method = method()
    torch.manual_seed(0)
    adapter = method.adapter(STUDENT, TEACHER)
    arguments = (student, method.reduce_teacher(teacher.map(torch.detach)), labels)
    if adapter is not None:
        arguments = (*arguments, adapter.to(student.logits.dtype))
    if case == "one image" and method.key == "reviewkd":
        with pytest.raises(ValueError, match="more than 1 value per channel"):  # batch norm of one place
            method.loss(*arguments)
        return
    loss = method.loss(*arguments)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    leaves = [student.logits, *student.stages, student.embedding, *(adapter.parameters() if adapter else ())]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
