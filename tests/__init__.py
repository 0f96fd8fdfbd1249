"""Tests; their folders mirror the engine's rooms."""
