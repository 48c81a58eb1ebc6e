"""CIFAR-100: a hundred classes, five in each of twenty superclasses. See `cifar10` for how it is read."""

from __future__ import annotations

from kdexplorer.datasets.base import Normalization
from kdexplorer.datasets.cifar10 import Cifar

_SUPERCLASSES = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}
_GROUP_OF = {name: group for group, names in _SUPERCLASSES.items() for name in names.split()}


class Cifar100(Cifar):
    """Photographs of a hundred kinds of things, 500 for training and 100 for the test of each."""

    key, label = "cifar100", "CIFAR-100"
    classes = tuple(name.replace("_", " ") for name in sorted(_GROUP_OF))
    groups = tuple(_GROUP_OF[name] for name in sorted(_GROUP_OF))
    normalization = Normalization(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
    archive, archive_bytes, folder = "cifar-100-python.tar.gz", 169_001_437, "cifar-100-python"
    parquet, label_column, torchvision = "cifar100", "fine_label", "CIFAR100"
