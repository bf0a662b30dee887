"""What is installed, what the machine has, and what is missing for which command."""
