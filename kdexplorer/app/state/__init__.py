"""What a visitor has chosen, and what is computed once for all."""
