"""The rules that compute the ratio of each stratum from its verified samples."""
