"""What only the application needs: cached wrappers and charts."""
