"""The table of estimators, the driver, and the results that it fills."""
