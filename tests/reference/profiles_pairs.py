"""Pairs of rows by rules over columns, one pair at a time."""


def positive(metadata, sameby, diffby, multilabel=None):
    """Set of (row, partner) that agree in all of sameby and differ in all of diffby; None is missing."""
    rows = metadata.to_dicts()
    found = set()
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i == j or any(row[c] is None or row[c] != row[c] for row in (a, b) for c in (*sameby, *diffby)):
                continue

            def equal(column, a=a, b=b):
                if column != multilabel:
                    return a[column] == b[column]
                return bool(set(a[column].split("|")) & set(b[column].split("|")))

            if all(map(equal, sameby)) and not any(map(equal, diffby)):
                found.add((i, j))
    return found
