"""What can be measured on images alone: shapes and textures, quality, agreement of predicted channels, and gates."""
