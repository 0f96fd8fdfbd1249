"""Fine-tune the target on coresets and judge it on held-out samples."""
