"""What STAFF is measured against, one module a method."""
