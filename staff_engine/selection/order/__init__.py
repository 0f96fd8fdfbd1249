"""The order of many samples, as far as it is needed, in little memory."""
