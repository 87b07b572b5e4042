"""Short formulas in place of classifiers: expression trees, how they are searched, fitted, chosen and written down."""
