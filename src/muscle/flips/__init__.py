"""What flipped between two versions: pairing, counting, testing, comparing."""
