"""Tables of Unity Catalog, read with the rights of the person who asks."""
