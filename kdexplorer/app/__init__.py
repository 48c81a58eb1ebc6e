"""What only the application needs: caches, URL state, access control, forms."""
