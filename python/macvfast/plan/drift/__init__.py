"""What differs between the record and the kernel, and the steps that mend it: of parents, then of sandboxes.

Pure: from what is recorded and what was found. What is ours is known by its recorded identity: a parent by boot and
index, a namespace by boot and cookie, a link by its index and kind within that namespace. Whatever else has the name,
path or index of something of ours is reported and left alone.
"""
