"""What a checkpoint is: reading and writing, what a file may hold, publishing, the work dir."""
