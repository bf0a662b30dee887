"""What tests of several parts share; what serves one part alone stands beside its tests."""
