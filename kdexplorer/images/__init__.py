"""Images: uploads decoded safely and reduced to the network's input size, images and maps rendered for display."""
