"""Studies: named students × seeds on one recipe with one table, and the experiments that are made of them."""
