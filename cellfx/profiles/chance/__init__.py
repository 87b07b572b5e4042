"""What chance would give: resampling, exchanged labels, random rankings and corrections for many tests."""
