"""What tests of gadgets, readers, writers and clients need: ours use it, and yours can."""
