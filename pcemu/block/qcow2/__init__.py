"""The qcow2 image format, versions 2 and 3 (QEMU's docs/interop/qcow2.txt has the layout).

`header` and `entry` say what the bytes mean; `metadata` and `refcount` keep the tables in memory and write them (the
order in which they reach the disk is in `metadata.Metadata.flush`); `image` is the node that reads and writes, `snapshot`
and `check` work on whole images, `create` makes them.
"""
