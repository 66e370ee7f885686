"""Its place puts `shipped_models` on the path of the tests in the folders below."""
