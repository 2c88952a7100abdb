"""What engineers run; nothing of the app or of training imports it."""
